"""A replay beside a warehouse whose deliveries came late, were revised, or were loaded at once."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest.mock import MagicMock

import polars as pl
import pytest

from checks import intake, replay
from checks.replay import Replay, day, replay_of, snapshot_of
from checks.report import CheckResult, ContractReport
from data import ingest
from data.settings import Settings
from data.warehouse import Connection, connect, known_at_morning, query, sales_as_of

ZONE = "America/New_York"
SINCE = date(2017, 9, 10)
ABSENT, REVISED, LATE = date(2017, 9, 13), date(2017, 9, 12), date(2017, 9, 15)
HELD = date(2017, 9, 27)


def morning(ds: date, hours: float = 0) -> datetime:
    return known_at_morning(ds, ZONE) + timedelta(hours=hours)


def deliver(con: Connection, settings: Settings, rows: pl.DataFrame, as_of: datetime) -> None:
    given = rows.with_columns(
        exclusion=pl.lit(None, pl.String), known_at=pl.lit(None, pl.Datetime("us", "UTC"))
    )
    ingest.publish(con, ingest.land(con, settings, given, source="csv", as_of=as_of), [])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without contracts and features, which other tests hold."""
    for name in ("audit_sales", "audit_features", "write_features", "store"):
        monkeypatch.setattr(replay, name, MagicMock())
    report = ContractReport("landing", (CheckResult("rows", "passed", 1, "above 0"),))
    monkeypatch.setattr(intake.contracts, "verify", lambda *_, **__: report)
    monkeypatch.setattr(intake, "_against_history", lambda *_: report)


@pytest.fixture
def production(retailer: Settings, tmp_path: Path) -> Settings:
    """A history, then day by day: a row revised after two weeks, a store and a day that came late.

    The till file that the source reads holds only the first version of every row, and all of them.
    """
    settings = retailer.model_copy(update={"state_dir": tmp_path / "state"})
    till = pl.read_csv(retailer.source_path, schema_overrides={"ds": pl.Date})
    late = (pl.col("ds") == LATE) & (pl.col("store_id") == "s3")
    with connect(settings) as con:
        deliver(con, settings, till.filter(pl.col("ds") <= SINCE), morning(SINCE))
        for ds in pl.date_range(SINCE + timedelta(days=1), HELD, eager=True):
            if ds == ABSENT + timedelta(days=1):
                deliver(con, settings, till.filter(pl.col("ds") == ABSENT), morning(ds))
            if ds == LATE + timedelta(days=3):
                deliver(con, settings, till.filter(late), morning(ds, -3))
            if ds == REVISED + timedelta(days=14):
                revised = till.filter(pl.col("ds") == REVISED).with_columns(pl.col("y") + 1000)
                deliver(con, settings, revised, morning(ds, -20))
            if ds != ABSENT:
                deliver(con, settings, till.filter((pl.col("ds") == ds) & ~late), morning(ds))
    return settings


def units(replayed: Replay, cutoff: date, ds: date) -> float:
    sales = pl.read_parquet(snapshot_of(replayed, cutoff) / "sales.parquet")
    return float(sales.filter(pl.col("ds") == ds)["y"].sum())


@pytest.mark.usefixtures("quick")
def test_every_morning_knows_what_production_knew_on_it_and_the_source_goes_on_from_there(
    production: Settings,
) -> None:
    replayed = replay_of(production, SINCE, 2, [])
    assert replayed.held == HELD and replayed.absent == {ABSENT}
    for cutoff in replayed.days:
        day(replayed, cutoff)
    with connect(production) as con:
        for cutoff in (ds for ds in replayed.days if ds <= HELD):
            known = sales_as_of(con, morning(cutoff))
            snapshot = pl.read_parquet(snapshot_of(replayed, cutoff) / "sales.parquet")
            assert snapshot.equals(known), cutoff
    first, before, after = (
        units(replayed, REVISED + timedelta(days=k), REVISED) for k in (0, 13, 14)
    )
    assert first == before < 1000 < after
    partly, whole = (units(replayed, LATE + timedelta(days=k), LATE) for k in (2, 3))
    assert partly < whole
    beyond = replayed.days[-1]
    assert beyond == replayed.end > HELD and units(replayed, beyond, beyond) > 0
    assert units(replayed, beyond, REVISED) == after


@pytest.mark.usefixtures("quick")
def test_a_replay_begins_anew_when_the_warehouse_holds_something_else_of_its_days(
    production: Settings,
) -> None:
    def folder() -> Path:
        return replay_of(production, SINCE, 2, []).folder

    first = folder()
    assert folder() == first
    correction = pl.DataFrame(
        {"store_id": ["s0"], "item_id": ["i0"], "ds": [SINCE], "y": [3.5], "price": [1.0]}
    )
    correction = correction.with_columns(y=pl.lit(3.5), price=pl.lit(1.0))
    with connect(production) as con:
        deliver(con, production, correction, morning(SINCE, 24 * 60))
        assert folder() == first  # after the replay's end
        deliver(con, production, correction.with_columns(y=2.5), morning(SINCE, 24 * 10))
        assert folder() != first


def test_a_day_that_nothing_was_known_of_in_time_is_no_first_day(production: Settings) -> None:
    with pytest.raises(ValueError, match="Of 2017-09-13, the first day of the replay, nothing was"):
        replay_of(production, ABSENT, 1, [])


@pytest.fixture
def arrivals(settings: Settings) -> Callable[[dict[datetime, tuple[date, date]]], pl.DataFrame]:
    """Delivers a row a day of each range at its instant; what is said of their arrival then."""

    def make(loads: dict[datetime, tuple[date, date]]) -> pl.DataFrame:
        with connect(settings) as con:
            for as_of, (since, until) in loads.items():
                rows = pl.DataFrame({"ds": pl.date_range(since, until, eager=True)})
                rows = rows.with_columns(
                    store_id=pl.lit("s"), item_id=pl.lit(str(as_of)), y=pl.lit(1.0), price=None
                )
                deliver(con, settings, rows.with_columns(pl.col("price").cast(float)), as_of)
            return query(con, "arrivals", timezone=ZONE, history_days=intake.JUDGED_DAYS)

    return make


def test_what_was_loaded_when_the_warehouse_began_keeps_its_day_and_the_usual_delay(
    arrivals: Callable[[dict[datetime, tuple[date, date]]], pl.DataFrame],
) -> None:
    today = datetime(2017, 12, 1, 15, tzinfo=UTC)
    days = [date(2017, 11, 10) + timedelta(days=k) for k in range(20)]
    history = {today: (date(2017, 1, 1), date(2017, 11, 9))}
    steps = {today + timedelta(minutes=k): (ds, ds) for k, ds in enumerate(days)}
    found = arrivals(history | steps)
    assert (found["arrives"] == found["ds"]).all()
    assert (found["known_at"] == pl.Series([morning(ds) for ds in found["ds"]])).all()


def test_a_history_that_is_loaded_on_another_day_keeps_its_days_and_a_few_late_days_do_not(
    arrivals: Callable[[dict[datetime, tuple[date, date]]], pl.DataFrame],
) -> None:
    began, later, late = (datetime(2017, 12, d, 15, tzinfo=UTC) for d in (1, 4, 20))
    found = arrivals(
        {
            began: (date(2017, 6, 1), date(2017, 11, 30)),
            later: (date(2017, 1, 1), date(2017, 5, 31)),
            late: (date(2017, 12, 5), date(2017, 12, 14)),
        }
    )
    in_time = (found["arrives"] == found["ds"]) & (found["known_at"] < found["ds"] + timedelta(2))
    assert found.filter(~in_time)["ds"].to_list() == [date(2017, 12, 5 + k) for k in range(10)]
    assert set(found.filter(~in_time)["arrives"]) == {date(2017, 12, 20)}


def test_a_day_that_comes_hours_after_six_is_in_time_with_all_that_comes_on_that_date(
    arrivals: Callable[[dict[datetime, tuple[date, date]]], pl.DataFrame],
) -> None:
    one, two, three = (date(2017, 12, d) for d in (1, 2, 3))
    found = arrivals(
        {
            morning(one): (one, one),
            morning(two, 4): (one, two),  # with a late row of the day before
            morning(two, 5): (two, two),  # more rows of that day, on the same date
            morning(three): (three, three),
            morning(three, 1): (three, three),  # the day had come by six: these are late
        }
    )
    assert found["arrives"].to_list() == [one, two, two, two, three, date(2017, 12, 4)]
    assert found["known_at"].to_list()[1:4] == [morning(two)] * 3
