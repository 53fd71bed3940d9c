"""Starts, watches and stops the local stack: Prefect, MLflow and Ray Serve on this machine.

`python stack.py up` starts a supervisor (`stack.py run`) that outlives the terminal and starts
a dead process again; `status` shows the processes, `down` stops them, `clean` deletes what they
wrote. Imports are light because Ray runs `bind_to_loopback` in each of its workers.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from data.settings import Settings

ROOT = Path(__file__).resolve().parent
POOL, WRITER, WORKER = "local", "duckdb-writer", "shelfcast"
RAY, API, PREFECT, RUNNER, MLFLOW, DEPLOYMENTS = (
    "Ray",
    "Forecast API",
    "Prefect server",
    "Prefect worker",
    "MLflow server",
    "Deployments",
)
STEPS = (RAY, API, PREFECT, RUNNER, MLFLOW, DEPLOYMENTS)
START_SECONDS = 180.0  # a cold start takes 20 to 50 s on two idle cores
STOP_SECONDS = 15.0
RESTARTS, RESTART_WINDOW = 5, 600.0  # more deaths than this within the window: give up

Identity = tuple[int, float]  # process id and its creation time: ids are used again


@dataclass
class Record:
    """Content of state_dir/stack.json: what `down` needs even when the supervisor is gone."""

    supervisor: Identity
    ray_dir: str
    processes: dict[str, Identity] = field(default_factory=dict)  # by name, the latest start
    family: list[Identity] = field(default_factory=list)  # those and all their descendants
    steps: dict[str, float] = field(default_factory=dict)  # seconds after the start when healthy
    given_up: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def ready(self) -> bool:
        return self.steps.keys() >= set(STEPS)


class StackProblem(RuntimeError):
    """The stack cannot start; the message says why and what to do."""


# ---------------------------------------------------------------- what runs, and with what


def environment(settings: Settings) -> dict[str, str]:
    """Environment of every process that belongs to the stack or talks to it.

    Holds `settings` as SHELFCAST_* variables, so that a child reads exactly these. PREFECT_*,
    MLFLOW_* and RAY_* of the caller are left out: they would lead to another installation.
    """
    state = settings.state_dir.resolve()
    foreign = ("PREFECT_", "MLFLOW_", "RAY_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    for name, value in settings.model_dump(mode="json").items():
        env[f"SHELFCAST_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY"), settings.host, "localhost"]))
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
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
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
    """The command line of each process, by name, the slowest to start first."""
    state, host = settings.state_dir.resolve(), settings.host
    prefect = [sys.executable, "-m", "prefect"]
    ray = f"""{Path(sys.executable).parent}/ray start --head --block --num-cpus 2
        --port {settings.ray_port} --ray-client-server-port {settings.ray_client_port}
        --dashboard-host {host} --dashboard-port {settings.ray_dashboard_port}
        --dashboard-agent-listen-port {settings.ray_agent_port}
        --metrics-export-port {settings.ray_metrics_port} --min-worker-port 0 --max-worker-port 0
        --object-store-memory 100000000 --include-log-monitor false --disable-usage-stats
        --temp-dir"""
    return {
        RAY: [*ray.split(), ray_dir],
        PREFECT: [*prefect, *f"server start --host {host} --port {settings.prefect_port}".split()],
        MLFLOW: [
            *[sys.executable, "-m", "mlflow", "server", "--workers", "1", "--serve-artifacts"],
            *["--host", host, "--port", str(settings.mlflow_port)],
            *["--backend-store-uri", f"sqlite:///{state / 'mlflow.db'}"],
            *["--artifacts-destination", str(state / "mlartifacts")],
        ],
        RUNNER: [
            *prefect,
            *f"worker start --type process --pool {POOL} --name {WORKER} --limit 4".split(),
        ],
    }


def ray_environment(settings: Settings, ray_dir: str) -> dict[str, str]:
    """What Ray needs besides to keep to this machine and out of the way of other clusters."""
    env = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(settings.ray_token_path.resolve()),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the node's address becomes 127.0.0.1
        "RAY_TMPDIR": ray_dir,
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": f"{__name__}.{bind_to_loopback.__name__}",
    }
    if sys.platform != "linux":
        return env  # no HAProxy is shipped for it: requests go through Serve's slower Python proxy
    port = _free_block(settings.host)
    numbered = ["HAPROXY_STATS", "HAPROXY_METRICS", "FALLBACK_PROXY_HTTP", "FALLBACK_PROXY_GRPC"]
    ports = {f"RAY_SERVE_{name}_PORT": port + i for i, name in enumerate(numbered)}
    for i, protocol in enumerate(["HTTP", "GRPC"]):
        ports[f"RAY_SERVE_DIRECT_INGRESS_MIN_{protocol}_PORT"] = port + 4 + 30 * i
        ports[f"RAY_SERVE_DIRECT_INGRESS_MAX_{protocol}_PORT"] = port + 33 + 30 * i
    files = {  # their defaults are shared by all clusters of the machine, and writable by anyone
        "CONFIG_FILE_LOC": f"{ray_dir}/haproxy.cfg",
        "SOCKET_PATH": f"{ray_dir}/admin",
        "METRICS_SOCKET_PATH": f"{ray_dir}/metrics",
        "SERVER_STATE_BASE": ray_dir,
        "SERVER_STATE_FILE": f"{ray_dir}/servers",
    }
    return (
        env
        | {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
        | {name: str(value) for name, value in ports.items()}
        | {f"RAY_SERVE_HAPROXY_{name}": path for name, path in files.items()}
    )


def bind_to_loopback() -> None:
    """Keeps Ray Serve on this machine; Ray runs it at the start of each of its workers.

    Ray Serve 2.60 opens two pages of its HAProxy and the gRPC server of each replica, which
    unpickles what anyone sends, on all interfaces, and has no setting for it.
    """
    import grpc.aio
    from ray.serve._private import haproxy

    server = grpc.aio._server.Server
    add_port = server.add_insecure_port
    server.add_insecure_port = lambda self, address: add_port(
        self, address.replace("[::]", "127.0.0.1")
    )
    template = haproxy.HAPROXY_CONFIG_TEMPLATE
    for everywhere in ("bind *:", "bind :"):
        template = template.replace(everywhere, "bind 127.0.0.1:")
    haproxy.HAPROXY_CONFIG_TEMPLATE = template


def port_problem(settings: Settings) -> str | None:
    """One sentence about the first port that the stack cannot have, or None."""
    seen: dict[int, str] = {}
    for name, about in type(settings).model_fields.items():
        if not name.endswith("_port"):
            continue
        port, variable = getattr(settings, name), f"SHELFCAST_{name.upper()}"
        if port in seen:
            return f"{seen[port]} and {variable} are both {port}; set one of them to another port."
        seen[port] = variable
        if not _is_free(settings.host, port):
            return (
                f"{str(about.description).rstrip('.')}: {port} is taken{_by(port)}. "
                f"Stop that program, or set {variable} to a free port."
            )
    return None


def _is_free(host: str, port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_block(host: str, size: int = 64) -> int:
    """First of `size` free ports in a row, below the ports that systems hand out themselves."""
    for first in random.sample(starts := range(20000, 32000, size), len(starts)):
        if all(_is_free(host, port) for port in range(first, first + size)):
            return first
    raise StackProblem(f"No {size} free ports in a row between 20000 and 32000 for Ray Serve.")


def _by(port: int) -> str:
    with suppress(psutil.Error):  # some systems tell it to the administrator only
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.pid:
                return f" by {psutil.Process(found.pid).name()} (process {found.pid})"
    return " by another program"


# ---------------------------------------------------------------- asking the processes


def call(
    method: str, url: str, body: object = None, *, token: str = "", seconds: float = 5.0
) -> tuple[int, Any]:
    """HTTP status and decoded JSON (or text) of an answer; status 0 when there is none."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with DIRECT.open(request, timeout=seconds) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode(errors="replace")
    except (OSError, HTTPException):
        return 0, None
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def url_of(settings: Settings, name: str) -> str:
    """Where a human finds it; empty for what has no page."""
    pages = {
        RAY: settings.ray_dashboard_url,
        API: f"{settings.serve_url}/docs",
        PREFECT: settings.prefect_ui_url,
        MLFLOW: settings.mlflow_url,
        DEPLOYMENTS: f"{settings.prefect_ui_url}/deployments",
    }
    return pages.get(name, "")


def health(settings: Settings, name: str, since: float = 0.0) -> str:
    """"healthy", or in a few words what is wrong; a worker must have been heard after `since`."""
    if name == RAY:
        return _answers(f"{settings.ray_dashboard_url}/api/version", _token(settings))
    if name == PREFECT:
        return _answers(f"{settings.prefect_api_url}/health")
    if name == MLFLOW:
        return _answers(f"{settings.mlflow_url}/health")
    if name == RUNNER:
        _, workers = call("POST", f"{settings.prefect_api_url}/work_pools/{POOL}/workers/filter", {})
        for worker in workers if isinstance(workers, list) else []:
            heard = datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp()
            if worker["name"] == WORKER and worker["status"] == "ONLINE" and heard > since:
                return "healthy"
        return "not heard of"
    url = f"{settings.ray_dashboard_url}/api/serve/applications/"
    _, serve = call("GET", url, token=_token(settings))
    applications = serve.get("applications", {}) if isinstance(serve, dict) else {}
    for application in applications.values():
        if application["status"] != "RUNNING":
            return f"{application['status']} {application.get('message') or ''}".strip()
        return _answers(f"{settings.serve_url}/-/healthz")
    return "not deployed"


def _answers(url: str, token: str = "") -> str:
    status, _ = call("GET", url, token=token)
    return "healthy" if status == 200 else f"answers {status}" if status else "does not answer"


def _token(settings: Settings) -> str:
    """Ray's token; made on first use, readable by its owner only."""
    with suppress(FileExistsError):
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        with os.fdopen(os.open(settings.ray_token_path, flags, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return settings.ray_token_path.read_text().strip()


def prepare_prefect(settings: Settings) -> None:
    """Makes the work pool and the writer's limit; clears what a killed worker left behind.

    Runs of the pool that still count as running are marked crashed, and held slots are freed:
    no worker is alive when this is called, so nobody else would ever do it.
    """
    api, stale = settings.prefect_api_url, {"any_": ["RUNNING", "PENDING", "CANCELLING"]}
    call("POST", f"{api}/work_pools/", {"name": POOL, "type": "process"})
    call("POST", f"{api}/v2/concurrency_limits/", {"name": WRITER, "limit": 1})
    state = {"type": "CRASHED", "message": "The stack was stopped while this run was going on."}
    runs = {"state": {"type": stale}, "work_queue_name": {"any_": ["default"]}}
    call("POST", f"{api}/flow_runs/bulk_set_state", {"flow_runs": runs, "state": state})
    _, limits = call("POST", f"{api}/v2/concurrency_limits/filter", {})
    for limit in limits if isinstance(limits, list) else []:
        call("PATCH", f"{api}/v2/concurrency_limits/{limit['id']}", {"active_slots": 0})


# ---------------------------------------------------------------- the record and its processes


def read(settings: Settings) -> Record | None:
    """The record of the stack of this state folder; None when there is none."""
    try:
        return Record(**json.loads(_path(settings).read_text()))
    except FileNotFoundError:
        return None


def write(settings: Settings, record: Record) -> None:
    part = _path(settings).with_suffix(".part")
    part.write_text(json.dumps(asdict(record)))
    part.replace(_path(settings))


def _path(settings: Settings) -> Path:
    return settings.state_dir / "stack.json"


def find(identity: Identity) -> psutil.Process | None:
    """The process, if it lives and is the one that was recorded, not a later one of its id."""
    pid, created = identity
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if abs(process.create_time() - created) < 2 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def identify(pid: int) -> Identity:
    return pid, psutil.Process(pid).create_time()


def family(known: Iterable[Identity]) -> list[Identity]:
    """Those of `known` that live, and everything that descends from them or is in their session."""
    members = {process.pid: process for identity in known if (process := find(identity))}
    leaders = set(members)
    table = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            table.append((process, process.ppid(), os.getsid(process.pid)))
    grown = True
    while grown:
        new = [p for p, parent, session in table if {parent, session} & (members.keys() | leaders)]
        ...
    return []
