"""What the API does, and others feel, while bodies that mean no good are sent to it."""

import contextlib
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import psutil

from benchmarks.load import Load, capacity, rate_run
from benchmarks.resilience import CLIENTS, REPLICA, at_most, held, members
from benchmarks.rest import SHARE, served
from benchmarks.rows import Row, plain_row, ratio_row
from data.settings import ROOT, Settings

SECONDS, ROUNDS = 10.0, 3
REFUSED = (400, 408, 413, 415, 422)
CUT = [f"{kind}: 0" for kind in ("50 MB", "100,000 keys")]  # closed while a body was still sent


@contextlib.contextmanager
def attacked(settings: Settings, seconds: float, found: Counter[str]) -> Iterator[None]:
    """While benchmarks.attacker is at work; its answers are in `found` afterwards."""
    command = [sys.executable, "-m", "benchmarks.attacker", settings.host]
    command += [str(settings.serve_port), str(seconds)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield
        found.update(json.loads(process.communicate(timeout=seconds + 60)[0]))
    finally:
        process.kill()
        process.wait()


def watched(processes: Sequence[psutil.Process], until: threading.Event) -> list[int]:
    """Bytes that processes hold in memory together, again and again."""
    seen = list[int]()
    while not until.is_set():
        seen.append(held(processes))
        until.wait(0.02)
    return seen


def hostile_rows(
    settings: Settings, *, rounds: int = ROUNDS, seconds: float = SECONDS
) -> list[Row]:
    """What bad bodies cost the replicas in memory, and others in time; the same load, in turn."""
    _, series = served(settings)
    load = Load(settings.host, settings.serve_port, series)
    rate = SHARE * capacity(load, CLIENTS, seconds / 2)
    found = [psutil.Process(pid) for pid in members(settings, REPLICA)]
    answered: Counter[str] = Counter()
    calm, troubled, failed = list[float](), list[float](), 0
    peaks, done = list[int](), threading.Event()
    before = held(found)
    watch = threading.Thread(target=lambda: peaks.extend(watched(found, done)))
    watch.start()
    try:
        for _ in range(rounds):
            calm.append(rate_run(load, rate, seconds).quantile(0.99))
            with attacked(settings, seconds, answered):
                answers = rate_run(load, rate, seconds)
            troubled.append(answers.quantile(0.99))
            failed += len(answers.statuses) - answers.good
    finally:
        done.set()
        watch.join()
    print(dict(answered), file=sys.stderr)
    refused = sum(answered[kind] for kind in CUT)
    refused += sum(n for k, n in answered.items() if int(k.rpartition(" ")[2]) in REFUSED)
    return [
        plain_row("hostile_requests", "requests", answered.total()),
        at_most("hostile_not_refused", "requests", answered.total() - refused, 0),
        at_most("hostile_others_failed", "requests", failed, 0),
        at_most("hostile_memory_growth", "MB", (max(peaks) - before) / 1e6, 100),
        ratio_row("hostile_p99_vs_calm", "ms", troubled, calm, target=2.0),
    ]
