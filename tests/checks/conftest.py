"""A warehouse in memory, and the deliveries of a small chain: 8 stores, 5 items, 40 rows a day."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta

import duckdb
import polars as pl
import pytest

from data.warehouse import SQL_DIR, Connection


@pytest.fixture
def con() -> Iterator[Connection]:
    """A warehouse with empty tables."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        con.execute((SQL_DIR / "tables.sql").read_text())
        yield con


@pytest.fixture
def insert(con: Connection) -> Callable[[str, pl.DataFrame], None]:
    """Adds the rows of a frame to a table of the warehouse."""

    def add(table: str, frame: pl.DataFrame) -> None:
        con.register("incoming", frame)
        con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        con.unregister("incoming")

    return add


@pytest.fixture(scope="session")
def deliveries() -> Callable[[date, date], pl.DataFrame]:
    """Rows as they land, batch "b": every store sells 6 to 12 of every item on every day."""

    def make(since: date, until: date) -> pl.DataFrame:
        days = pl.date_range(since, until, eager=True)
        rows = [
            (f"s{s}", f"i{i}", day, 6.0 + (s + i + day.weekday()) % 7, _next_morning(day))
            for day in days
            for s in range(8)
            for i in range(5)
        ]
        frame = pl.DataFrame(rows, ["store_id", "item_id", "ds", "y", "known_at"], orient="row")
        return frame.with_columns(
            batch_id=pl.lit("b"),
            price=1.5,
            exclusion=pl.lit(None, pl.String),
            copies=pl.lit(1, pl.Int64),
        )

    return make


def _next_morning(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(11), UTC)
