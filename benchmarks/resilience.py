"""The API under load while something happens: swaps, killed replicas, too much, a long time."""

import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import psutil

from benchmarks.load import Answers, Load, capacity, during, rate_run
from benchmarks.rest import WARM_SECONDS, served
from benchmarks.rows import Row, plain_row, ratio_row
from data.settings import Settings
from models.forecaster import Forecaster, save
from serving import deploy
from stack.processes import families, read

CLIENTS = 8
CALM_SECONDS = 10.0
BACK_SECONDS = 120.0  # what takes longer does not come back
REPLICA = "ray::ServeReplica"


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


def members(settings: Settings, title: str) -> list[int]:
    """The processes of this stack whose names begin so."""
    record, found = read(settings), list[int]()
    for family in families(record).values() if record else ():
        for pid, _ in family:
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).name().startswith(title):
                    found.append(pid)
    return found


@contextlib.contextmanager
def replicas(settings: Settings, count: int) -> Iterator[None]:
    """So many replicas answer, and as many as the settings say when the context ends."""
    _scale(settings.model_copy(update={"replicas": count}))
    try:
        yield
    finally:
        _scale(settings)


def _scale(settings: Settings) -> None:
    version = deploy.current_version(settings)
    deploy.put(settings, deploy.application_config(settings, version=version))
    wait_until(lambda: answering(settings) == settings.replicas, f"{settings.replicas} replicas")


def answering(settings: Settings) -> int:
    """How many replicas the API says have loaded the model; 0 when it does not answer."""
    return len((deploy.served_model(settings) or {}).get("versions", ()))


def wait_until(happened: Callable[[], bool], what: str) -> float:
    """Seconds until something has happened. Raises TimeoutError after BACK_SECONDS."""
    start = time.monotonic()
    while not happened():
        if time.monotonic() - start > BACK_SECONDS:
            raise TimeoutError(f"In vain waited for {what} for {BACK_SECONDS:g} s.")
        time.sleep(0.2)
    return time.monotonic() - start


def kill_rows(
    settings: Settings, part: str, title: str, *, kills: int, failed: float | None = None
) -> list[Row]:
    """Requests that failed while a part of Ray Serve was killed under load, and how soon it's back.

    `failed` is the largest share for clients that ask once; who tries again is always answered.
    It is back when another process has taken the place of the one that was killed and as many
    replicas as before have loaded the model.
    """
    _, series = served(settings)
    gaps: list[float] = []

    def kill() -> None:
        count = answering(settings)
        for _ in range(kills):
            before = members(settings, title)
            os.kill(before[0], signal.SIGKILL)

            def whole(before: Sequence[int] = before) -> bool:
                # One that drains beside the new one was there before: it takes no place.
                new = not set(before).issuperset(members(settings, title))
                return new and answering(settings) == count

            gaps.append(wait_until(whole, f"{title} in place of process {before[0]}"))
            time.sleep(2)

    load = Load(settings.host, settings.serve_port, series, retries=8)
    answers = during(load, CLIENTS, kill)
    sent = len(answers.statuses)
    share = answers.retried / sent
    return [
        plain_row(f"{part}_kills", "kills", kills),
        plain_row(f"{part}_kill_requests", "requests", sent),
        plain_row(f"{part}_kill_failed_share", "of requests", share, failed, more_is_better=False),
        at_most(f"{part}_kill_failed_requests", "requests", sent - answers.good, 0),
        at_most(f"{part}_back_seconds", "s", max(gaps), 30),
    ]


def overload_rows(settings: Settings, *, seconds: float = 10, rounds: int = 5) -> list[Row]:
    """Ten times the capacity, again and again: how many are answered, and how soon all are again.

    The capacity that answers are held against is the mean of that before and that after: what one
    run of clients that wait is answered differs by as much as is to be measured.
    """
    _, series = served(settings)
    load = Load(settings.host, settings.serve_port, series)
    capacity(load, CLIENTS, WARM_SECONDS)
    able = [capacity(load, CLIENTS, seconds / 2)]
    answered, back, found = list[float](), list[float](), Answers()
    for _ in range(rounds):
        answers = rate_run(load, 10 * able[-1], seconds)
        found.statuses += answers.statuses
        answered.append(answers.good / answers.elapsed)
        start = time.monotonic()
        while True:
            after = rate_run(load, able[-1] / 4, 0.5)
            if after.good == len(after.statuses) or time.monotonic() - start > 60:
                break
        back.append(time.monotonic() - start)
        able.append(capacity(load, CLIENTS, seconds / 2))
    around = [(before + after) / 2 for before, after in pairwise(able)]
    print(f"answered {answered}, capacity {able}", file=sys.stderr)
    name, unit = "overload_goodput", "answers/s"
    return [
        plain_row("overload_requests", "requests", len(found.statuses)),
        plain_row("overload_refused", "requests", found.count(lambda s: s == 429)),
        at_most("overload_failed", "requests", found.failed, 0),
        ratio_row(name, unit, answered, around, target=0.8, more_is_better=True),
        at_most("overload_recovery", "s", max(back), 5),
    ]


def held(processes: Sequence[psutil.Process]) -> int:
    """Bytes that processes hold in memory now."""
    return sum(process.memory_info().rss for process in processes)


def soak_rows(settings: Settings, *, minutes: float = 30, step: float = 15) -> list[Row]:
    """Four fifths of the capacity for a long time: failures, and what the replicas grow by.

    `step` is how many seconds lie between two looks at the replicas.
    """
    _, series = served(settings)
    load = Load(settings.host, settings.serve_port, series)
    able = capacity(load, CLIENTS, step / 3)
    found = [psutil.Process(pid) for pid in members(settings, REPLICA)]
    memory, files, failed, total = list[float](), list[int](), 0, 0
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        answers: Answers = rate_run(load, 0.8 * able, step)
        failed, total = failed + answers.failed, total + len(answers.statuses)
        memory.append(held(found) / 2**20)
        files.append(sum(replica.num_fds() for replica in found))
    settled = memory[len(memory) // 5 :]  # caches fill in the first fifth
    grown = (settled[-1] / settled[0] - 1) * 10 / (minutes * 0.8)
    return [
        plain_row("soak_requests", "requests", total),
        at_most("soak_failed_requests", "requests", failed, 0),
        at_most("soak_memory_growth", "share in 10 min", grown, 0.01),
        at_most("soak_files_growth", "files", files[-1] - files[len(files) // 5], 5),
    ]
