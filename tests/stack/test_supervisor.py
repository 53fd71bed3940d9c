"""What dies is started again, and what is healthy is asked for."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from stack.health import SERVE, health
from stack.processes import stop, tidy
from stack.programs import (
    API,
    MLFLOW,
    PREFECT,
    RAY,
    RUNNER,
    STEPS,
    WORKER,
    StackProblem,
)
from stack.supervisor import RESTARTS, Supervisor

from .conftest import SLEEP, wait_for


@pytest.fixture
def answers(settings, monkeypatch) -> dict[str, object]:
    """What the servers answer, by the end of the address; all others do not answer."""
    said: dict[str, object] = {}

    def call(_method, url, _body=None, **_options):
        return next(((200, said[end]) for end in said if url.endswith(end)), (0, None))

    monkeypatch.setattr("stack.health.call", call)
    return said


def test_a_server_that_is_not_there_is_not_healthy(settings):
    assert {health(settings, name) for name in (RAY, PREFECT, MLFLOW)} == {"does not answer"}


def test_a_worker_is_healthy_when_it_was_heard_of_since_it_started(settings, answers):
    heard = datetime(2026, 1, 1, 12, tzinfo=UTC)
    worker = {"name": WORKER, "status": "ONLINE", "last_heartbeat_time": heard.isoformat()}
    answers["workers/filter"] = [worker]
    assert health(settings, RUNNER, heard.timestamp() - 1) == "healthy"
    assert health(settings, RUNNER, heard.timestamp() + 1) == "not heard of"
    worker["status"] = "OFFLINE"
    assert health(settings, RUNNER) == "not heard of"


def test_the_forecast_api_tells_why_it_is_not_deployed(settings, answers):
    assert health(settings, API) == "not deployed"
    application = {"status": "DEPLOY_FAILED", "message": "No module named 'x'"}
    answers[SERVE] = {"applications": {"shelfcast": application}}
    assert health(settings, API) == "DEPLOY_FAILED No module named 'x'"
    application["status"] = "RUNNING"
    assert health(settings, API) == "does not answer"
    answers["/-/healthz"] = "success"
    assert health(settings, API) == "healthy"


@pytest.fixture
def supervisor(settings, monkeypatch) -> Iterator[Supervisor]:
    monkeypatch.setattr("stack.supervisor.command_lines", lambda *_: {PREFECT: SLEEP})
    monkeypatch.setattr("stack.supervisor.health", lambda *_: "healthy")
    supervisor = Supervisor(settings)
    yield supervisor
    supervisor.stopping.set()
    stop(settings, supervisor.record)
    tidy(settings, supervisor.record)


def test_a_process_that_dies_is_started_again(supervisor):
    threading.Thread(target=supervisor.keep, args=[PREFECT], daemon=True).start()
    wait_for(lambda: PREFECT in supervisor.record.steps)
    first = supervisor.record.processes[PREFECT]
    os.kill(first[0], signal.SIGKILL)
    wait_for(lambda: supervisor.record.processes[PREFECT] != first)
    assert supervisor.record.problem == ""


def test_a_process_that_cannot_start_is_reported_with_the_end_of_its_log(supervisor, monkeypatch):
    broken = [sys.executable, "-c", "print('no such option'); raise SystemExit(3)"]
    monkeypatch.setattr("stack.supervisor.command_lines", lambda *_: {PREFECT: broken})
    monkeypatch.setattr("stack.supervisor.health", lambda *_: "does not answer")
    supervisor.keep(PREFECT)
    problem = supervisor.record.problem
    assert problem.startswith("Prefect server did not start: it ended with 3.")
    assert problem.endswith("no such option")
    assert str(supervisor.settings.logs_dir / "prefect-server.log") in problem


def test_a_process_that_dies_too_often_is_given_up(supervisor, monkeypatch, capsys):
    monkeypatch.setattr(
        "stack.supervisor.command_lines", lambda *_: {PREFECT: [sys.executable, "-c", ""]}
    )
    monkeypatch.setattr(supervisor.stopping, "wait", lambda _seconds: False)
    supervisor.record.steps = dict.fromkeys(STEPS, 1.0)
    supervisor.keep(PREFECT)
    out = capsys.readouterr().out
    assert f"died {RESTARTS + 1} times" in out
    assert "Prefect server is not started again." in out


def test_nothing_is_started_any_more_once_the_stack_stops(supervisor):
    supervisor.stopping.set()
    with pytest.raises(StackProblem, match="being stopped"):
        supervisor.start(PREFECT)
    assert supervisor.record.processes == {}
