"""What a planner is told to look at, and why."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from checks import publishing
from checks.exceptions import exceptions
from data import ledger, publication
from data.schema import KEYS
from data.settings import Settings
from data.snapshots import Snapshot
from data.steps import Steps
from data.warehouse import connect
from models.cold_start import SHORT_DAYS

TODAY = date(2017, 10, 8)
DAILY = Steps()
DAYS = [TODAY - timedelta(days=k) for k in range(27, -1, -1)]


def daily(item: str, sold: list[float], y_hat: float = 10.0, steps: Steps = DAILY) -> pl.DataFrame:
    """Forecasts of y_hat for each of the last steps, likely between half and twice of it."""
    return pl.DataFrame(
        {
            "store_id": "1",
            "item_id": item,
            "ds": steps.ahead(steps.after(TODAY, -len(sold)), len(sold)),
            "y": [float(v) for v in sold],
            "y_hat": y_hat,
            "q0.1": y_hat / 2,
            "q0.9": y_hat * 2,
        }
    )


def found(
    frame: pl.DataFrame,
    plan: pl.DataFrame | None = None,
    price: float = 2.0,
    steps: Steps = DAILY,
) -> pl.DataFrame:
    prices = frame.select("store_id", "item_id").unique().with_columns(price=pl.lit(price))
    types = {"store_id": pl.String, "item_id": pl.String, "ds": pl.Date}
    types |= {"display": pl.Float64, "mailer": pl.Float64}
    plan = pl.DataFrame(schema=types) if plan is None else plan
    sales = frame.select("store_id", "item_id", "ds", "y")
    return exceptions(frame, prices, plan, sales, sales.select(KEYS).unique(), TODAY, steps)


QUIET = [9.0, 11.0] * 14


def test_a_series_that_sells_as_forecast_is_no_exception() -> None:
    assert found(daily("A", QUIET)).is_empty()


@pytest.mark.parametrize(
    ("sold", "kind", "says"),
    [
        (QUIET[:21] + [30.0] * 7, "miss", "Sold more than forecast: 210 units instead of 70"),
        ([13.0, 14.0] * 14, "bias", "steadily too low: 98 units"),
        ([7.0, 6.0] * 14, "bias", "steadily too high: 98 units"),
        ([10.0, 10.0, 25.0, 4.0] * 7, "coverage", "on 14 of 28 days"),
        ([*QUIET[:26], 0.0, 0.0], "stock-out", "Nothing sold since 2017-10-07 where 20.0 units"),
    ],
)
def test_each_kind_is_found_and_says_why(sold: list[float], kind: str, says: str) -> None:
    rows = found(daily("A", sold))
    assert says in rows.filter(pl.col("kind") == kind)["reason"].item()
    assert rows.filter(pl.col("kind") == kind)["value"].item() > 0


def test_in_weekly_data_a_bias_is_found_and_told_in_weeks() -> None:
    weekly = Steps(7)
    rows = found(daily("A", [13.0, 14.0] * 14, steps=weekly), steps=weekly)
    [bias] = rows.filter(pl.col("kind") == "bias").iter_rows(named=True)
    assert "98 units in 28 weeks" in bias["reason"] and "usual miss of a week" in bias["reason"]
    assert bias["since"] == TODAY - timedelta(weeks=27)


def test_weekly_data_is_judged_on_enough_weeks_to_find_a_bias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(state_dir=tmp_path, frequency="1w", _env_file=None)
    weeks = daily("A", [13.0, 14.0] * 20, steps=settings.steps)
    sales = weeks.select(*KEYS, "ds", "y", price=pl.lit(2.0))
    sales.write_parquet(tmp_path / "sales.parquet")
    sales.select(KEYS).unique().write_parquet(tmp_path / "series.parquet")
    taken = Snapshot("s", TODAY, datetime(2017, 10, 9, tzinfo=UTC), tmp_path)
    monkeypatch.setattr(publishing, "read_snapshot", lambda _: taken)
    issued = weeks.drop("y").with_columns(
        cutoff=pl.col("ds") - timedelta(weeks=1),
        step=pl.lit(1),
        model=pl.lit("1"),
        **{"q0.5": pl.col("y_hat")},
    )
    with connect(settings) as con:
        ledger.append(con, "forecasts", issued)
        publishing.publish(con, settings, tmp_path, datetime(2017, 10, 9, tzinfo=UTC))
    rows = publication.scan(settings.published_dir, "exceptions").collect()
    [bias] = rows.filter(pl.col("kind") == "bias").iter_rows(named=True)
    assert "98 units in 28 weeks" in bias["reason"]


def test_days_without_a_sale_that_chance_explains_are_no_stock_out() -> None:
    sold = [0.5] * 26 + [0.0, 0.0]
    assert "stock-out" not in found(daily("A", sold, y_hat=0.5))["kind"].to_list()


def test_a_promotion_ahead_is_told_when_it_is_more_than_usual() -> None:
    frame = daily("A", QUIET)
    days = [*DAYS, TODAY + timedelta(days=2)]
    plan = pl.DataFrame(
        {
            "store_id": "1",
            "item_id": "A",
            "ds": days,
            "display": [2.0] * 28 + [9.0],
            "mailer": 0.0,
        }
    )
    row = found(frame, plan).row(0, named=True)
    assert row["kind"] == "promotion" and "9 products" in row["reason"] and "2.0" in row["reason"]
    assert row["since"] == TODAY + timedelta(days=2)
    usual = plan.with_columns(display=pl.lit(2.0))
    assert found(frame, usual).is_empty()


def test_a_day_that_the_plan_has_no_row_of_counts_as_one_without_a_promotion() -> None:
    days = [TODAY - timedelta(days=9), TODAY - timedelta(days=2), TODAY + timedelta(days=2)]
    plan = pl.DataFrame(
        {"store_id": "1", "item_id": "A", "ds": days, "display": 7.0, "mailer": None},
        schema_overrides={"mailer": pl.Float64},
    )
    row = found(daily("A", QUIET), plan).row(0, named=True)
    assert row["kind"] == "promotion" and "7 products" in row["reason"] and "0.5" in row["reason"]


def test_what_began_to_sell_lately_is_new_where_store_and_item_are_known() -> None:
    known = [("1", "A"), ("2", "B")]
    series = pl.DataFrame(known, schema=KEYS, orient="row")
    sold = [(s, i, TODAY - timedelta(days=k), 3.0) for s, i in known for k in range(90)]
    sold += [("1", "B", TODAY - timedelta(days=k), 2.0) for k in (SHORT_DAYS - 1, 3)]  # new
    sold += [("2", "A", TODAY - timedelta(days=k), 2.0) for k in (SHORT_DAYS, 3)]  # a day too old
    sold += [("9", "A", TODAY, 2.0), ("1", "Z", TODAY, 2.0)]  # nothing is like them
    sold += [("2", "A", TODAY - timedelta(days=80), 0.0)]
    sales = pl.DataFrame(sold, schema=[*KEYS, "ds", "y"], orient="row")
    prices = sales.select(KEYS).unique().with_columns(price=pl.lit(1.5))
    none = pl.DataFrame(schema={**dict.fromkeys(KEYS, pl.String), "ds": pl.Date})
    plan = none.with_columns(display=pl.lit(0.0), mailer=pl.lit(0.0))
    frame = daily("A", QUIET)
    new = exceptions(frame, prices, plan, sales, series, TODAY, DAILY)
    assert new.select(*KEYS, "kind", "value").rows() == [("1", "B", "new", 6.0)]
    assert new["reason"][0].startswith("New: sold for the first time on 2017-08-14, 4 units since")


def test_most_money_comes_first() -> None:
    small = daily("small", [12.0 * 2] * 28, y_hat=10)
    big = daily("big", [120.0 * 2] * 28, y_hat=100)
    rows = found(pl.concat([small, big]))
    assert rows["value"].is_sorted(descending=True)
    assert rows["item_id"][0] == "big"
