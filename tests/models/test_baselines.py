"""The forecasts that a model has to beat."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from data.schema import KEYS
from models.backtest import TrainingData
from models.baselines import (
    BASELINES,
    LEVEL_BY_WEEKDAY,
    NAIVE,
    PUBLISHED,
    SEASONAL_NAIVE,
    WEEKDAY_MEAN,
    baseline_forecasts,
)
from models.dataset import MatrixSpec, history

CUTOFF = date(2017, 9, 10)


@pytest.fixture(scope="module")
def forecasts(training_frames: TrainingData) -> pl.DataFrame:
    """Every baseline from 10 September, with 12 September closed."""
    spec = MatrixSpec(training_frames.spec.items, "US", ("09-12",))
    features = training_frames.features.filter(pl.col("cutoff") == CUTOFF)
    dense = history(training_frames.sales, features, CUTOFF, spec.steps)
    return baseline_forecasts(features, dense, 28, spec, BASELINES)


def test_every_baseline_forecasts_every_day_and_knows_the_closed_one(
    forecasts: pl.DataFrame, training_frames: TrainingData
) -> None:
    series = training_frames.sales.select(KEYS).unique().height
    counts = dict(forecasts.group_by("model").len().iter_rows())
    assert counts == dict.fromkeys(BASELINES, series * 28)
    assert forecasts["y_hat"].is_finite().all() and (forecasts["y_hat"] >= 0).all()
    closed = forecasts.filter(pl.col("ds") == date(2017, 9, 12))
    assert (closed["y_hat"] == 0).all() and closed["model"].n_unique() == len(BASELINES)
    assert set(PUBLISHED) <= set(BASELINES)


def test_plain_baselines_are_what_their_names_say(
    forecasts: pl.DataFrame, training_frames: TrainingData
) -> None:
    one = (pl.col("store_id") == "s1") & (pl.col("item_id") == "i1")
    sold = dict(training_frames.sales.filter(one).select("ds", "y").iter_rows())
    rows = forecasts.filter(one & (pl.col("ds") == date(2017, 9, 18)))  # a Monday
    found = dict(rows.select("model", "y_hat").iter_rows())
    assert found[NAIVE] == sold.get(CUTOFF, 0.0)
    assert found[SEASONAL_NAIVE] == sold.get(date(2017, 9, 4), 0.0)
    mondays = [
        sold.get(date.fromordinal(date(2017, 9, 4).toordinal() - 7 * k), 0) for k in range(8)
    ]
    assert found[WEEKDAY_MEAN] == pytest.approx(np.mean(mondays))


def test_level_by_weekday_repeats_every_week(forecasts: pl.DataFrame) -> None:
    rows = forecasts.filter((pl.col("model") == LEVEL_BY_WEEKDAY) & (pl.col("step") > 2))
    weekly = rows.group_by(*KEYS, pl.col("ds").dt.weekday()).agg(pl.col("y_hat").n_unique())
    assert (weekly["y_hat"] == 1).all()
