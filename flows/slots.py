"""What every flow needs: the writer's slot, the clock, and a last word."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TypeVar, cast

from prefect.concurrency.sync import concurrency
from prefect.states import Completed

from data.ledger import last_day
from data.settings import Settings
from data.warehouse import Connection, known_at_morning

WRITER = "duckdb-writer"
Result = TypeVar("Result")


@contextmanager
def writing() -> Iterator[None]:
    """The writer's slot, for one flow at a time: others queue for it in Prefect.

    Held around all that a flow does with the warehouse, because taking it costs up to two seconds.
    """
    with concurrency(WRITER, occupy=1, timeout_seconds=600, strict=True):
        yield


def clock(settings: Settings, con: Connection) -> tuple[date | None, datetime]:
    """The last day of sales and the time that plays now.

    In replay mode now is the morning after that day, in live mode it is the clock's.
    """
    day = last_day(con)
    if settings.mode == "live" or day is None:
        return day, datetime.now(UTC)
    return day, known_at_morning(day, settings.timezone)


def done(message: str, data: Result) -> Result:
    """Ends a flow: people read `message` beside the run, callers of the flow get `data`."""
    return cast("Result", Completed(message=message, data=data))
