"""Faults of a system fail, what customers do passes, and a small history says nothing."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from checks.quality import LIMITS, against_history
from data.steps import Steps

FIRST = date(2017, 10, 2)
Fault = Callable[[pl.DataFrame], pl.DataFrame]


def days(since: date, n: int, stores: int = 30) -> pl.DataFrame:
    """Every store sells two to twelve of the first of five items a day, eight more of each next."""
    rng = np.random.default_rng(since.toordinal())
    rows = [
        (f"s{s}", f"i{i}", since + timedelta(days=k), float(rng.integers(2, 13)) + 8 * i, 2.0 + i)
        for k in range(n)
        for s in range(stores)
        for i in range(5)
    ]
    return pl.DataFrame(rows, ["store_id", "item_id", "ds", "y", "price"], orient="row")


BEFORE = days(FIRST - timedelta(days=56), 56)
WEEK = days(FIRST, 7)


def failed(fresh: pl.DataFrame, before: pl.DataFrame = BEFORE) -> list[str]:
    return [r.check for r in against_history(fresh, before, steps=Steps()).failures]


def every(n: int) -> pl.Expr:
    return pl.int_range(pl.len()) % n == 0


def changed(column: str, value: pl.Expr, where: pl.Expr) -> Fault:
    return lambda f: f.with_columns(pl.when(where).then(value).otherwise(column).alias(column))


IN_TENTH_STORE = pl.col("store_id").str.ends_with("0")
HALF = pl.col("store_id").str.slice(1).cast(pl.Int32) % 2 == 0


@pytest.mark.score("monitoring", 2)
@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (changed("price", pl.col("price") * 100, every(20)), "rows far from their usual price"),
        (changed("price", pl.col("price") / 100, every(20)), "rows far from their usual price"),
        (changed("y", pl.col("y") * 100, every(20)), "rows far above their usual quantity"),
        (
            lambda f: f.with_columns(pl.col("y").shuffle(seed=1).over("ds")),
            "fall in the rank correlation of quantities with their series",
        ),
        (
            lambda f: f.with_columns(
                pl.when(every(4)).then(pl.col("y") * 2).otherwise("y").alias("y"),
                pl.when(every(4)).then(pl.col("price") / 2).otherwise("price").alias("price"),
            ),
            "rise in the share of cheap rows, even quantities over odd",
        ),
        (changed("price", pl.col("price") / 2, HALF), "stores whose prices jumped"),
        (changed("y", pl.col("y") * 2, pl.lit(True)), "stores whose quantities jumped"),
        (changed("y", pl.lit(0.0), every(20)), "rise in the share of zero rows"),
        (lambda f: f.filter(~IN_TENTH_STORE), "steady stores without a row"),
        (
            lambda f: f.filter((pl.col("item_id") != "i0") | ~HALF),
            "steady series without a row",
        ),
        (lambda f: f.filter(every(7)), "rows against the weeks before, robust z"),
    ],
)
def test_a_fault_fails_its_check(fault: Fault, check: str) -> None:
    assert check in failed(fault(WEEK))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f,
        changed("price", pl.col("price") * 1.2, pl.lit(True)),
        changed("price", pl.col("price") / 2, every(4)),
        changed("y", pl.col("y") * 2, every(4)),
        changed("y", (pl.col("y") * 1.3).round(), pl.lit(True)),
        changed("y", (pl.col("y") * 0.75).ceil(), pl.lit(True)),
        lambda f: f.filter(~every(7)),
    ],
)
def test_what_customers_do_passes(change: Fault) -> None:
    assert failed(change(WEEK)) == []


def test_a_single_day_is_judged_too() -> None:
    day = WEEK.filter(pl.col("ds") == FIRST)
    assert failed(day) == []
    assert failed(changed("y", pl.lit(0.0), every(20))(day)) == ["rise in the share of zero rows"]
    made = {r.check for r in against_history(day, BEFORE, steps=Steps()).results}
    assert made == set(LIMITS) - {
        "fall in the rank correlation of quantities with their series",
        "stores whose prices jumped",
        "stores whose quantities jumped",
        "steady stores without a row",
        "steady series without a row",
        "rows against the weeks before, robust z",
    }


def test_quantities_that_are_not_whole_are_no_pairs() -> None:
    weighed = [f.with_columns(pl.col("y") + 0.5) for f in (WEEK, BEFORE)]
    made = {r.check for r in against_history(*weighed, steps=Steps()).results}
    assert set(LIMITS) - made == {"rise in the share of cheap rows, even quantities over odd"}


def test_closed_days_are_missed_by_nobody() -> None:
    open_days = WEEK.filter(pl.col("ds") < FIRST + timedelta(days=3))
    closed = [f"{FIRST + timedelta(days=k):%m-%d}" for k in range(3, 7)]
    padded = pl.concat([open_days, WEEK.tail(1)])
    checks = {r.check for r in against_history(padded, BEFORE, steps=Steps(1, closed)).results}
    assert "steady series without a row" not in checks


def test_without_a_history_nothing_is_usual() -> None:
    recent = BEFORE.filter(pl.col("ds") >= FIRST - timedelta(days=27))
    assert against_history(WEEK, recent, steps=Steps()).results == ()
    assert against_history(WEEK.clear(), BEFORE, steps=Steps()).results == ()


def test_every_limit_is_in_words() -> None:
    report = against_history(WEEK, BEFORE, steps=Steps())
    assert {r.check: r.expected for r in report.results} == {
        check: f"at most {limit:g}" for check, limit in LIMITS.items()
    }
    assert report.ok
