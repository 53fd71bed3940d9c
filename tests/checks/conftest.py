"""A warehouse in memory and the deliveries of a small chain: 8 stores, 5 items, 40 rows a day."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta

import duckdb
import polars as pl
import pytest

from data.warehouse import SQL_DIR, Connection

LAST_DAY = date(2026, 3, 1)  # of the published history; a Sunday
NEXT_DAY = LAST_DAY + timedelta(days=1)
AS_OF = datetime.combine(NEXT_DAY + timedelta(days=1), time(11), UTC)  # delivery of NEXT_DAY

LANDING = {
    "batch_id": pl.String,
    "store_id": pl.String,
    "item_id": pl.String,
    "ds": pl.Date,
    "y": pl.Float64,
    "price": pl.Float64,
    "exclusion": pl.String,
    "copies": pl.Int64,
    "known_at": pl.Datetime("us", "UTC"),
}


def deliveries(since: date, until: date) -> pl.DataFrame:
    """Rows as they land, batch_id "b": every store sells every item every day, 6 to 12 of it."""
    rows = [
        {
            "batch_id": "b",
            "store_id": f"s{store}",
            "item_id": f"i{item}",
            "ds": day,
            "y": 6.0 + (store + item + day.weekday()) % 7,
            "price": 1.5,
            "exclusion": None,
            "copies": 1,
            "known_at": datetime.combine(day + timedelta(days=1), time(11), UTC),
        }
        for day in pl.date_range(since, until, eager=True)
        for store in range(8)
        for item in range(5)
    ]
    return pl.DataFrame(rows, schema=LANDING)


def insert(con: Connection, table: str, frame: pl.DataFrame) -> None:
    con.register("incoming", frame)
    con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
    con.unregister("incoming")


@pytest.fixture(scope="session")
def history() -> pl.DataFrame:
    """Eight weeks of published sales."""
    return deliveries(LAST_DAY - timedelta(days=55), LAST_DAY)


@pytest.fixture
def con(history: pl.DataFrame) -> Iterator[Connection]:
    """A warehouse with eight weeks of published sales."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        con.execute((SQL_DIR / "tables.sql").read_text())
        published = history.drop("exclusion", "copies").with_columns(batch_id=pl.lit("h"))
        insert(con, "sales", published)
        insert(con, "ingest_log", pl.DataFrame({"batch_id": ["h"], "status": ["published"]}))
        yield con


@pytest.fixture
def day() -> pl.DataFrame:
    """A clean delivery of the next day: 40 rows."""
    return deliveries(NEXT_DAY, NEXT_DAY)


Change = Callable[[pl.DataFrame], pl.DataFrame]


def setting(rows: int, **values: object) -> Change:
    """Overwrites columns of the first `rows` rows."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        first = pl.int_range(pl.len()) < rows
        return frame.with_columns(
            pl.when(first).then(pl.lit(value, dtype=LANDING[name])).otherwise(name).alias(name)
            for name, value in values.items()
        )

    return change
