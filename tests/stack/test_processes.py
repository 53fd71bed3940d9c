"""Processes are known by more than their number, and stopped with all that they started."""

import json
import signal
import subprocess
import sys

import psutil

from stack.processes import Record, families, find, identify, read, stop, write
from stack.programs import (
    MLFLOW,
    PREFECT,
    RAY,
)

from .conftest import SLEEP, wait_for


def test_a_process_is_found_by_its_identity(sleeper):
    process = find(identify(sleeper.pid))
    assert process is not None
    assert process.pid == sleeper.pid


def test_a_later_process_of_the_same_id_is_not_found(sleeper):
    pid, created = identify(sleeper.pid)
    assert find((pid, created - 100)) is None


def test_a_process_that_has_ended_but_was_not_collected_is_not_found(sleeper):
    identity = identify(sleeper.pid)
    sleeper.kill()
    wait_for(lambda: psutil.Process(sleeper.pid).status() == psutil.STATUS_ZOMBIE)
    assert find(identity) is None


def test_a_record_survives_the_disk(settings):
    record = Record((1, 2.5), "/tmp/r", steps={RAY: 3.0})
    record.processes[RAY] = (4, 5.5)
    write(settings, record)
    again = read(settings)
    assert again is not None
    assert again.steps == record.steps
    assert tuple(again.processes[RAY]) == (4, 5.5)


def test_a_process_that_left_its_parent_and_session_is_still_stopped(settings):
    # As Ray's workers can: the grandchild has a session of its own, then its parent is killed.
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({SLEEP!r}, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    grandchild = int(parent.stdout.readline())
    record = Record((0, 0.0), "/tmp/none", {MLFLOW: identify(parent.pid)})
    record.family = families(record)
    assert {pid for pid, _ in record.family[MLFLOW]} == {parent.pid, grandchild}
    parent.kill()
    parent.wait()
    assert [pid for pid, _ in families(record)[MLFLOW]] == [grandchild]
    assert stop(settings, record) == 1
    assert not any(families(record).values())


def test_stop_spares_a_process_that_it_did_not_start(settings, sleeper):
    pid, created = identify(sleeper.pid)
    stranger = (pid, created - 100)
    record = Record(stranger, "/tmp/none", {RAY: stranger, PREFECT: stranger})
    record.family = {RAY: [stranger]}
    assert stop(settings, record) == 0
    assert sleeper.poll() is None


def test_what_ignores_the_request_to_stop_is_killed(settings, monkeypatch):
    monkeypatch.setattr("stack.processes.STOP_SECONDS", 0.3)
    code = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    )
    stubborn = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    record = Record((0, 0.0), "/tmp/none", {MLFLOW: identify(stubborn.pid)})
    assert stop(settings, record) == 1
    assert stubborn.wait(5) == -signal.SIGKILL


def test_the_record_is_plain_json(settings):
    write(settings, Record((1, 2.0), "/tmp/r"))
    assert json.loads((settings.state_dir / "stack.json").read_text())["supervisor"] == [1, 2.0]
