"""What a user says to the stack: up, down, status, clean."""

import fcntl
import shutil
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from data.settings import ROOT, Settings
from stack.health import health, url_of
from stack.processes import (
    NOBODY,
    STOP_SECONDS,
    Identity,
    await_end,
    find,
    identify,
    kill,
    launch,
    log_of,
    read,
    stop,
    tidy,
)
from stack.programs import API, DEPLOYMENTS, RAY, STEPS, environment, port_problem


def up(settings: Settings) -> int:
    """Starts the stack unless it is up; returns 0 when all of it is healthy."""
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    with (settings.state_dir / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second `up` waits here, then finds the stack up
        record = read(settings)
        if record and find(record.supervisor):
            print("The stack is already up.")
            if not record.ready:
                return follow(settings, record.supervisor)
            if broken := status(settings):
                print("Not all of it answers: `make down` and then this again starts it anew.")
            return broken
        if record and record.alive:
            print("The last supervisor was killed.")
            down(settings)
        if problem := port_problem(settings):
            print(problem, file=sys.stderr)
            return 1
        for old in [settings.state_dir / "stack.json", *settings.logs_dir.glob("*.log")]:
            old.unlink(missing_ok=True)
        print(f"Starting the stack; logs are in {settings.logs_dir}", flush=True)
        command = [sys.executable, "-m", "stack", "run"]
        supervisor = launch(settings, "Supervisor", command, environment(settings))
        return follow(settings, identify(supervisor.pid))


def follow(settings: Settings, supervisor: Identity) -> int:
    """Prints each step of the start when it is done; returns 0 when all are."""
    shown: set[str] = set()
    try:
        while True:
            ended = not find(supervisor)
            record = read(settings)
            for name, seconds in record.steps.items() if record else ():
                if name not in shown:
                    print(f"  {name:<16}{url_of(settings, name):<36}{seconds:5.1f} s", flush=True)
                    shown.add(name)
            if record and record.ready:
                print("The stack is up. `make status` shows it, `make down` stops it.")
                return 0
            if ended:
                stopped = f"The stack was stopped; see {log_of(settings, 'Supervisor')}"
                print(record.problem if record else stopped, file=sys.stderr)
                return 1
            time.sleep(0.1)
    except KeyboardInterrupt:
        print()
        down(settings)
        return 130


def down(settings: Settings) -> int:
    """Stops everything that the stack started, also when its supervisor is gone."""
    record = read(settings)
    if not record or not record.alive:
        print("The stack is not up.")
        return 0
    print("Stopping the stack ...", flush=True)
    if supervisor := find(record.supervisor):
        supervisor.terminate()
        await_end([record.supervisor], 4 * STOP_SECONDS)
        kill([record.supervisor])
    record.family = (read(settings) or record).family
    killed = stop(settings, record)
    tidy(settings, record)
    for name, (pid, _) in record.processes.items():
        if name != DEPLOYMENTS:
            print(f"  {name:<16}stopped (process {pid})")
    if killed:
        print(f"  {killed} processes did not stop by themselves and were killed.")
    print("The stack is down.")
    return 0


def status(settings: Settings) -> int:
    """Prints a table of the processes; returns 0 when all are healthy."""
    record = read(settings)
    if not record or not record.alive:
        print("The stack is not up; `make up` starts it.")
        return 1
    print(f"{'process':<16}{'url':<36}{'health':<20}{'pid':>8}  uptime")
    owners = {"Supervisor": record.supervisor, API: record.processes.get(RAY, NOBODY)}
    well = True
    for name in ("Supervisor", *STEPS[:-1]):
        process = find(owners.get(name) or record.processes.get(name, NOBODY))
        state = "dead" if not process else "healthy"
        if process and name in STEPS:
            state = health(settings, name, process.create_time())
        age = timedelta(seconds=int(time.time() - process.create_time())) if process else "-"
        pid = process.pid if process else "-"
        print(f"{name:<16}{url_of(settings, name):<36}{state[:70]:<20}{pid:>8}  {age}")
        well = well and state == "healthy"
    return 0 if well else 1


def clean(settings: Settings) -> int:
    """Deletes the state folder if the user says so and the stack is down."""
    state, record = settings.state_dir.resolve(), read(settings)
    if record and record.alive:
        problem = "The stack is up: stop it with `make down` before its state is deleted."
    elif any(precious.is_relative_to(state) for precious in (ROOT, Path.home())):
        problem = f"{state} holds more than state; set SHELFCAST_STATE_DIR to a folder of its own."
    elif not state.exists():
        problem = f"There is nothing to delete: {state} does not exist."
    else:
        print(f"This deletes {state}: warehouse, features, models, runs and logs.")
        with suppress(EOFError):
            answer = input("Delete it? [y/N] ").strip().lower()
            if answer == "yes" or (answer == "y" and sys.stdin.isatty()):
                shutil.rmtree(state)
                print(f"Deleted {state}.")
                return 0
        problem = "Nothing was deleted."
    print(problem, file=sys.stderr)
    return 1
