"""The DuckDB warehouse: one file, one writing process, every table bitemporal or append-only."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl

from data import schema
from data.settings import Settings

Connection = duckdb.DuckDBPyConnection

SQL_DIR = Path(__file__).parent / "sql"
PAUSE_SECONDS = 0.1  # between two tries to open a file that another process holds
MORNING = clock_time(6)


class WarehouseBusy(TimeoutError):
    """Another process had the warehouse open for longer than we were told to wait."""


@contextmanager
def connect(settings: Settings, *, timeout_seconds: float = 15.0) -> Iterator[Connection]:
    """Open the warehouse for writing, creating its folder and tables; the session's zone is UTC.

    Waits up to `timeout_seconds` for a process that holds the file, then raises `WarehouseBusy`.
    """
    con = _open(settings.warehouse_path, timeout_seconds)
    try:
        con.execute("SET TimeZone='UTC'")
        con.execute((SQL_DIR / "tables.sql").read_text())
        yield con
        with suppress(duckdb.TransactionException):  # another connection is writing: it will do it
            con.execute("CHECKPOINT")
    finally:
        con.close()


def _open(path: Path, timeout_seconds: float) -> Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return duckdb.connect(path)
        except (duckdb.IOException, duckdb.ConnectionException) as error:
            if not _is_busy(error):
                raise
            if time.monotonic() >= deadline:
                raise WarehouseBusy(
                    f"The warehouse {path} was held by another process for {timeout_seconds:g} "
                    "seconds: wait for the run that is using it, or end it, and run this again."
                ) from error
        time.sleep(PAUSE_SECONDS)


def _is_busy(error: duckdb.Error) -> bool:
    text = str(error)
    return "Could not set lock" in text or "different configuration" in text


@contextmanager
def transaction(con: Connection) -> Iterator[None]:
    """All that happens inside, or nothing of it."""
    con.begin()
    try:
        yield
    except BaseException:
        con.rollback()
        raise
    con.commit()


def query(con: Connection, name: str, **params: Any) -> pl.DataFrame:
    """Run the SELECT of `data/sql/NAME.sql` with those of `params` that it mentions."""
    return run(con, (SQL_DIR / f"{name}.sql").read_text(), params)


def run(con: Connection, sql: str, params: dict[str, Any]) -> pl.DataFrame:
    """Run one SELECT with those of `params` that it mentions (DuckDB rejects unused ones)."""
    used = duckdb.extract_statements(sql)[0].named_parameters
    frame: pl.DataFrame = con.sql(sql, params={name: params[name] for name in used}).pl()
    return frame


def sales_as_of(con: Connection, as_of: datetime) -> pl.DataFrame:
    """The newest version of each (store_id, item_id, ds) known at `as_of`, as `schema.SALES`."""
    return query(con, "sales_as_of", as_of=as_utc(as_of)).cast(pl.Schema(schema.SALES))


def plan_as_of(con: Connection, as_of: datetime, since: date, until: date) -> pl.DataFrame:
    """The promotion plan of the days since..until (inclusive) known at `as_of`: `schema.PLAN`."""
    plan = query(con, "plan_as_of", as_of=as_utc(as_of), since=since, until=until)
    return plan.cast(pl.Schema(schema.PLAN))


def plan_known_until(con: Connection) -> datetime | None:
    """When the newest row of the promotion plan became known (UTC); None when there is none."""
    (newest,) = con.execute("SELECT epoch_us(max(known_at)) FROM plan").fetchall()[0]
    return None if newest is None else datetime.fromtimestamp(newest / 1_000_000, UTC)


def known_at_morning(ds: date, timezone: str) -> datetime:
    """06:00 of the day after `ds` in `timezone`, in UTC: when the sales of `ds` become known."""
    local = datetime.combine(ds + timedelta(days=1), MORNING, tzinfo=ZoneInfo(timezone))
    return local.astimezone(UTC)


def business_day(instant: datetime, timezone: str) -> date:
    """The date in `timezone` at an instant."""
    return as_utc(instant).astimezone(ZoneInfo(timezone)).date()


def as_utc(instant: datetime) -> datetime:
    """The instant in UTC; a ValueError when it has no time zone, since it would be a guess."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone: pass an aware datetime, for example UTC.")
    return instant.astimezone(UTC)
