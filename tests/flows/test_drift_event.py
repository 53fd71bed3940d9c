"""The event of drift starts `retrain`: prefect.yaml's automation on a real Prefect server."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from data.settings import ROOT, Settings
from stack.programs import POOL, PREFECT, command_lines, environment

DRIFTED = """
from datetime import date
from types import SimpleNamespace
from flows.monitor import announce

drift = [SimpleNamespace(feature=name, drifted=name != "mailer") for name in FEATURES]
announce(SimpleNamespace(drift=drift, version="3", until=date(2017, 10, 1)))
"""
SECONDS = 240  # on a busy machine; a quiet one needs a few


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, httpx.Client]]:
    """A Prefect server that knows the deployment `retrain`, and no worker that would run it."""
    folder = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = Settings(_env_file=None, state_dir=folder, prefect_port=port)
    env = environment(settings)
    server = subprocess.Popen(command_lines(settings, str(folder))[PREFECT], env=env, cwd=folder)
    client = httpx.Client(base_url=f"{settings.prefect_api_url}/", timeout=60)
    try:
        wait_for(lambda: client.get("health").is_success)
        client.post("work_pools/", json={"name": POOL, "type": "process"}).raise_for_status()
        deploy = ["prefect", "--no-prompt", "deploy", "--name", "retrain"]
        subprocess.run(deploy, env=env, cwd=ROOT, check=True, timeout=SECONDS)
        yield settings, client
    finally:
        client.close()
        server.terminate()
        server.wait(60)


def wait_for(condition: Any) -> Any:
    """What a condition returns once it is true."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"it was not true within {SECONDS} s")


def announce(settings: Settings, *features: str) -> None:
    """Publishes what `monitor` does when these features were tested; all but mailer drifted."""
    code = DRIFTED.replace("FEATURES", repr(list(features)))
    env = environment(settings)
    subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, check=True, timeout=SECONDS)


def reasons(client: httpx.Client) -> list[str]:
    """Why each run of `retrain` that is no scheduled one was started."""
    body = {"deployments": {"name": {"any_": ["retrain"]}}}
    runs = client.post("flow_runs/filter", json=body).raise_for_status().json()
    return [run["parameters"]["reason"] for run in runs if run["parameters"]]


def test_drift_starts_a_retraining_that_names_the_features(
    prefect: tuple[Settings, httpx.Client],
) -> None:
    settings, client = prefect
    announce(settings, "mailer")  # nothing has drifted, nothing starts
    announce(settings, "price", "mailer", "display")
    found = wait_for(lambda: reasons(client))
    assert found == ["drift of price, display in the week to 2017-10-01"]
