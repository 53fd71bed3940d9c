"""A stack of the test's own, on ports that were free."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.settings import Settings

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
