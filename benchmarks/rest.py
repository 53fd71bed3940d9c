"""Latency and throughput of the forecast API beside a bare uvicorn process and MLflow's server."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from benchmarks.load import Load, capacity, rate_run
from benchmarks.rows import Row, ratio_row
from data.settings import ROOT, Settings
from models.dataset import INPUTS

ROUNDS, CLIENTS, SECONDS, WARM_SECONDS = 5, 8, 6.0, 3.0
SHARE = 0.3  # of the slower side's capacity: the rate at which latency is measured


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: list[str], url: str, seconds: float = 90) -> Iterator[None]:
    """A server, up for as long as the context."""
    # MLflow starts uvicorn by its name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                httpx.get(url, timeout=2, trust_env=False)
                break
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def bare(settings: Settings, version: str) -> Iterator[int]:
    """The bare server on a free port."""
    port = free_port(settings.host)
    command = [sys.executable, "-m", "benchmarks.bare", str(port), str(settings.state_dir), version]
    with server(command, f"http://{settings.host}:{port}/openapi.json"):
        yield port


@contextmanager
def mlflow_serve(settings: Settings, model: Path) -> Iterator[int]:
    """`mlflow models serve` of a logged model on a free port."""
    port = free_port(settings.host)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--host", settings.host, "--port", str(port), "--model-uri", str(model)]
    with server(command, f"http://{settings.host}:{port}/ping", seconds=180):
        yield port


def served(settings: Settings) -> tuple[str, list[dict[str, str]]]:
    """The served version and 500 series that can be asked for. The stack has to be up."""
    base = settings.serve_url
    version = httpx.get(f"{base}/v1/model", timeout=15).raise_for_status().json()["version"]
    page = httpx.get(f"{base}/v1/series", params={"limit": 500}, timeout=15).raise_for_status()
    return str(version), page.json()["series"]


def rest_rows(
    settings: Settings,
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    most_p99: float = 2.0,
    least_throughput: float = 0.85,
) -> list[Row]:
    """Ray Serve over bare, in turn; the medians. Both are warm; no answer is kept by either."""
    version, series = served(settings)
    p50: list[list[float]] = [[], []]
    p99: list[list[float]] = [[], []]
    rates: list[list[float]] = [[], []]
    with bare(settings, version) as bare_port:
        loads = [Load(settings.host, port, series) for port in (settings.serve_port, bare_port)]
        for load in loads:
            capacity(load, CLIENTS, WARM_SECONDS)
        for _ in range(rounds):
            for side, load in enumerate(loads):
                rates[side].append(capacity(load, CLIENTS, seconds))
        rate = SHARE * min(float(np.median(side)) for side in rates)
        for _ in range(rounds):
            for side, load in enumerate(loads):
                answers = rate_run(load, rate, seconds)
                if answers.good < len(answers.statuses):
                    raise RuntimeError(f"Not all were answered at {rate:.0f}/s.")
                p50[side].append(answers.quantile(0.5))
                p99[side].append(answers.quantile(0.99))
    more = {"more_is_better": True}
    return [
        ratio_row("rest_p50_vs_bare", "ms", *p50),
        ratio_row("rest_p99_vs_bare", "ms", *p99, target=most_p99),
        ratio_row("rest_throughput_vs_bare", "answers/s", *rates, target=least_throughput, **more),
    ]


def mlflow_rows(settings: Settings, model: Path, *, seconds: float = SECONDS) -> list[Row]:
    """Throughput of whole requests against that of the same booster behind MLflow's server.

    MLflow's gets the matrix of 28 days with each request: it has no features, plan or quantiles.
    """
    _, series = served(settings)
    ours, theirs = [], []
    row = [1.0] * len(INPUTS)
    body = json.dumps({"dataframe_split": {"columns": INPUTS, "data": [row] * 28}}).encode()
    load = Load(settings.host, settings.serve_port, series)
    with mlflow_serve(settings, model) as port:
        _invoke(settings.host, port, body, WARM_SECONDS)
        capacity(load, 1, WARM_SECONDS)
        for _ in range(ROUNDS):
            ours.append(capacity(load, 1, seconds))
            theirs.append(_invoke(settings.host, port, body, seconds))
    name = "rest_throughput_vs_mlflow_serve"
    return [ratio_row(name, "answers/s", ours, theirs, target=2.0, more_is_better=True)]


def _invoke(host: str, port: int, body: bytes, seconds: float) -> float:
    """Answers a second of one client of MLflow's server."""
    connection, n = http.client.HTTPConnection(host, port, timeout=30), 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"MLflow's server: {answer.status} {text[:300]!r}")
        n += 1
    connection.close()
    return n / seconds


def logged_model(settings: Settings, version: str, folder: Path) -> Path:
    """The served booster as an MLflow model of its own, in a folder."""
    import lightgbm
    import mlflow

    booster = lightgbm.Booster(model_file=str(settings.champions_dir / version / "booster.txt"))
    path = folder / "mlflow-model"
    mlflow.lightgbm.save_model(booster, str(path))
    return path
