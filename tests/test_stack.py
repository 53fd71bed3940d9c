import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from data.settings import ROOT, Settings
from stack.__main__ import main
from stack.commands import clean, down, status, up
from stack.health import SERVE, health, ray_token
from stack.processes import Record, families, find, identify, read, stop, tidy, write
from stack.programs import (
    API,
    MLFLOW,
    PREFECT,
    RAY,
    RUNNER,
    STEPS,
    WORKER,
    StackProblem,
    command_lines,
    environment,
    is_free,
    port_problem,
    ray_environment,
)
from stack.supervisor import RESTARTS, Supervisor

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PORTS = [name for name in Settings.model_fields if name.endswith("_port")]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = {name: s.getsockname()[1] for name, s in zip(PORTS, sockets, strict=True)}
    for s in sockets:
        s.close()
    settings = Settings(state_dir=tmp_path / "state", **ports)
    settings.logs_dir.mkdir(parents=True)
    return settings


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEP)
    yield process
    process.kill()
    process.wait()


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_child_reads_exactly_the_settings_of_its_parent(settings, monkeypatch):
    ours = settings.model_copy(update={"closed_days": ("12-25", "01-01"), "seed": 11})
    for name, value in environment(ours).items():
        monkeypatch.setenv(name, value)
    assert Settings() == ours


def test_the_supervisor_loads_no_library_that_it_only_starts() -> None:
    heavy = "{'feast', 'fastapi', 'lightgbm', 'ray'}"
    look = f"import stack.__main__, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_the_environment_leads_to_this_stack_only(settings, monkeypatch):
    monkeypatch.setenv("PREFECT_API_KEY", "of another installation")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/gone/with/the/caller")
    monkeypatch.setenv("SHELFCAST_FAILPOINT", "passed on")
    monkeypatch.setenv("NO_PROXY", "intranet")
    env = environment(settings)
    assert "PREFECT_API_KEY" not in env
    assert "RAY_ADDRESS" not in env and "PROMETHEUS_MULTIPROC_DIR" not in env
    assert env["SHELFCAST_FAILPOINT"] == "passed on"
    assert env["NO_PROXY"].split(",") == ["intranet", "127.0.0.1", "localhost"]
    assert env["PREFECT_API_URL"] == settings.prefect_api_url
    assert env["MLFLOW_TRACKING_URI"] == settings.mlflow_url
    assert env["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_a_relative_state_folder_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    env = environment(Settings(state_dir=Path("here")))
    assert env["SHELFCAST_STATE_DIR"] == str(tmp_path / "here")
    assert env["PREFECT_HOME"] == str(tmp_path / "here" / "prefect")


def test_no_telemetry_is_on(settings):
    env = environment(settings)
    assert env["DO_NOT_TRACK"] == env["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert env["SODA_CORE_TELEMETRY_ENABLED"] == env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert env["RAY_USAGE_STATS_ENABLED"] == "0"


def test_each_server_is_told_its_host_and_port(settings):
    lines = {name: " ".join(words) for name, words in command_lines(settings, "/tmp/r").items()}
    assert f"--host {settings.host} --port {settings.prefect_port}" in lines[PREFECT]
    assert f"--host {settings.host} --port {settings.mlflow_port}" in lines[MLFLOW]
    assert f"--dashboard-port {settings.ray_dashboard_port}" in lines[RAY]


def test_a_path_with_a_space_stays_one_word(tmp_path):
    settings = Settings(state_dir=tmp_path / "my state")
    words = command_lines(settings, "/tmp/r")[MLFLOW]
    assert words[words.index("--artifacts-destination") + 1] == f"{tmp_path}/my state/mlartifacts"


def test_rays_own_ports_are_free_and_apart_and_its_sockets_fit(settings):
    ray_dir = "/tmp/shelfcast-abcdefgh"
    env = ray_environment(settings, ray_dir)
    ports = [int(v) for k, v in env.items() if k.startswith("RAY_SERVE") and "PORT" in k]
    assert len(ports) == len(set(ports)) == 8
    assert all(is_free(settings.host, port) for port in ports)
    # Ray adds the id of the node, 56 characters; HAProxy a process id while it binds.
    sockets = [v for k, v in env.items() if k.endswith("SOCKET_PATH")]
    assert len(sockets) == 1
    for path in sockets:
        assert path.startswith(f"{ray_dir}/")
        assert len(path) + len("/" + "0" * 56 + ".1234567.tmp") < 108


def test_free_ports_lead_to_no_problem(settings):
    assert port_problem(settings) is None


def test_a_taken_port_is_one_sentence_with_setting_port_and_owner(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        problem = port_problem(settings.model_copy(update={"mlflow_port": port}))
    assert problem is not None
    assert problem.startswith(f"Port of the MLflow server and UI: {port} is taken by ")
    assert f"(process {os.getpid()})" in problem
    assert "set SHELFCAST_MLFLOW_PORT to a free port" in problem


def test_two_settings_with_one_port_are_named(settings):
    clash = settings.model_copy(update={"serve_port": settings.prefect_port})
    problem = port_problem(clash)
    assert problem is not None
    assert "SHELFCAST_PREFECT_PORT and SHELFCAST_SERVE_PORT" in problem


def test_up_on_a_taken_port_starts_nothing(settings, capsys):
    with socket.create_server(("127.0.0.1", settings.ray_port)):
        assert up(settings) == 1
    assert f"{settings.ray_port} is taken" in capsys.readouterr().err
    assert read(settings) is None
    assert not list(settings.logs_dir.iterdir())


def test_rays_token_is_made_once_and_for_its_owner_only(settings):
    token = ray_token(settings)
    assert len(token) == 64
    assert ray_token(settings) == token
    assert stat.S_IMODE(settings.ray_token_path.stat().st_mode) == 0o600


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


def test_down_stops_what_a_killed_supervisor_left(settings, capsys, sleeper):
    record = Record((0, 0.0), "/tmp/none", {MLFLOW: identify(sleeper.pid)})
    write(settings, record)
    assert down(settings) == 0
    assert sleeper.wait(5) == -signal.SIGTERM
    assert f"stopped (process {sleeper.pid})" in capsys.readouterr().out
    assert read(settings) is None


def test_down_and_status_without_a_stack_say_so(settings, capsys):
    assert down(settings) == 0
    assert status(settings) == 1
    assert capsys.readouterr().out.count("The stack is not up") == 2


def test_status_fails_when_a_process_is_dead(settings, capsys, sleeper):
    write(settings, Record(identify(sleeper.pid), "/tmp/none"))
    assert status(settings) == 1
    out = capsys.readouterr().out
    assert len([line for line in out.splitlines() if " dead " in line]) == 5


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


@pytest.mark.parametrize("answer", ["", "y\n", "no\n"])
def test_clean_deletes_nothing_without_a_clear_yes(settings, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert clean(settings) == 1
    assert settings.state_dir.exists()


def test_clean_deletes_the_state_on_yes(settings, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert clean(settings) == 0
    assert not settings.state_dir.exists()


def test_clean_refuses_while_the_stack_is_up(settings, monkeypatch, sleeper, capsys):
    write(settings, Record(identify(sleeper.pid), "/tmp/none"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    assert clean(settings) == 1
    assert "make down" in capsys.readouterr().err
    assert settings.state_dir.exists()


@pytest.mark.parametrize("precious", [ROOT, ROOT.parent, Path.home(), Path("/")])
def test_clean_refuses_a_folder_that_holds_more_than_state(precious, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    monkeypatch.setattr("shutil.rmtree", lambda path: pytest.fail(f"would delete {path}"))
    assert clean(Settings(state_dir=precious)) == 1
    assert "holds more than state" in capsys.readouterr().err


def test_an_unknown_command_shows_the_known_ones(capsys):
    assert main(["restart"]) == 2
    assert "up | down | status | clean" in capsys.readouterr().err


def test_the_record_is_plain_json(settings):
    write(settings, Record((1, 2.0), "/tmp/r"))
    assert json.loads((settings.state_dir / "stack.json").read_text())["supervisor"] == [1, 2.0]
