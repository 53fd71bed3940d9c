"""Runs the demonstration and keeps what it prints, shortened: benchmarks/results/demo.txt.

The README shows that file. Meant for a fresh clone, where every step has something to do.
"""

import subprocess
import sys

from benchmarks import report
from data.settings import ROOT

FIRST = "The main job, as Prefect deployments"
DAYS = 6  # of the forecast that are shown


def shortened(printed: str) -> str:
    """From the main job on, with later weeks in one line and the first days of the forecast."""
    lines = printed[printed.index(FIRST) :].strip().splitlines()
    steps = [n for n, line in enumerate(lines) if line.startswith("  forecast ")]
    after = next(n for n, line in enumerate(lines) if line.startswith("  collect "))
    weeks = f"  {'...':<12}    ({len(steps) - 1} more weeks: ingest, materialize, forecast)"
    lines = [*lines[: steps[0] + 1], weeks, *lines[after:]]
    head = next(n for n, line in enumerate(lines) if line.startswith("┡"))
    foot = next(n for n, line in enumerate(lines) if line.startswith("└"))
    return "\n".join([*lines[: head + 1 + DAYS], *lines[foot:], ""])


def main() -> int:
    """The exit code of the demonstration; its text is kept when it ended well."""
    command, printed = [sys.executable, "demo.py"], []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        for line in demo.stdout:
            print(line, end="", flush=True)
            printed.append(line)
    if demo.returncode == 0:
        (report.RESULTS / "demo.txt").write_text(shortened("".join(printed)))
        report.fill_documents()
    return demo.returncode


if __name__ == "__main__":
    sys.exit(main())
