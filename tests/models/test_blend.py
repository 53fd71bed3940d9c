"""How the halves of a point forecast are weighed, and what departments are missed by."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from data.steps import Steps
from models.backtest import TrainingData, fold_cutoffs
from models.blend import PRIOR, USUAL, learnt, out_of_sample
from models.forecaster import Forecaster
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


def test_a_department_that_sold_more_than_the_others_is_forecast_higher() -> None:
    fold = halves({"A|x": 180.0, "A|y": 180.0, "B|x": 120.0}, boosted=100, calendar=100)
    found = learnt([fold])
    all_sold, all_forecast = 480.0, 300.0
    forecast = 2 * 2 * 28 * 100
    expected = 2 * 2 * 28 * 180 * all_forecast / all_sold
    assert found.factors["A"] == pytest.approx((expected + PRIOR) / (forecast + PRIOR))
    assert found.factors["A"] > 1 > found.factors["B"]
    weights = found.weights(pl.Series(["A|new", "B|x", "C|x"]))
    assert weights.tolist() == [found.factors["A"], found.factors["B"], 1.0]


def test_what_all_departments_miss_alike_is_left_alone() -> None:
    fold = halves(dict.fromkeys(ITEMS, 150.0), boosted=100, calendar=100)
    assert learnt([fold]).factors == pytest.approx({"A": 1.0, "B": 1.0})


def test_folds_in_which_nothing_sold_teach_nothing() -> None:
    assert learnt([halves(dict.fromkeys(ITEMS, 0.0), boosted=100, calendar=0)]) == USUAL


def test_newer_folds_count_more() -> None:
    low, high = (
        halves({"A|x": y, "A|y": y, "B|x": 100.0}, boosted=100, calendar=100) for y in (80.0, 120.0)
    )
    assert learnt([low, high]).factors["A"] > 1 > learnt([high, low]).factors["A"]


def test_booster_and_calendar_are_averaged() -> None:
    fold = halves(dict.fromkeys(ITEMS, 100.0), boosted=100, calendar=200)
    assert np.allclose(USUAL.applied(fold)["y_hat"], 100 + 100 * USUAL.share)


def test_no_fold_knows_its_own_factors() -> None:
    usual, odd = (
        halves({"A|x": y, "A|y": y, "B|x": 100.0}, boosted=100, calendar=100)
        for y in (100.0, 500.0)
    )
    first, last = out_of_sample([usual, odd])
    assert np.allclose(last["y_hat"], 100)
    assert (first.filter(pl.col("item_id") == "B|x")["y_hat"] < 60).all()


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
    assert done.before != USUAL
