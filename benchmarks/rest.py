"""Latency and throughput of the forecast API beside a bare uvicorn process."""

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import numpy as np

from benchmarks.rows import Row, ratio_row
from data.settings import ROOT, Settings

ROUNDS, REQUESTS, CLIENTS, SECONDS = 5, 200, 8, 6.0


@contextmanager
def bare(settings: Settings, version: str) -> Iterator[int]:
    """The bare server on a free port, up for as long as the context."""
    with socket.socket() as probe:
        probe.bind((settings.host, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.bare", str(port), str(settings.state_dir), version]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        for _ in range(300):
            try:
                httpx.get(f"http://{settings.host}:{port}/openapi.json", timeout=2)
                break
            except httpx.TransportError:
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(15)


def _body(series: Sequence[dict[str, str]], n: int) -> bytes:
    return json.dumps({"series": [series[n % len(series)]], "horizon": 28}).encode()


def _ask(connection: http.client.HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/v1/forecasts", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {text[:200]!r}")


def latencies(host: str, port: int, series: Sequence[dict[str, str]], requests: int) -> list[float]:
    """Seconds of each of `requests` requests, one after the other, each for another series."""
    connection, seconds = http.client.HTTPConnection(host, port, timeout=15), []
    for n in range(requests):
        body, start = _body(series, n), time.perf_counter()
        _ask(connection, body)
        seconds.append(time.perf_counter() - start)
    connection.close()
    return seconds


def throughput(host: str, port: int, series: Sequence[dict[str, str]]) -> float:
    """Answers a second with CLIENTS clients that each wait for their answer."""
    end, counts = time.perf_counter() + SECONDS, [0] * CLIENTS

    def client(k: int) -> None:
        connection = http.client.HTTPConnection(host, port, timeout=15)
        while time.perf_counter() < end:
            _ask(connection, _body(series, k * 7919 + counts[k]))
            counts[k] += 1
        connection.close()

    threads = [threading.Thread(target=client, args=[k]) for k in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def rest_rows(settings: Settings) -> list[Row]:
    """Ray Serve over bare, in turn, `ROUNDS` times; the medians. The stack has to be up."""
    base = settings.serve_url
    version = httpx.get(f"{base}/v1/model", timeout=15).raise_for_status().json()["version"]
    page = httpx.get(f"{base}/v1/series", params={"limit": 500}, timeout=15).raise_for_status()
    series = page.json()["series"]
    p50: list[list[float]] = [[], []]
    p99: list[list[float]] = [[], []]
    rate: list[list[float]] = [[], []]
    with bare(settings, version) as bare_port:
        ports = (settings.serve_port, bare_port)
        for port in ports:
            latencies(settings.host, port, series, REQUESTS)  # warm
        for _ in range(ROUNDS):
            for side, port in enumerate(ports):
                seconds = latencies(settings.host, port, series, REQUESTS)
                p50[side].append(float(np.quantile(seconds, 0.5)) * 1000)
                p99[side].append(float(np.quantile(seconds, 0.99)) * 1000)
        for _ in range(ROUNDS):
            for side, port in enumerate(ports):
                rate[side].append(throughput(settings.host, port, series))
    return [
        ratio_row("rest_p50_vs_bare", "ms", *p50),
        ratio_row("rest_p99_vs_bare", "ms", *p99, target=4.0),
        ratio_row("rest_throughput_vs_bare", "answers/s", *rate, target=0.4, more_is_better=True),
    ]
