"""What the README shows of the demonstration, and what follows from its seconds for other sizes."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import demonstration, report
from benchmarks.scaling import scaling

WEEK = "  ingest  1 s\n  materialize  1 s\n  forecast  1 s\n"
PRINTED = f"""Starting the stack
{demonstration.FIRST}
  ingest  1 s
  forecast  1 s
{WEEK * 3}  collect  1 s

┏━━━━┓
┃ day┃
┡━━━━┩
{"".join(f"│ {n:>3}│" + chr(10) for n in range(14))}└────┘
Done in 9 s.
"""


def test_weeks_that_are_alike_and_later_days_of_the_forecast_are_left_out() -> None:
    short = demonstration.shortened(PRINTED)
    assert short.startswith(f"{demonstration.FIRST}\n  ingest  1 s\n  forecast  1 s\n  ...  ")
    assert "(3 more weeks: ingest, materialize, forecast)\n  collect  1 s\n" in short
    assert "│   5│\n└────┘\nDone in 9 s.\n" in short


def test_the_text_of_a_run_that_failed_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "fill_documents", lambda: None)
    start = subprocess.Popen
    for code in (1, 0):
        script = f"print('''{PRINTED}'''); raise SystemExit({code})"
        monkeypatch.setattr(
            subprocess,
            "Popen",
            lambda command, script=script, **how: start([command[0], "-c", script], **how),
        )
        assert demonstration.main() == code
        assert (tmp_path / "demo.txt").exists() == (code == 0)
    assert (tmp_path / "demo.txt").read_text() == demonstration.shortened(PRINTED)


def test_a_month_costs_its_days_and_four_whole_trainings() -> None:
    rows = {"demo_series": 1000, "cycle_seconds": 1.8}
    rows |= {"training, always": 900.0, "retrainings, always": 10}
    small, large = scaling(rows, "2 cores, x", ["a" * 40, "b" * 40]).splitlines()[2:4]
    # A day: 2 cores x 1.8 s. A month: 30 days and 4 trainings of 90 s each.
    assert small.split(" | ")[2:5] == ["0.001", "1", "0.13"]
    assert large.split(" | ")[2:5] == ["3", "3", "90"]
