"""How the halves of a point forecast are weighed, and what departments are missed by."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from data.steps import Steps
from models.backtest import TrainingData, fold_cutoffs
from models.blend import PRIOR, Blend, choose, out_of_sample
from models.forecaster import Forecaster
from models.metrics import level_scales
from models.training import refit

QUICK = {"objective": "poisson", "num_iterations": 20, "num_leaves": 8}
ITEMS = ("A|x", "A|y", "B|x")


def halves(sold: dict[str, float], *, boosted: float, calendar: float) -> pl.DataFrame:
    """Two stores, 28 days: every item sells `sold` a day and is forecast as what is named."""
    first = date(2017, 6, 18)
    rows = [
        (store, item, first + timedelta(days=k), sold[item], boosted, calendar)
        for store in ("s0", "s1")
        for item in ITEMS
        for k in range(28)
    ]
    names = ["store_id", "item_id", "ds", "y", "boosted", "calendar"]
    return pl.DataFrame(rows, schema=names, orient="row")


@pytest.fixture(scope="module")
def scales() -> dict[str, pl.DataFrame]:
    fold = halves(dict.fromkeys(ITEMS, 0.0), boosted=0, calendar=0)
    wavy = np.random.default_rng(1).uniform(50, 150, fold.height)
    return level_scales(fold.with_columns(y=pl.Series(wavy)))


@pytest.mark.parametrize(("truth", "share"), [(100.0, 0.0), (140.0, 0.4), (200.0, 0.8)])
def test_the_half_that_was_right_weighs_more(
    scales: dict[str, pl.DataFrame], truth: float, share: float
) -> None:
    fold = halves(dict.fromkeys(ITEMS, truth), boosted=100, calendar=200)
    found = choose([fold, fold], [scales, scales])
    assert found.share == share


def test_a_department_that_sold_more_than_forecast_is_forecast_higher(
    scales: dict[str, pl.DataFrame],
) -> None:
    fold = halves({"A|x": 120.0, "A|y": 120.0, "B|x": 100.0}, boosted=100, calendar=100)
    found = choose([fold], [scales])
    units = 2 * 2 * 28 * 100
    assert found.factors["A"] == pytest.approx((1.2 * units + PRIOR) / (units + PRIOR))
    assert found.factors["B"] == 1.0
    weights = found.weights(pl.Series(["A|new", "B|x", "C|x"]))
    assert weights.tolist() == [found.factors["A"], 1.0, 1.0]


def test_newer_folds_count_more(scales: dict[str, pl.DataFrame]) -> None:
    low, high = (halves(dict.fromkeys(ITEMS, y), boosted=100, calendar=100) for y in (80.0, 120.0))
    assert choose([low, high], [scales] * 2).factors["A"] > 1
    assert choose([high, low], [scales] * 2).factors["A"] < 1


def test_no_fold_knows_its_own_factors() -> None:
    usual, odd = (
        halves(dict.fromkeys(ITEMS, y), boosted=100, calendar=100) for y in (100.0, 500.0)
    )
    first, last = out_of_sample([usual, odd], 0.4)
    assert (last["y_hat"] == 100).all()
    assert (first["y_hat"] > 200).all()


def test_a_trained_model_forecasts_by_its_blend(training_frames: TrainingData) -> None:
    data = training_frames
    done = refit(data, QUICK, seed=1)
    newest = data.features.filter(pl.col("cutoff") == data.cutoff)
    assert set(done.manifest.blend.factors) == {"i0", "i1", "i2"}
    one = Forecaster(done.booster, done.manifest).forecast(newest, data.plan, 28)
    fold = data.fold(data.cutoff).forecast(QUICK, 1, done.manifest.blend)
    assert np.allclose(one["y_hat"], fold["y_hat"])
    assert one["ds"].min() == data.cutoff + timedelta(days=1)


def test_the_holdout_is_forecast_by_the_blend_of_earlier_folds(
    training_frames: TrainingData,
) -> None:
    data = training_frames
    done = refit(data, QUICK, seed=1)
    last = fold_cutoffs(data.cutoff, 28, 1, Steps())[0]
    again = data.fold(last).forecast(QUICK, 1, done.before)
    assert np.allclose(done.holdout["y_hat"], again["y_hat"])
    assert done.before != done.manifest.blend
    assert Blend() != done.before
