"""The record of what was started, and the processes that it names."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from data.settings import ROOT, Settings
from stack.health import SERVE, call, ray_token
from stack.programs import DEPLOYMENTS, MLFLOW, PREFECT, RAY, RUNNER, STEPS

STOP_SECONDS = 15.0  # for each process, on a busy machine
RAY_LOGS = ("r", "session_latest", "logs")

Identity = tuple[int, float]  # process id and time of creation: ids are used again
NOBODY: Identity = (0, 0.0)
Process = subprocess.Popen[bytes]


@dataclass
class Record:
    """Content of state_dir/stack.json: what `down` needs even when the supervisor is gone."""

    supervisor: Identity
    ray_dir: str
    processes: dict[str, Identity] = field(default_factory=dict)  # by name, the latest start
    family: dict[str, list[Identity]] = field(default_factory=dict)  # those with what they started
    steps: dict[str, float] = field(default_factory=dict)  # seconds from the start to health
    problem: str = ""

    @property
    def ready(self) -> bool:
        return self.steps.keys() >= set(STEPS)

    @property
    def alive(self) -> bool:
        return bool(find(self.supervisor)) or any(families(self).values())


def read(settings: Settings) -> Record | None:
    """The record of this state folder's stack; None when there is none."""
    with suppress(FileNotFoundError):
        return Record(**json.loads((settings.state_dir / "stack.json").read_text()))
    return None


def write(settings: Settings, record: Record) -> None:
    part = settings.state_dir / "stack.part"
    part.write_text(json.dumps(asdict(record)))
    part.replace(settings.state_dir / "stack.json")


def identify(pid: int) -> Identity:
    return pid, psutil.Process(pid).create_time()


def find(identity: Identity) -> psutil.Process | None:
    """The recorded process if it lives; None if it does not, or if its id is another's now."""
    with suppress(psutil.Error):
        process = psutil.Process(identity[0])
        if abs(process.create_time() - identity[1]) < 2:
            return None if process.status() == psutil.STATUS_ZOMBIE else process
    return None


def families(record: Record) -> dict[str, list[Identity]]:
    """By name: what lives of the process and of those seen below it, with all their descendants."""
    table = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            links = {process.ppid(), os.getsid(process.pid)}
            table.append((process.pid, process.create_time(), links))
    found = {}
    for name, identity in record.processes.items():
        known = [identity, *record.family.get(name, [])]
        members = {pid: created for pid, created in known if find((pid, created))}
        while new := [row for row in table if row[0] not in members and row[2] & members.keys()]:
            members |= {pid: created for pid, created, _ in new}
        found[name] = list(members.items())
    return found


def stop(settings: Settings, record: Record) -> int:
    """Stops the processes, first those that use others; returns how many had to be killed."""
    record.family = families(record)
    if find(record.processes.get(RAY, NOBODY)):
        url = f"{settings.ray_dashboard_url}{SERVE}"
        call("DELETE", url, token=ray_token(settings), seconds=STOP_SECONDS)
    # A worker that has lost its server does not stop by itself.
    for names in ([RUNNER, DEPLOYMENTS], [RAY, MLFLOW, PREFECT]):
        asked = [record.processes[name] for name in names if name in record.processes]
        for process in filter(None, map(find, asked)):
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        await_end(asked, STOP_SECONDS)
    left = [identity for members in families(record).values() for identity in members]
    await_end(left, 3.0)  # Ray's parts end by themselves, a moment after it
    return kill(left)


def kill(members: list[Identity]) -> int:
    left = list(filter(None, map(find, members)))
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    await_end(members, 5.0)
    return len(left)


def await_end(identities: Iterable[Identity], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for identity in identities:
        while find(identity) and time.monotonic() < deadline:
            time.sleep(0.05)


def log_of(settings: Settings, name: str) -> Path:
    return settings.logs_dir / f"{name.lower().replace(' ', '-')}.log"


def fresh(path: Path) -> Path:
    """The path, with nothing there any more."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    return path


def launch(settings: Settings, name: str, command: list[str], env: dict[str, str]) -> Process:
    """Starts a process in a session of its own that writes to its log."""
    with log_of(settings, name).open("ab") as log:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        return subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True, **streams)


def tidy(settings: Settings, record: Record) -> None:
    """After a stop: keeps Ray's logs, deletes its folder, and the record if it has no problem."""
    logs = Path(record.ray_dir, *RAY_LOGS)
    if logs.exists():
        shutil.copytree(logs, fresh(settings.logs_dir / "ray"))
    shutil.rmtree(record.ray_dir, ignore_errors=True)
    if record.problem:
        write(settings, Record(record.supervisor, record.ray_dir, problem=record.problem))
    else:
        (settings.state_dir / "stack.json").unlink(missing_ok=True)
