"""What serves is changed by one at a time, and a killed one is not waited for."""

import subprocess
import sys
import time

import pytest

from data.settings import Settings
from serving import turn
from serving.turn import turn as take_turn

HOLDS = """
import sys, time
from data.settings import Settings
from serving.turn import turn
with turn(Settings(state_dir=sys.argv[1]), "the deployment deploy", print):
    print("has it", flush=True)
    time.sleep(60)
"""


def test_who_waits_is_told_for_whom_and_a_killed_one_is_not_waited_for(settings: Settings) -> None:
    command = [sys.executable, "-c", HOLDS, str(settings.state_dir)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    told: list[str] = []

    def tell(said: str) -> None:
        told.append(said)
        child.kill()  # leaves the lock as a run that is cancelled or out of memory would

    try:
        assert child.stdout and child.stdout.readline() == "has it\n"
        with take_turn(settings, "make rollback", tell):
            pass
    finally:
        child.kill()
        child.communicate()
    (said,) = told
    assert said.startswith(f"Waiting for the deployment deploy (process {child.pid}, since ")


def test_a_turn_that_does_not_end_is_one_sentence(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "WAIT_SECONDS", 0.1)
    start = time.monotonic()
    with (
        take_turn(settings, "the deployment deploy", print),
        pytest.raises(TimeoutError, match=r"by the deployment deploy .* after 0.1 s; cancel"),
        take_turn(settings, "make rollback", str),
    ):
        pass
    assert time.monotonic() - start < 5
