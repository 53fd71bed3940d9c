"""What is started: environment, addresses and ports of each process."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from data.settings import ROOT, Settings
from stack.health import ray_token
from stack.programs import (
    MLFLOW,
    PREFECT,
    RAY,
    command_lines,
    environment,
    is_free,
    port_problem,
    ray_environment,
)


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


def test_rays_token_is_made_once_and_for_its_owner_only(settings):
    token = ray_token(settings)
    assert len(token) == 64
    assert ray_token(settings) == token
    assert stat.S_IMODE(settings.ray_token_path.stat().st_mode) == 0o600
    assert [f.name for f in settings.state_dir.glob("*ray*")] == [settings.ray_token_path.name]


def test_rays_token_is_whole_or_not_there(settings, monkeypatch):
    def killed(_bytes):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("stack.health.secrets.token_hex", killed)
        ray_token(settings)
    assert len(ray_token(settings)) == 64
