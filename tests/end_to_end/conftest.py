"""One real stack for all tests of this folder, on free ports and a state folder of its own."""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from data.settings import ROOT, Settings
from data.warehouse import connect, query
from stack.prefect_api import Prefect
from stack.processes import families, read
from stack.programs import environment


def free_ports(names: list[str]) -> dict[str, int]:
    """A free port for each setting, none twice."""
    with ExitStack() as held:
        ports = {}
        for name in names:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports[name] = probe.getsockname()[1]
        return ports


def listening(settings: Settings) -> dict[int, set[str]]:
    """Addresses that each live process of the stack listens on, by process id."""
    record = read(settings)
    assert record is not None
    found: dict[int, set[str]] = {}
    for members in families(record).values():
        for pid, _ in members:
            try:
                connections = psutil.Process(pid).net_connections("tcp")
            except psutil.Error:
                continue
            for c in connections:
                if c.status == psutil.CONN_LISTEN:
                    address = f"{c.laddr.ip.removeprefix('::ffff:')}:{c.laddr.port}"
                    found.setdefault(pid, set()).add(address)
    return found


@pytest.fixture(scope="session")
def running() -> Iterator[Settings]:
    """Settings of the stack that the demo starts; stopped and deleted afterwards."""
    state = Path(tempfile.mkdtemp(prefix="shelfcast-test-"))
    ports = free_ports([n for n in Settings.model_fields if n.endswith("_port")])
    yield Settings(_env_file=None, state_dir=state, trials=3, tuning_seconds=60, **ports)
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def demo(running: Settings) -> Iterator[str]:
    """What the first `demo.py` prints; the stack stays up for the other tests."""
    env = environment(running)
    command = [sys.executable, "demo.py"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1500
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield done.stdout
    finally:
        subprocess.run([sys.executable, "-m", "stack", "down"], cwd=ROOT, env=env, timeout=120)


@pytest.fixture
def prefect(running: Settings, demo: str) -> Prefect:
    return Prefect(running)


@pytest.fixture
def api(running: Settings, demo: str) -> httpx.Client:
    return httpx.Client(base_url=running.serve_url, timeout=15)


@pytest.fixture
def series(api: httpx.Client) -> dict[str, str]:
    page = api.get("/v1/series").raise_for_status().json()
    first: dict[str, str] = next(s for s in page["series"] if s not in page["cold"])
    return first


def decision(settings: Settings, gate: str) -> dict[str, Any]:
    with connect(settings) as con:
        return query(con, "latest_decision", gate=gate).row(0, named=True)
