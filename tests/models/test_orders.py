"""Order quantities against a simulation of the demand that they are made for."""

import numpy as np
import pytest

from models.orders import GRID, critical_ratio, order_up_to


def test_the_level_of_the_critical_ratio_costs_least() -> None:
    rng = np.random.default_rng(1)
    demand = rng.negative_binomial(3, 0.05, 200_000)
    quantiles = np.quantile(demand, GRID, method="inverted_cdf")

    def cost(level: float) -> float:
        best = order_up_to(level, quantiles, on_hand=0)
        return 4 * best.expected_shortage + best.expected_leftover

    ratio = critical_ratio(4, 1)
    chosen = cost(float(np.quantile(demand, ratio, method="inverted_cdf")))
    assert ratio == 0.8
    assert all(chosen <= cost(level) + 0.02 for level in range(0, 300, 2))


def test_expectations_are_those_of_the_simulated_demand() -> None:
    demand = np.random.default_rng(2).poisson(30, 100_000)
    best = order_up_to(36, np.quantile(demand, GRID, method="inverted_cdf"), on_hand=10)
    assert (best.order_up_to, best.order_quantity) == (36, 26)
    assert best.expected_shortage == pytest.approx(np.clip(demand - 36, 0, None).mean(), abs=0.05)
    assert best.expected_leftover == pytest.approx(np.clip(36 - demand, 0, None).mean(), abs=0.05)


def test_what_is_there_already_is_not_ordered_and_units_are_whole() -> None:
    best = order_up_to(7.2, [5.0] * len(GRID), on_hand=20.5)
    assert (best.order_up_to, best.order_quantity, best.expected_leftover) == (8, 0, 15.5)
    assert order_up_to(7.2, [5.0] * len(GRID), on_hand=0.5).order_quantity == 8
