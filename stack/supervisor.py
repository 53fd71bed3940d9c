"""Starts each process of the stack, watches it and starts it again when it dies."""

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from data.settings import Settings
from serving import deploy
from stack.health import SERVE, call, health, ray_token
from stack.prefect_api import prepare
from stack.processes import (
    NOBODY,
    RAY_LOGS,
    Process,
    Record,
    families,
    find,
    fresh,
    identify,
    kill,
    launch,
    log_of,
    stop,
    tidy,
    write,
)
from stack.programs import (
    API,
    DEPLOYMENTS,
    MLFLOW,
    PREFECT,
    RAY,
    RUNNER,
    StackProblem,
    command_lines,
    environment,
    ray_environment,
)

START_SECONDS = 180.0  # for each process, on a busy machine
RESTARTS, RESTART_WINDOW = 5, 600.0  # a process that dies more often within it is given up


class Supervisor:
    """Runs each process from a thread of its own, which starts it again when it dies."""

    def __init__(self, settings: Settings) -> None:
        # Ray's folder holds Unix sockets, whose paths must stay below 108 characters; Ray opens
        # its own folder to all users, so it is one below.
        ray_dir = tempfile.mkdtemp(prefix="shelfcast-", dir="/tmp")
        fresh(settings.logs_dir / "ray").symlink_to(Path(ray_dir, *RAY_LOGS))
        self.settings, self.began = settings, time.monotonic()
        self.record = Record(identify(os.getpid()), ray_dir)
        self.lock, self.stopping = threading.RLock(), threading.Event()

    def run(self) -> int:
        """Watches until SIGTERM, or until something does not start; then stops everything."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker needs it to stop
        try:
            for name in (RAY, PREFECT, MLFLOW, RUNNER):
                threading.Thread(target=self.keep, args=[name], daemon=True).start()
            while not self.record.problem:
                time.sleep(2.0)
                with self.lock:
                    self.record.family = families(self.record)
                    write(self.settings, self.record)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.stopping.set()
            with self.lock:
                stop(self.settings, self.record)
                tidy(self.settings, self.record)
        return 1

    def keep(self, name: str) -> None:
        """Runs a process as long as the stack is up; gives up when it dies too often."""
        deaths: list[float] = []
        while len(deaths) <= RESTARTS:
            try:
                self.start(name).wait()
            except Exception as problem:
                print(f"{name}: {problem}", flush=True)
                # Ray ends when its parts take more than 30 s, so a dead process has a second try.
                alive = find(self.record.processes.get(name, NOBODY))
                if (alive or deaths) and not self.record.ready and not self.stopping.is_set():
                    self.record.problem = self.record.problem or str(problem)
            if self.stopping.is_set() or self.record.problem:
                return
            with self.lock:
                kill(families(self.record).get(name, []))
            now = time.monotonic()
            deaths = [*(death for death in deaths if now - death < RESTART_WINDOW), now]
            print(f"{name} died {len(deaths)} times of late.", flush=True)
            self.stopping.wait(2.0 ** len(deaths))
        print(f"{name} is not started again.", flush=True)

    def start(self, name: str) -> Process:
        """Starts a process and what belongs to it; returns when it is healthy."""
        first = DEPLOYMENTS not in self.record.steps
        if name == RUNNER or (name == MLFLOW and name not in self.record.steps):
            self.await_health(PREFECT)  # MLflow could start at once, but two cores are busy then
        if name == RUNNER:
            prepare(self.settings)
            flows = self.spawn(DEPLOYMENTS) if first else None
        process = self.spawn(name)
        self.await_health(name, process)
        if name == RAY:
            self.deploy_application(process)
            self.await_health(API, process)
        if name == RUNNER and flows:
            if flows.wait():
                raise StackProblem(self.failure(DEPLOYMENTS, f"it ended with {flows.returncode}"))
            self.step(DEPLOYMENTS)
        return process

    def spawn(self, name: str) -> Process:
        env, ray_dir = environment(self.settings), self.record.ray_dir
        if name == RAY:
            ray_token(self.settings)
            fresh(self.settings.replicas_dir)  # counts begin anew, as those of a process do
            env |= ray_environment(self.settings, ray_dir)
        with self.lock:
            if self.stopping.is_set():
                raise StackProblem("The stack is being stopped.")
            process = launch(self.settings, name, command_lines(self.settings, ray_dir)[name], env)
            self.record.processes[name] = identify(process.pid)
            write(self.settings, self.record)
        return process

    def await_health(self, name: str, process: Process | None = None) -> None:
        since, deadline = time.time(), time.monotonic() + START_SECONDS
        while (state := health(self.settings, name, since)) != "healthy":
            if process and process.poll() is not None:
                raise StackProblem(self.failure(name, f"it ended with {process.returncode}"))
            if state.startswith("DEPLOY_FAILED") or time.monotonic() > deadline:
                raise StackProblem(self.failure(name, state))
            if self.stopping.wait(0.4):
                raise StackProblem("The stack is being stopped.")
        if process:
            self.step(name)

    def deploy_application(self, process: Process) -> None:
        """Puts the forecast API into Ray Serve, with the model that served last."""
        version = deploy.current_version(self.settings)
        config = deploy.application_config(self.settings, version=version)
        token, deadline = ray_token(self.settings), time.monotonic() + START_SECONDS
        url = f"{self.settings.ray_dashboard_url}{SERVE}"
        # One patient request: the first one starts Ray Serve, each further one builds anew.
        while (answer := call("PUT", url, config, token=token, seconds=START_SECONDS))[0] != 200:
            if process.poll() is not None:
                raise StackProblem(self.failure(RAY, f"it ended with {process.returncode}"))
            if time.monotonic() > deadline or self.stopping.wait(1.0):
                raise StackProblem(self.failure(API, f"Ray Serve answered {answer}"))

    def failure(self, name: str, what: str) -> str:
        log = log_of(self.settings, RAY if name == API else name)
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = [line.strip() for line in text.splitlines()]
        last = next(filter(None, reversed(lines)), "nothing")
        return f"{name} did not start: {what}. Its log {log} ends with: {last[:300]}"

    def step(self, name: str) -> None:
        with self.lock:
            self.record.steps.setdefault(name, time.monotonic() - self.began)
            write(self.settings, self.record)
