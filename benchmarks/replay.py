"""Times the default replay and repeats it after a kill; writes benchmarks/results/replay.json.

The second run starts in an empty folder, is killed with -9 half-way, and goes on.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from time import perf_counter, process_time, sleep

import numpy as np

from benchmarks import report
from benchmarks.rows import Row, plain_row
from checks import replay_report
from checks.judgement import losses
from checks.policies import policy
from checks.replay import Replay, replay_of
from checks.replay_decisions import walk
from checks.replay_results import Results, results
from data.settings import ROOT, Settings
from models.baselines import SEASONAL_NAIVE

POLICIES = ("never", "every 28 days", "always", "gated")
WEEKS = 12


def replayed(folder: Path, weeks: int) -> tuple[Replay, Results]:
    """The default replay on state of its own."""
    settings = Settings(state_dir=folder)
    policies = [policy(name) for name in POLICIES]
    replay = replay_of(settings, settings.first_cutoff, weeks, policies)
    walk(replay, replay.since - timedelta(days=1), replay.end)
    found = results(replay)
    replay_report.write(replay.folder, found)
    return replay, found


def killed_and_resumed(folder: Path, weeks: int) -> Results:
    """A run that dies by SIGKILL when half of its days are forecast, and the one that goes on."""
    command = [sys.executable, "-m", "benchmarks.replay", str(weeks), str(folder)]
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while len(list(folder.glob("replay/*/issued/*"))) < weeks * 7 // 2:
            if child.poll() is not None:
                raise RuntimeError(f"The replay that is to be killed ended by {child.returncode}.")
            sleep(1)
    finally:
        child.kill()
        child.wait()
    return replayed(folder, weeks)[1]


def policy_rows(replay: Replay, found: Results) -> list[Row]:
    """WRMSSE beside that of seasonal naive on the same days, and what each policy did and cost."""
    cutoffs = [c for c in replay.days if c <= replay.until]
    naive = float(np.mean([losses(replay, c, SEASONAL_NAIVE)["week"][0] for c in cutoffs]))
    rows: list[Row] = []
    for row in found.policies:
        name = str(row["policy"])
        loss = plain_row(f"policy {name}", "WRMSSE a week ahead", row["loss"])
        rows.append({**loss, "theirs": round(naive, 4), "ratio": round(row["loss"] / naive, 3)})
    for metric, unit, key in (
        ("against the least", "ratio", "ratio"),
        ("retrainings", "count", "trainings"),
        ("false retrains", "count", "false_retrains"),
        ("training", "CPU s", "training_seconds"),
        ("moved", "share of a day's forecast", "moved"),
    ):
        rows += [plain_row(f"{metric}, {r['policy']}", unit, r[key]) for r in found.policies]
    return rows


def main(weeks: int = WEEKS) -> None:
    """Runs both, compares their digests, writes the result file and the report."""
    with tempfile.TemporaryDirectory() as name:
        busy, start, worked = os.getloadavg()[0], perf_counter(), process_time()
        replay, found = replayed(Path(name) / "first", weeks)
        minutes, seconds = (perf_counter() - start) / 60, process_time() - worked
        again = killed_and_resumed(Path(name) / "second", weeks)
        rows = [
            plain_row("weeks", "weeks", weeks, target=12),
            plain_row("series", "series", found.series, target=500),
            plain_row("policies", "policies", len(found.policies), target=4),
            plain_row("minutes", "min", minutes, target=10, more_is_better=False),
            plain_row("CPU time", "CPU min", seconds / 60),
            plain_row("load before it began", "processes", busy),
            plain_row("identical_on_rerun", "yes is 1", again.hashes == found.hashes, target=1),
            plain_row("recommendation", found.sentence, 1),
            *policy_rows(replay, found),
        ]
        report.save("replay", rows)
        shutil.copy(replay.folder / "report.html", report.RESULTS / "replay.html")
    for row in rows:
        print(row["metric"], row["ours"], row["unit"], row["met"])


if __name__ == "__main__":
    if len(sys.argv) == 3:
        replayed(Path(sys.argv[2]), int(sys.argv[1]))
    else:
        main(*map(int, sys.argv[1:]))
