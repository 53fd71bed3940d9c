"""What every flow needs: the writer's slot, the turn to change what serves, the clock, a word."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TypeVar, cast

from prefect import get_run_logger
from prefect.concurrency.sync import concurrency
from prefect.states import Completed

from data.ledger import last_day
from data.settings import Settings
from data.warehouse import Connection, known_at_morning
from serving.turn import turn

WRITER = "duckdb-writer"
Result = TypeVar("Result")


@contextmanager
def writing() -> Iterator[None]:
    """The writer's slot, for one flow at a time: others queue for it in Prefect.

    Held around all that a flow does with the warehouse, because taking it costs up to two seconds.
    """
    with concurrency(WRITER, occupy=1, timeout_seconds=600, strict=True):
        yield


@contextmanager
def changing(settings: Settings, who: str) -> Iterator[None]:
    """The turn to change what serves; the run's log says who is waited for.

    Not to be asked for within another one, and the writer's slot not within it: a rollback would
    wait for whatever writes.
    """
    with turn(settings, who, lambda said: get_run_logger().info(said)):
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
