"""Drivers sum to the forecast, and a what-if is what the booster says of the changed inputs."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from models import explain, gbm
from models.backtest import TrainingData
from models.dataset import INPUTS, design_matrix


@pytest.fixture(scope="module")
def fitted(training_frames: TrainingData):
    data = training_frames
    params = {**gbm.DEFAULTS, "num_iterations": 20, "min_data_in_leaf": 20}
    booster = gbm.fit(data.training_set(data.cutoff), params, 7)
    features = data.features.filter(pl.col("cutoff") == data.cutoff)
    return booster, features, data


def test_base_and_drivers_sum_to_the_boosters_own_forecast(fitted) -> None:
    booster, features, data = fitted
    x, closed = design_matrix(features, data.plan, 14, data.spec)
    closed[3] = True
    base, units = explain.drivers(booster, x, closed)
    y_hat = gbm.predict(booster, x, closed)
    np.testing.assert_allclose(base + units.sum(axis=1), y_hat, rtol=1e-9)
    assert base[3] == 0 and not units[3].any()
    assert units.shape[1] == len(INPUTS)
    assert np.unique(np.delete(base, 3)).size == 1  # an average day, the same for all


def test_a_forecast_that_is_the_base_has_no_drivers() -> None:
    class Flat:
        def predict(self, x, **_):
            return np.column_stack([np.zeros((len(x), len(INPUTS))), np.full(len(x), 1.5)])

    base, units = explain.drivers(Flat(), np.zeros((2, len(INPUTS))), np.zeros(2, dtype=bool))
    assert base == pytest.approx(np.exp(1.5)) and not units.any()


def test_every_input_has_a_name_that_a_person_would_use() -> None:
    groups = {name: explain.group_of(name) for name in INPUTS}
    assert explain.OTHER not in groups.values()
    assert groups["mean_7"] == groups["mean_14"] == "recent sales"
    assert groups["mean_84"] == "usual level" and groups["store_mean_28"] == "the store"
    assert groups["store_dow_index"] == groups["dow_mean"] == "day of the week"
    assert explain.group_of("moon_phase") == explain.OTHER


def test_a_what_if_is_the_boosters_answer_to_the_changed_inputs(fitted) -> None:
    booster, features, data = fitted
    one = features.head(1)
    day = data.cutoff + timedelta(days=2)
    key = one.select("store_id", "item_id").row(0, named=True)
    row = {**key, "ds": day, "display": 5.0, "mailer": 2.0, "price": 1.25}
    plan = pl.DataFrame([row])
    x, closed = design_matrix(one, plan, 3, data.spec)
    by_hand, _ = design_matrix(one, pl.DataFrame(), 3, data.spec)
    by_hand[1, INPUTS.index("display")], by_hand[1, INPUTS.index("mailer")] = 5.0, 2.0
    by_hand[1, INPUTS.index("price_ratio")] = 1.25 / one["price_28"][0]
    np.testing.assert_array_equal(x, by_hand)
    direct = booster.predict(by_hand.astype(np.float32))
    np.testing.assert_array_equal(gbm.predict(booster, x, closed), direct)
