"""Deliveries that are written down row by row, and what lands of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import duckdb
import polars as pl

from data import schema
from data.ingest import CONTENT, land, publish
from data.settings import Settings
from data.warehouse import SQL_DIR, Connection

RULES = [
    ("day is missing", "ds IS NULL"),
    ("quantity is missing", "y IS NULL"),
    ("quantity is negative; that's a return", "y < 0"),
    ("key is repeated in the batch", "copies > 1"),
]
DEFAULTS = Settings(_env_file=None)


def delivery(*rows: tuple[object, ...]) -> pl.DataFrame:
    """Rows of (store_id, item_id, ds, y, price, exclusion, known_at), shorter ones padded."""
    types = dict(schema.SALES) | {"exclusion": pl.String}
    padded = [(*row, *[None] * (len(CONTENT) - len(row))) for row in rows]
    return pl.DataFrame(padded, schema={name: types[name] for name in CONTENT}, orient="row")


def plan_rows(*rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=pl.Schema(schema.PLAN), orient="row")


def day(n: int) -> date:
    return date(2017, 1, 1) + timedelta(days=n - 1)


def noon(n: int) -> datetime:
    """12:00 UTC of the n-th day of 2017."""
    return datetime(2017, 1, 1, 12, tzinfo=UTC) + timedelta(days=n - 1)


def load(con, frame, as_of, rules=RULES, plan=None):
    batch = land(con, DEFAULTS, frame, source="csv", as_of=as_of)
    return publish(con, batch, rules, plan)


def table(con: Connection, name: str) -> list[tuple[object, ...]]:
    return con.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()


FIRST = delivery(
    ("1", "A", day(1), 3.0, 1.5),
    ("1", "A", day(2), 4.0, 1.5),
    ("1", "B", day(1), 0.0, None),
    ("2", "A", day(2), 2.5, 1.25),
)


@contextmanager
def memory() -> Iterator[Connection]:
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        con.execute((SQL_DIR / "tables.sql").read_text())
        yield con
