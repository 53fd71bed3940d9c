"""The end of the real stack, after the tests of all other files of this folder."""

import subprocess
import sys

import psutil
import pytest

from data.settings import ROOT, Settings
from stack.processes import families, find, read
from stack.programs import environment, port_problem

pytestmark = pytest.mark.end_to_end


def test_down_leaves_no_process_and_no_port(running: Settings, demo: str) -> None:
    record = read(running)
    assert record is not None
    members = [m for found in families(record).values() for m in found]
    env = environment(running)
    done = subprocess.run(
        [sys.executable, "-m", "stack", "down"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [m for m in members if find(m)] == []
    assert port_problem(running) is None
    assert not any(
        str(running.state_dir) in " ".join(p.info["cmdline"] or [])
        for p in psutil.process_iter(["cmdline"])
    )
