"""A fall in demand is told from stores and rows that a system lost."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from checks.missing import SERIES, STORES, missing
from checks.quality import LIMITS

FIRST = date(2017, 10, 2)
# Forty stores of one to sixteen trips a day; each trip buys of each of twenty items by chance.
TRIPS = np.geomspace(1, 16, 40)
BUYS = np.array([0.9, 0.6, 0.3] + [0.04] * 17)


def sold(since: date, days: int, demand: float = 1.0, seed: int = 0) -> pl.DataFrame:
    """Rows (store_id, item_id, ds) of days on which every store has `demand` times its trips."""
    rng = np.random.default_rng([seed, since.toordinal()])
    trips = rng.poisson(demand * TRIPS[:, None, None], (len(TRIPS), 1, days))
    store, item, day = np.nonzero(
        rng.random((len(TRIPS), len(BUYS), days)) < 1 - (1 - BUYS[None, :, None]) ** trips
    )
    return pl.DataFrame(
        {
            "store_id": [f"s{s}" for s in store],
            "item_id": [f"i{i}" for i in item],
            "ds": [since + timedelta(days=int(d)) for d in day],
        }
    )


BEFORE = sold(FIRST - timedelta(days=56), 56)


@pytest.mark.parametrize("demand", [0.5, 0.7, 1.0, 1.5])
def test_a_demand_that_moved_lacks_nothing(demand: float) -> None:
    for seed in range(5):
        found = missing(sold(FIRST, 7, demand, seed), BEFORE)
        assert found[STORES] <= LIMITS[STORES] and found[SERIES] <= LIMITS[SERIES]


@pytest.mark.parametrize("demand", [0.7, 1.0])
def test_two_of_five_stores_are_missed_on_one_day_even_when_demand_fell(demand: float) -> None:
    day = sold(FIRST, 1, demand).filter(pl.col("store_id").str.slice(1).cast(pl.Int32) % 5 > 1)
    assert missing(day, BEFORE)[STORES] > LIMITS[STORES]


def test_half_of_the_rows_lost_by_chance_are_missed_among_the_large_series() -> None:
    week = sold(FIRST, 7)
    lost = week.filter(pl.Series(np.random.default_rng(1).random(week.height) >= 0.5))
    found = missing(lost, BEFORE)
    assert found[SERIES] > LIMITS[SERIES] and found[STORES] <= LIMITS[STORES]


def test_a_row_that_came_twice_counts_once() -> None:
    week = sold(FIRST, 7)
    assert missing(pl.concat([week, week.head(3)]), BEFORE) == missing(week, BEFORE)


def test_days_that_are_too_thin_say_nothing() -> None:
    assert missing(sold(FIRST, 1), BEFORE.gather_every(20)) == {}
    assert missing(sold(FIRST, 1).clear(), BEFORE) == {}
    assert missing(sold(FIRST, 1), BEFORE.clear()) == {}


def test_stores_that_never_were_silent_are_few_and_yet_missed() -> None:
    """A chain of ten stores that each sell all items on all days."""
    grid = pl.DataFrame({"store_id": [f"s{s}" for s in range(10)]}).join(
        pl.DataFrame({"item_id": [f"i{i}" for i in range(5)]}), how="cross"
    )
    days = pl.DataFrame({"ds": [FIRST - timedelta(days=k) for k in range(1, 57)]})
    today = grid.with_columns(ds=pl.lit(FIRST))
    before = grid.join(days, how="cross")
    assert missing(today, before) == {STORES: 0.0, SERIES: 0.0}
    assert missing(today.filter(pl.col("store_id") > "s2"), before)[STORES] > LIMITS[STORES]
