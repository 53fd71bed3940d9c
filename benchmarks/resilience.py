"""The API under load while something happens: swaps, killed replicas, too much, a long time."""

import contextlib
import dataclasses
import os
import shutil
import signal
import time
from collections.abc import Iterator

import httpx
import psutil

from benchmarks.load import Answers, Load, capacity, during, rate_run
from benchmarks.rest import served
from benchmarks.rows import Row, plain_row, ratio_row
from data.settings import Settings
from models.forecaster import Forecaster, save
from serving import deploy
from stack.processes import families, read

CLIENTS = 8
CALM_SECONDS = 10.0
BACK_SECONDS = 120.0  # a replica that takes longer does not come back


def at_most(metric: str, unit: str, value: float, target: float) -> Row:
    """A metric that is to be small."""
    return plain_row(metric, unit, value) | {"target": target, "met": value <= target}


@contextlib.contextmanager
def twin(settings: Settings, version: str) -> Iterator[str]:
    """A copy of the served version under another name, gone when the context ends."""
    folder = settings.champions_dir / version
    name = f"{version}-twin"
    manifest = dataclasses.replace(Forecaster.load(folder).manifest, version=name)
    made = save(settings.champions_dir / name, (folder / "booster.txt").read_text(), manifest)
    try:
        yield name
    finally:
        deploy.swap(settings, version)
        shutil.rmtree(made)


def swap_rows(settings: Settings, *, swaps: int = 20, requests: int = 1000) -> list[Row]:
    """Requests that failed, and how long others took, while the model was exchanged under load.

    After each exchange at least so many `requests` are sent. Times are those of requests that an
    exchange overlapped, against as many clients before the first one.
    """
    version, series = served(settings)
    load = Load(settings.host, settings.serve_port, series)
    spans: list[tuple[float, float]] = []
    calm = during(load, CLIENTS, lambda: time.sleep(CALM_SECONDS))
    with twin(settings, version) as other:

        def exchange() -> None:
            for k in range(swaps):
                start = time.perf_counter()
                deploy.swap(settings, (other, version)[k % 2])
                spans.append((start, time.perf_counter()))
                enough = load.sent + requests
                while load.sent < enough:
                    time.sleep(0.1)

        answers = during(load, CLIENTS, exchange)
    if answers.versions.keys() != {version, other}:
        raise RuntimeError(f"Not both versions answered: {answers.versions}.")
    p99 = answers.within(spans).quantile(0.99)
    return [
        plain_row("swap_requests", "requests", len(answers.statuses)),
        at_most("swap_failed_requests", "requests", len(answers.statuses) - answers.good, 0),
        ratio_row("swap_p99_vs_calm", "ms", [p99], [calm.quantile(0.99)], target=2.0),
    ]


def replica_pids(settings: Settings) -> list[int]:
    """Processes of the replicas that Ray says are running."""
    token = settings.ray_token_path.read_text().strip()
    url = f"{settings.ray_dashboard_url}/api/serve/applications/"
    # Ray's dashboard is slow to answer while a replica starts on a busy machine.
    answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    found = answer.raise_for_status().json()["applications"][deploy.APPLICATION]
    replicas = found["deployments"][deploy.DEPLOYMENT]["replicas"]
    return [int(r["pid"]) for r in replicas if r["state"] == "RUNNING" and r.get("pid")]


def kill_rows(settings: Settings, *, kills: int = 5) -> list[Row]:
    """Requests that failed for a client that tries again, while its only replica was killed."""
    _, series = served(settings)
    gaps: list[float] = []

    def kill() -> None:
        for _ in range(kills):
            (pid, *_) = replica_pids(settings)
            os.kill(pid, signal.SIGKILL)
            start = time.monotonic()
            while pid in (pids := replica_pids(settings)) or not pids:
                if time.monotonic() - start > BACK_SECONDS:
                    raise TimeoutError(f"No replica took the place of process {pid}.")
                time.sleep(0.2)
            gaps.append(time.monotonic() - start)
            time.sleep(2)

    load = Load(settings.host, settings.serve_port, series, retries=8)
    answers = during(load, CLIENTS, kill)
    failed = len(answers.statuses) - answers.good
    return [
        plain_row("replica_kill_requests", "requests", len(answers.statuses)),
        at_most("replica_kill_failed_requests", "requests", failed, 0),
        at_most("replica_back_seconds", "s", max(gaps), 30),
    ]


def members(settings: Settings, title: str) -> list[int]:
    """The processes of this stack whose names begin so."""
    record, found = read(settings), list[int]()
    for family in families(record).values() if record else ():
        for pid, _ in family:
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).name().startswith(title):
                    found.append(pid)
    return found


def member(settings: Settings, title: str) -> int:
    """The first of `members`. Raises LookupError when there is none."""
    for pid in members(settings, title):
        return pid
    raise LookupError(f"No process of the stack is called {title}.")


def part_rows(settings: Settings, part: str, title: str, *, kills: int = 3) -> list[Row]:
    """Requests that failed while a part of Ray Serve was killed, for clients that try again."""
    _, series = served(settings)
    gaps: list[float] = []

    def kill() -> None:
        for _ in range(kills):
            killed, before = member(settings, title), set(members(settings, title))
            os.kill(killed, signal.SIGKILL)
            start = time.monotonic()
            # One that drains beside the new one was there before: it takes no place.
            while before.issuperset(members(settings, title)):
                if time.monotonic() - start > BACK_SECONDS:
                    raise TimeoutError(f"Nothing took the place of {title}, process {killed}.")
                time.sleep(0.2)
            gaps.append(time.monotonic() - start)
            time.sleep(2)

    load = Load(settings.host, settings.serve_port, series, retries=8)
    answers = during(load, CLIENTS, kill)
    failed = len(answers.statuses) - answers.good
    return [
        plain_row(f"{part}_kill_requests", "requests", len(answers.statuses)),
        at_most(f"{part}_kill_failed_requests", "requests", failed, 0),
        plain_row(f"{part}_back_seconds", "s", max(gaps)),
    ]


def overload_rows(settings: Settings, *, seconds: float = 10) -> list[Row]:
    """Ten times the capacity: how many are answered, and how soon all are again."""
    _, series = served(settings)
    load = Load(settings.host, settings.serve_port, series)
    able = capacity(load, CLIENTS, seconds / 2)
    answers = rate_run(load, 10 * able, seconds)
    start = time.monotonic()
    while True:
        after = rate_run(load, able / 4, 0.5)
        if after.good == len(after.statuses) or time.monotonic() - start > 60:
            break
    back = time.monotonic() - start
    refused = answers.count(lambda s: s == 429)
    share = answers.good / answers.elapsed / able
    return [
        plain_row("overload_requests", "requests", len(answers.statuses)),
        plain_row("overload_refused", "requests", refused),
        at_most("overload_failed", "requests", answers.failed, 0),
        plain_row("overload_goodput", "of capacity", share, target=0.8),
        at_most("overload_recovery", "s", back, 5),
    ]


def soak_rows(settings: Settings, *, minutes: float = 30) -> list[Row]:
    """Four fifths of the capacity for a long time: failures, and what the replica grows by."""
    _, series = served(settings)
    load = Load(settings.host, settings.serve_port, series)
    able = capacity(load, CLIENTS, 5)
    (pid, *_) = replica_pids(settings)
    replica, memory, files, failed, total = psutil.Process(pid), [], [], 0, 0
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        answers: Answers = rate_run(load, 0.8 * able, 15)
        failed, total = failed + answers.failed, total + len(answers.statuses)
        memory.append(replica.memory_info().rss / 2**20)
        files.append(replica.num_fds())
    settled = memory[len(memory) // 5 :]  # caches fill in the first fifth
    grown = (settled[-1] / settled[0] - 1) * 10 / (minutes * 0.8)
    return [
        plain_row("soak_requests", "requests", total),
        at_most("soak_failed_requests", "requests", failed, 0),
        at_most("soak_memory_growth", "share in 10 min", grown, 0.01),
        at_most("soak_files_growth", "files", files[-1] - files[len(files) // 5], 5),
    ]
