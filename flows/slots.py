"""The writer's slot, and the clock: what every flow needs before it does anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

from prefect.concurrency.sync import concurrency

from data.ledger import last_day
from data.settings import Settings
from data.warehouse import Connection, connect, known_at_morning

WRITER = "duckdb-writer"


@contextmanager
def warehouse(settings: Settings) -> Iterator[Connection]:
    """The open warehouse, one flow at a time: others queue in Prefect for the slot."""
    with (
        concurrency(WRITER, occupy=1, timeout_seconds=300, strict=True),
        connect(settings) as con,
    ):
        yield con


def clock(settings: Settings, con: Connection) -> tuple[date | None, datetime]:
    """The last day of sales and the time that plays now.

    In replay mode now is the morning after that day, in live mode it is the clock's.
    """
    day = last_day(con)
    if settings.mode == "live" or day is None:
        return day, datetime.now(UTC)
    return day, known_at_morning(day, settings.timezone)
