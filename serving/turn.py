"""One at a time changes which version serves: a deployment with its watch, a rollback."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from data.settings import Settings

LOCK = "LOCK"  # beside the folders of versions; holds who changes what serves
WAIT_SECONDS, POLL_SECONDS = 600.0, 0.2


@contextmanager
def turn(settings: Settings, who: str, tell: Callable[[str], object]) -> Iterator[None]:
    """Waits until nobody else changes what serves, and lets nobody else meanwhile.

    It is a lock of the system on a file, which a rollback can take without Prefect, and which is
    free at once when its process is killed. `tell` is given one sentence if there is a wait.
    A process that has it must not ask for it again. Raises TimeoutError after WAIT_SECONDS.
    """
    path = settings.champions_dir / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        _wait(file, tell)
        file.truncate(0)
        file.write(f"{who} (process {os.getpid()}, since {datetime.now(UTC):%H:%M:%S} UTC)")
        file.flush()
        yield


def _wait(file: TextIO, tell: Callable[[str], object]) -> None:
    deadline, told = time.monotonic() + WAIT_SECONDS, False
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another run"
        if not told:
            tell(f"Waiting for {holder}, which changes what serves; this goes on when it is over.")
            told = True
        if time.monotonic() >= deadline:
            raise TimeoutError(
                f"What serves is still being changed by {holder} after {WAIT_SECONDS:g} s; "
                "cancel that run or end its process, then run this again."
            )
        time.sleep(POLL_SECONDS)
