"""Conditions of a store's week: relative to its own past, and blind to how much it sold."""

from datetime import date, timedelta
from math import log

import polars as pl
import pytest

from feature_repo.store_weeks import COVARIATES, store_weeks

UNTIL = date(2017, 9, 10)


def weeks(sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
    return store_weeks(sales, plan, series, until=UNTIL)


def test_weeks_end_with_the_day_and_share_none(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    rows = weeks(sales, plan, series)
    assert rows.columns == ["store_id", "week", *COVARIATES]
    assert rows["week"].max() == UNTIL
    assert {(UNTIL - w).days % 7 for w in rows["week"]} == {0}
    assert not rows.select("store_id", "week").is_duplicated().any()


def test_the_price_is_that_of_the_weeks_before(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    dearer = pl.when(pl.col("ds") > UNTIL - timedelta(days=7)).then(pl.col("price") * 1.1)
    rows = weeks(sales.with_columns(price=dearer.otherwise("price")), plan, series)
    now = rows.filter(pl.col("week") == UNTIL)["price"]
    assert now.to_list() == pytest.approx([log(1.1)] * len(now))
    before = rows.filter(pl.col("week") < UNTIL)["price"].drop_nulls()
    assert before.to_list() == pytest.approx([0] * len(before))


def test_promotions_are_compared_with_the_weeks_before(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    rows = weeks(sales, plan, series).filter(pl.col("week") == UNTIL)
    shown = dict(rows.select("store_id", "display").iter_rows())
    assert shown["s0"] == pytest.approx(log(7 * 2 + 1))
    assert shown["s1"] == 0


def test_how_much_was_sold_moves_nothing(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    recent = pl.col("ds") > UNTIL - timedelta(days=7)
    more = sales.with_columns(y=pl.when(recent).then(pl.col("y") * 3).otherwise("y"))
    a, b = (weeks(s, plan, series).filter(pl.col("week") == UNTIL) for s in (sales, more))
    for name in COVARIATES:
        assert b[name].to_list() == pytest.approx(a[name].to_list())


def test_nothing_after_the_day_is_seen(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    early = UNTIL - timedelta(days=21)
    cut = sales.filter(pl.col("ds") <= early)
    known = plan.filter(pl.col("ds") <= early)
    whole = store_weeks(sales, plan, series, until=early)
    assert whole.equals(store_weeks(cut, known, series, until=early))
