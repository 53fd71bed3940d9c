from datetime import date, timedelta

import polars as pl
import pytest

from data.schema import FORECAST
from data.steps import Steps
from models.backtest import TrainingData
from models.baselines import SEASONAL_NAIVE, baseline_forecasts
from models.conformal import GRID, LEADS, Calibration
from models.dataset import history
from models.performance import SCORES, score

CUTOFF = date(2017, 9, 10)
ORIGIN = CUTOFF - timedelta(days=28)
CLOSED = ("12-25",)
PLAIN = Calibration(28, [], [0.1], {}, [[list(GRID)] * LEADS])


@pytest.fixture(scope="module")
def issued(training_frames: TrainingData) -> pl.DataFrame:
    """Forecasts of the baselines, and of a version 3 that knows the truth but for one unit."""
    features = training_frames.features.filter(pl.col("cutoff") == ORIGIN)
    dense = history(training_frames.sales, features, ORIGIN, Steps(1, CLOSED))
    rows = baseline_forecasts(features, dense, 28, training_frames.spec)
    truth = training_frames.grid.filter(pl.col("cutoff") == ORIGIN)
    own = truth.with_columns(
        y_hat=pl.col("y") + 1.0, model=pl.lit("3"), **{"q0.1": pl.col("y")}
    ).drop("y")
    quantiles = {c: pl.col("y_hat") for c in FORECAST if c.startswith("q0") and c != "q0.1"}
    return pl.concat([own.with_columns(**quantiles), rows], how="diagonal")


def scored(issued: pl.DataFrame, data: TrainingData, until: date) -> object:
    return score(
        issued,
        data.sales,
        version="3",
        calibration=PLAIN,
        horizon=28,
        until=until,
        steps=Steps(1, CLOSED),
    )


def test_a_whole_horizon_is_compared_with_the_naive_forecast(
    issued: pl.DataFrame, training_frames: TrainingData
) -> None:
    result = scored(issued, training_frames, CUTOFF)
    assert result.cutoff == ORIGIN
    assert 0 < result.naive_ratio < 1
    assert 0.9 < result.coverage_80 < 1  # a forecast that is one unit off is near, not certain
    units = training_frames.grid.filter(pl.col("cutoff") == ORIGIN)
    assert result.bias == pytest.approx(units.height / units["y"].sum())
    assert SEASONAL_NAIVE in result.table["model"].to_list()


def test_days_that_are_not_over_are_not_scored(
    issued: pl.DataFrame, training_frames: TrainingData
) -> None:
    result = scored(issued, training_frames, ORIGIN + timedelta(days=10))
    assert result.cutoff is None and result.naive_ratio is None and result.coverage_80 is None
    assert set(result.scores["lead_week"]) == {1, 2}
    assert result.table.is_empty()


def test_scores_are_kept_by_lead_week(issued: pl.DataFrame, training_frames: TrainingData) -> None:
    scores = scored(issued, training_frames, CUTOFF).scores
    assert scores.columns == list(SCORES)
    weekly = scores.filter((pl.col("model") == "3") & (pl.col("level") == "series"))
    assert set(weekly["lead_week"]) == {1, 2, 3, 4}
    assert set(weekly["metric"]) == {"wape", "bias", "pinball", "coverage 80"}


def test_nothing_issued_is_nothing_matured(
    issued: pl.DataFrame, training_frames: TrainingData
) -> None:
    result = scored(issued.clear(), training_frames, CUTOFF)
    assert result.scores.is_empty()
