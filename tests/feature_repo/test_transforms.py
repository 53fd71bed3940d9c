from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from data.schema import DEMAND_FEATURES, KEYS, SALES, STORE_FEATURES, WINDOWS
from data.steps import Steps
from data.warehouse import known_at_morning
from feature_repo.build import feature_rows, feature_rows_as_known
from feature_repo.transforms import demand_features, store_features

CUTOFF = date(2017, 9, 10)
CLOSED = ("12-25",)
STEPS = Steps(1, CLOSED)


def daily(sales: pl.DataFrame, store: str, item: str, cutoff: date) -> dict[date, float]:
    """Dense sales of one series by day, from its first sale to the cutoff."""
    one = sales.filter((pl.col("store_id") == store) & (pl.col("item_id") == item))
    sold = dict(one.filter(pl.col("ds") <= cutoff).select("ds", "y").iter_rows())
    first = min(sold)
    days = [first + timedelta(days=k) for k in range((cutoff - first).days + 1)]
    return {d: sold.get(d, 0.0) for d in days if f"{d:%m-%d}" not in CLOSED}


def one_row(features: pl.DataFrame, store: str, item: str) -> dict[str, float]:
    return features.filter((pl.col("store_id") == store) & (pl.col("item_id") == item)).row(
        0, named=True
    )


@pytest.mark.score("data", 7)
@pytest.mark.parametrize("cutoff", [CUTOFF, date(2017, 3, 1), date(2017, 1, 20)])
def test_features_equal_a_plain_loop_over_days(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame, cutoff: date
) -> None:
    features = demand_features(sales, plan, series, cutoff, STEPS)
    for store, item in series.iter_rows():
        got, days = one_row(features, store, item), daily(sales, store, item, cutoff)
        newest = list(days.items())[::-1]
        for w in WINDOWS:
            within = [y for d, y in newest if (cutoff - d).days < w]
            assert got[f"mean_{w}"] == pytest.approx(np.mean(within))
        assert got["mean_ever"] == pytest.approx(np.mean([y for _, y in newest]))
        month = [y for d, y in newest if (cutoff - d).days < 28]
        assert got["std_28"] == pytest.approx(np.std(month))
        assert got["zero_share_28"] == pytest.approx(np.mean([y == 0 for y in month]))
        for k in range(1, 8):
            assert got[f"lag_{k}"] == days.get(cutoff - timedelta(days=k - 1), 0.0)
            weekday = [y for d, y in newest if d.isoweekday() == k and (cutoff - d).days < 56]
            assert got[f"dow_mean_{k}"] == pytest.approx(np.mean(weekday))


def test_store_index_is_the_weekday_over_the_mean_day(
    sales: pl.DataFrame, series: pl.DataFrame
) -> None:
    got = store_features(sales, series, CUTOFF, STEPS).row(0, named=True)
    since = CUTOFF - timedelta(days=84)
    total = sales.filter((pl.col("store_id") == "s0") & (pl.col("ds") > since))
    mean_day = total["y"].sum() / 84
    monday = total.filter(pl.col("ds").dt.weekday() == 1)["y"].sum() / 12
    assert got["store_dow_index_1"] == pytest.approx(monday / mean_day)
    assert got["store_mean_28"] == pytest.approx(
        total.filter(pl.col("ds") > CUTOFF - timedelta(days=28))["y"].sum() / 28
    )


def test_closed_days_are_no_days_without_demand() -> None:
    days = [date(2017, 12, 1) + timedelta(days=k) for k in range(31)]
    sales = pl.DataFrame(
        [("s", "i", d, 7.0, 1.0, None) for d in days if d != date(2017, 12, 25)],
        schema=SALES,
        orient="row",
    )
    series = pl.DataFrame({"store_id": ["s"], "item_id": ["i"]})
    plan = pl.DataFrame(schema={**SALES, "display": pl.Float64, "mailer": pl.Float64})
    got = demand_features(sales, plan, series, date(2017, 12, 31), STEPS).row(0, named=True)
    assert got["mean_28"] == 7.0
    assert got["dow_mean_1"] == 7.0
    assert got["zero_share_28"] == 0.0


@pytest.mark.score("data", 7)
@given(st.integers(1, 40), st.floats(0, 1e6), st.integers(0, 400))
@hypothesis_settings(max_examples=25, deadline=None)
def test_no_feature_moves_when_later_sales_change(ahead: int, y: float, shift: int) -> None:
    cutoff = date(2017, 6, 1) + timedelta(days=shift % 60)
    days = [date(2017, 3, 1) + timedelta(days=k) for k in range(200)]
    known = pl.DataFrame(
        [("s", f"i{k % 2}", d, float(k % 5), 1.0, None) for k, d in enumerate(days)],
        schema=SALES,
        orient="row",
    )
    late = known.with_columns(
        y=pl.when(pl.col("ds") > cutoff + timedelta(days=ahead - 1)).then(y).otherwise("y")
    )
    series = known.select(KEYS).unique()
    plan = pl.DataFrame(schema={**SALES, "display": pl.Float64, "mailer": pl.Float64})
    for frame_of in (
        lambda s: demand_features(s, plan, series, cutoff, STEPS),
        lambda s: store_features(s, series, cutoff, STEPS),
    ):
        assert frame_of(known).equals(frame_of(late))


def test_a_revision_reaches_only_cutoffs_after_it_was_known(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    old = sales.filter(pl.col("ds") == date(2017, 8, 1)).head(1)
    known_at = old["known_at"][0] + timedelta(days=10)
    revision = old.with_columns(y=pl.col("y") + 1000, known_at=pl.lit(known_at))
    versions = pl.concat([sales, revision.cast(dict(SALES))])

    def rows(frame: pl.DataFrame, cutoff: date) -> pl.DataFrame:
        return feature_rows_as_known(
            frame,
            plan,
            series,
            cutoff=cutoff,
            as_of=old["known_at"][0] + (cutoff - date(2017, 8, 1)),
            snapshot_id="x",
            steps=STEPS,
        )["demand"]

    before, after = date(2017, 8, 5), date(2017, 8, 15)
    assert rows(versions, before).equals(rows(sales, before))
    assert not rows(versions, after).equals(rows(sales, after))


def test_every_feature_is_present_once_and_finite(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    demand = demand_features(sales, plan, series, CUTOFF, STEPS)
    assert demand.columns == [*KEYS, *DEMAND_FEATURES]
    assert demand.select(pl.all_horizontal(pl.col(DEMAND_FEATURES).is_finite()).all()).item()
    store = store_features(sales, series, CUTOFF, STEPS)
    assert store.columns == ["store_id", *STORE_FEATURES]


def test_promotions_of_the_past_month_are_a_mean_a_day(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    got = one_row(demand_features(sales, plan, series, CUTOFF, STEPS), "s0", "i0")
    assert got["display_28"] == pytest.approx(7 * 2 / 28)


def test_cutting_the_plan_to_the_past_month_changes_nothing(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    as_of = known_at_morning(CUTOFF, "America/New_York")
    known = {"cutoff": CUTOFF, "snapshot_id": "x", "steps": STEPS}
    whole = feature_rows(sales, plan, series, **known)
    cut = feature_rows_as_known(sales, plan, series, as_of=as_of, **known)
    assert all(whole[view].equals(cut[view]) for view in whole)
    assert whole["demand"]["display_28"].sum() > 0
