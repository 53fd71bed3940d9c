from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from data.schema import KEYS
from data.steps import Steps
from data.warehouse import known_at_morning
from feature_repo.build import feature_rows
from models.dataset import (
    INPUTS,
    MatrixSpec,
    actuals,
    design_matrix,
    history,
    target_days,
    training_cutoffs,
)

CUTOFF = date(2017, 9, 10)
CLOSED = ("12-25",)
STEPS = Steps(1, CLOSED)
SPEC = MatrixSpec(("i0", "i1", "i2"), "US", CLOSED)


@pytest.fixture
def features(sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
    rows = feature_rows(sales, plan, series, cutoff=CUTOFF, snapshot_id="x", steps=STEPS)
    return rows["demand"].join(rows["store_demand"], on="store_id")


def column(x: np.ndarray, name: str) -> np.ndarray:
    return x[:, INPUTS.index(name)]


@pytest.mark.score("infrastructure", 2)
def test_each_row_holds_the_values_of_its_target_day(
    features: pl.DataFrame, plan: pl.DataFrame, sales: pl.DataFrame
) -> None:
    x, closed = design_matrix(features, plan, 28, SPEC)
    grid = target_days(features, 28, STEPS)
    assert x.shape == (features.height * 28, len(INPUTS)) and not closed.any()
    for row in (0, 5, 40, 200):
        key = grid.row(row, named=True)
        source = features.filter(
            (pl.col("store_id") == key["store_id"]) & (pl.col("item_id") == key["item_id"])
        ).row(0, named=True)
        d = key["ds"].isoweekday()
        assert x[row, 0] == key["step"] == (key["ds"] - CUTOFF).days
        assert column(x, "dow")[row] == d
        assert column(x, "dow_mean")[row] == source[f"dow_mean_{d}"]
        assert column(x, "store_dow_index")[row] == source[f"store_dow_index_{d}"]
        newest = CUTOFF - timedelta(days=(CUTOFF.isoweekday() - d) % 7)
        sold = sales.filter(
            (pl.col("store_id") == key["store_id"])
            & (pl.col("item_id") == key["item_id"])
            & (pl.col("ds") == newest)
        )["y"]
        assert column(x, "lag")[row] == (sold[0] if len(sold) else 0.0)


def test_the_plan_joins_by_target_day(features: pl.DataFrame, plan: pl.DataFrame) -> None:
    x, _ = design_matrix(features, plan, 28, SPEC)
    grid = target_days(features, 28, STEPS).with_columns(display=pl.Series(column(x, "display")))
    planned = grid.filter((pl.col("store_id") == "s0") & (pl.col("item_id") == "i0"))
    assert planned.sort("ds")["display"].to_list() == [2.0] * 14 + [0.0] * 14
    assert grid.filter(pl.col("store_id") != "s0")["display"].sum() == 0


def test_a_series_alone_has_the_rows_that_it_has_among_others(
    features: pl.DataFrame, plan: pl.DataFrame
) -> None:
    x, _ = design_matrix(features, plan, 28, SPEC)
    assert column(x, "display").any()
    for n in range(features.height):
        alone, _ = design_matrix(features.slice(n, 1), plan, 28, SPEC)
        np.testing.assert_array_equal(alone, x[28 * n : 28 * (n + 1)])


def test_a_plan_that_was_not_known_yet_is_not_used(
    features: pl.DataFrame, plan: pl.DataFrame
) -> None:
    asked = features.with_columns(event_timestamp=pl.lit(datetime(2017, 8, 1, tzinfo=UTC)))
    x, _ = design_matrix(asked, plan, 28, SPEC)
    assert column(x, "display").sum() == 0


def test_of_a_revised_plan_the_newest_version_known_then_is_used(
    features: pl.DataFrame, plan: pl.DataFrame
) -> None:
    revised = plan.with_columns(display=pl.lit(9.0), known_at=datetime(2017, 9, 5, tzinfo=UTC))
    both = pl.concat([revised, plan])
    for day, display in ((1, 2.0), (7, 9.0)):
        asked = features.with_columns(event_timestamp=pl.lit(datetime(2017, 9, day, tzinfo=UTC)))
        x, _ = design_matrix(asked, both, 28, SPEC)
        assert set(column(x, "display")) == {0.0, display}


def test_an_unknown_item_has_no_code(features: pl.DataFrame, plan: pl.DataFrame) -> None:
    x, _ = design_matrix(features, plan, 1, MatrixSpec(("i0",), "US", CLOSED))
    items = features["item_id"].to_numpy()
    assert np.array_equal(np.isnan(column(x, "item")), items != "i0")


def test_actuals_are_zero_on_open_days_and_missing_on_closed_and_coming_ones() -> None:
    days = [date(2017, 12, 23) + timedelta(days=k) for k in range(5)]
    grid = pl.DataFrame({"store_id": ["s"] * 5, "item_id": ["i"] * 5, "ds": days})
    sales = pl.DataFrame({"store_id": ["s"], "item_id": ["i"], "ds": [days[0]], "y": [4.0]})
    y = actuals(grid, sales, until=date(2017, 12, 26), steps=STEPS)["y"]
    assert y.to_list() == [4.0, 0.0, None, 0.0, None]


def test_history_is_dense_from_the_first_sale(sales: pl.DataFrame, series: pl.DataFrame) -> None:
    dense = history(sales, series, CUTOFF, STEPS)
    for _, rows in dense.group_by(KEYS):
        first, last = rows["ds"].min(), rows["ds"].max()
        assert last == CUTOFF and rows.height == (last - first).days + 1
    assert dense["y"].sum() == sales["y"].sum()


def test_training_cutoffs_meet_every_weekday_and_each_other_again() -> None:
    early = training_cutoffs(date(2017, 8, 13), date(2017, 3, 1), STEPS)
    later = training_cutoffs(date(2017, 9, 10), date(2017, 3, 1), STEPS)
    assert set(early) <= set(later)
    assert {c.isoweekday() for c in early} == set(range(1, 8))
    assert early[0] >= date(2017, 3, 1) and early[-1] <= date(2017, 8, 13)


def test_the_morning_after_a_cutoff_is_after_its_day_in_every_zone() -> None:
    for zone in ("America/New_York", "Asia/Tokyo", "Pacific/Auckland"):
        assert known_at_morning(CUTOFF, zone) > known_at_morning(CUTOFF - timedelta(days=1), zone)
