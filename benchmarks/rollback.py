"""Seconds that a rollback takes on the running stack; adds its rows to gates.json.

Needs the stack (`make up`) with a model that serves. A copy of that model under a name of its own
serves first; then `make rollback`, and after another copy the deployment `rollback`, run as an
operator would, imports and all.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import report
from benchmarks.rows import Row, plain_row
from data.settings import ROOT, Settings, command_settings
from models.forecaster import DIGESTS, MANIFEST
from serving.deploy import current_version, served_model, swap
from stack.programs import environment

COPY, LIMIT_SECONDS = "rollback-drill", 30.0


def copied(settings: Settings, version: str) -> Path:
    """The folder of a version under the name COPY, with digests that fit."""
    folder = settings.champions_dir / COPY
    shutil.copytree(settings.champions_dir / version, folder, dirs_exist_ok=True)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "version": COPY}))
    digests = json.loads((folder / DIGESTS).read_text())
    found = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in digests}
    (folder / DIGESTS).write_text(json.dumps(found))
    return folder


COMMANDS = {
    "make rollback": ["make", "rollback"],
    "deployment rollback": [
        *(f"{ROOT}/.venv/bin/prefect", "deployment", "run", "rollback/rollback"),
        *("--param", "reason=drill", "--watch", "--watch-interval", "1"),
    ],
}


def seconds_of(settings: Settings, command: list[str]) -> float:
    """Serves the copy, rolls back by a command, and asks the API which version answers."""
    version = current_version(settings)
    assert version is not None
    folder = copied(settings, version)
    try:
        swap(settings, COPY)
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=environment(settings), check=True)
        seconds = time.perf_counter() - start
    finally:
        shutil.rmtree(folder)
    served = (served_model(settings) or {}).get("version")
    if served != version:
        raise AssertionError(f"Version {served} answers after the rollback instead of {version}.")
    return seconds


def rollback_rows(settings: Settings) -> list[Row]:
    """A row for each way to go back, and the longest of them against its limit."""
    took = {name: seconds_of(settings, command) for name, command in COMMANDS.items()}
    longest = max(took.values())
    slowest = plain_row("rollback_seconds", "s", longest, LIMIT_SECONDS, more_is_better=False)
    return [slowest, *(plain_row(name, "s", seconds) for name, seconds in took.items())]


def main() -> int:
    """Measures once and keeps the row; 1 when it took too long."""
    settings = command_settings()
    if served_model(settings) is None:
        print(f"rollback_seconds was not measured: no model serves at {settings.serve_url}.")
        print("Run `make demo`, which leaves the stack up, then measure again:")
        print("`.venv/bin/python -m benchmarks.rollback`.")
        return 0
    rows = rollback_rows(settings)
    report.save("gates", rows, merge=True)
    for row in rows:
        print(f"{row['metric']}: {row['ours']} {row['unit']}")
    return int(not rows[0]["met"])


if __name__ == "__main__":
    sys.exit(main())
