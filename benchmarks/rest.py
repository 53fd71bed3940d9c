"""Latency and throughput of the forecast API beside a bare uvicorn process and MLflow's server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import mlflow
import numpy as np
import polars as pl

from benchmarks import pyfunc
from benchmarks.load import Load, capacity, rate_run
from benchmarks.rows import Row, ratio_row
from data.settings import ROOT, Settings
from models.dataset import INPUTS
from serving.client import Client

ROUNDS, CLIENTS, SECONDS, WARM_SECONDS = 5, 8, 4.0, 3.0
SHARE = 0.3  # of the slower side's capacity: the rate at which latency is measured
INVOCATIONS = "/invocations"

Pairs = tuple[list[float], list[float]]  # ours and the alternative's


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
    """The served version and 500 series that it has learnt. The stack has to be up."""
    with Client(settings.serve_url) as api:
        listed = api.series()
    learnt = listed.filter(~pl.col("cold")).select("store_id", "item_id").head(500).to_dicts()
    found = httpx.get(f"{settings.serve_url}/v1/model", timeout=15).raise_for_status().json()
    return str(found["version"]), learnt


def rest_rows(settings: Settings, *, rounds: int = ROUNDS, seconds: float = SECONDS) -> list[Row]:
    """Ray Serve over bare uvicorn."""
    version, series = served(settings)
    ours = Load(settings.host, settings.serve_port, series)
    with bare(settings, version) as port:
        theirs = Load(settings.host, port, series)
        rates = capacities(ours, theirs, rounds, seconds)
        p50, p99 = latencies(ours, theirs, rates, rounds, seconds)
    name = "rest_throughput_vs_bare"
    return [
        ratio_row("rest_p50_vs_bare", "ms", *p50),
        ratio_row("rest_p99_vs_bare", "ms", *p99, target=2.0),
        ratio_row(name, "answers/s", *rates, target=0.85, more_is_better=True),
    ]


def mlflow_rows(
    settings: Settings, folder: Path, *, rounds: int = ROUNDS, seconds: float = SECONDS
) -> list[Row]:
    """Ray Serve over `mlflow models serve` of a model that gives the same answer."""
    version, series = served(settings)
    ours = Load(settings.host, settings.serve_port, series)
    with mlflow_serve(settings, pyfunc.logged(settings, version, folder)) as port:
        theirs = Load(settings.host, port, series, path=INVOCATIONS, body=_record)
        rates = capacities(ours, theirs, rounds, seconds)
        p50, p99 = latencies(ours, theirs, rates, rounds, seconds)
    name = "rest_throughput_vs_mlflow_serve"
    return [
        ratio_row("rest_p50_vs_mlflow_serve", "ms", *p50),
        ratio_row("rest_p99_vs_mlflow_serve", "ms", *p99),
        ratio_row(name, "answers/s", *rates, target=2.0, more_is_better=True),
    ]


def ready_matrix_rows(
    settings: Settings, folder: Path, *, rounds: int = ROUNDS, seconds: float = SECONDS
) -> list[Row]:
    """Whole requests over MLflow's server of the booster alone, sent its matrix of 28 days.

    Theirs reads no features and no plan and gives no quantiles.
    """
    version, series = served(settings)
    ours = Load(settings.host, settings.serve_port, series)
    with mlflow_serve(settings, _logged_booster(settings, version, folder)) as port:
        theirs = Load(settings.host, port, series, path=INVOCATIONS, body=_ready_matrix)
        rates = capacities(ours, theirs, rounds, seconds)
    name = "rest_throughput_vs_mlflow_serve_ready_matrix"
    return [ratio_row(name, "answers/s", *rates, more_is_better=True)]


def capacities(ours: Load, theirs: Load, rounds: int, seconds: float) -> Pairs:
    """Answers a second of both, in turn, by clients that wait for theirs; both are warm."""
    rates: Pairs = ([], [])
    for load in (ours, theirs):
        capacity(load, CLIENTS, WARM_SECONDS)
    for _ in range(rounds):
        for side, load in zip(rates, (ours, theirs), strict=True):
            side.append(capacity(load, CLIENTS, seconds))
    return rates


def latencies(
    ours: Load, theirs: Load, rates: Pairs, rounds: int, seconds: float
) -> tuple[Pairs, Pairs]:
    """Milliseconds (p50, p99) of both, in turn, at the same fixed rate, which both can answer.

    Raises RuntimeError when a request is not answered.
    """
    rate = SHARE * min(float(np.median(side)) for side in rates)
    p50: Pairs = ([], [])
    p99: Pairs = ([], [])
    for _ in range(rounds):
        for side, load in enumerate((ours, theirs)):
            answers = rate_run(load, rate, seconds)
            if answers.good < len(answers.statuses):
                raise RuntimeError(f"Not all were answered at {rate:.0f}/s.")
            p50[side].append(answers.quantile(0.5))
            p99[side].append(answers.quantile(0.99))
    return p50, p99


def _record(series: dict[str, str]) -> dict[str, Any]:
    """The body of MLflow's POST /invocations that asks for the same as `forecast_of`."""
    return {"dataframe_records": [{**series, "horizon": 28}]}


def _ready_matrix(_: dict[str, str]) -> dict[str, Any]:
    """The body for the booster alone: 28 rows of its inputs, the same for every series."""
    return {"dataframe_split": {"columns": INPUTS, "data": [[1.0] * len(INPUTS)] * 28}}


def _logged_booster(settings: Settings, version: str, folder: Path) -> Path:
    """The served booster as an MLflow model of its own, in a folder."""
    booster = lightgbm.Booster(model_file=str(settings.champions_dir / version / "booster.txt"))
    path = folder / "booster"
    mlflow.lightgbm.save_model(booster, str(path))
    return path
