from datetime import date

import polars as pl
import pytest

from feature_repo.build import feature_rows
from models.assembly import needed_cutoffs
from models.backtest import TrainingData
from models.dataset import MatrixSpec

CUTOFF = date(2017, 9, 10)
ZONE = "America/New_York"
CLOSED = ("12-25",)


@pytest.fixture(scope="session")
def training_frames(sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame) -> TrainingData:
    """What a training at 10 September reads, with the features computed in place."""
    spec = MatrixSpec(tuple(sorted(series["item_id"].unique())), "US", CLOSED)
    rows = []
    for cutoff in needed_cutoffs(sales["ds"].min(), CUTOFF, 28, spec.steps):
        views = feature_rows(
            sales, plan, series, cutoff=cutoff, snapshot_id="snap", steps=spec.steps
        )
        one = views["demand"].join(views["store_demand"], on="store_id")
        rows.append(one.with_columns(cutoff=pl.lit(cutoff)))
    return TrainingData(CUTOFF, 28, "snap", pl.concat(rows), sales, plan, spec, sales, ZONE)
