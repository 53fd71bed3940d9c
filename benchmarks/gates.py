"""Runs the retraining gate on worlds with a known truth; adds its rows to gates.json.

Every world goes through the functions that production uses: deliveries through their contract and
history, features, forecasts, evidence, decision, week by week. `python -m benchmarks.gates` judges
the seeds that no threshold was tuned on, `--tuning` prints what the others measure. What a seed
gave is kept in the state folder until the code that it ran on changes, so that a run that was cut
off goes on.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks import margins, recall, report
from benchmarks.cycle import Run, deliver, series_of, train_model
from benchmarks.margins import CLEAN, REAL_YEAR, Week
from benchmarks.worlds import (
    SHIFTS,
    Base,
    Shift,
    World,
    as_it_was,
    read_base,
    world,
)
from checks.gates import GateDecision
from checks.quality import HISTORY_DAYS
from data.settings import ROOT, Settings, command_settings
from data.warehouse import SQL_DIR, known_at_morning, sales_as_of
from models.forecaster import Forecaster

SEEDS = range(10)  # judged
TUNING_SEEDS = range(100, 110)  # thresholds were set on these
WEEKS = 14  # deliveries after the first cutoff, to the middle of December
WATCHED_WEEKS = 6  # after a shift began; a shift that is not seen by then was missed
POISONED_WEEKS = 3
REAL = -1  # in place of a seed: the year as it was
CODE = (
    *("checks", "models", "feature_repo", "data"),
    *(f"benchmarks/{name}.py" for name in ("cycle", "gates", "margins", "worlds")),
    "benchmarks/trips.sql",
)


def run_seed(settings: Settings, base: Base, model: Forecaster, seed: int) -> Iterator[Week]:
    """The clean world of a seed and, from its start on, every shifted one beside it."""
    first = settings.first_cutoff
    clean = world(base, seed, None, 0, first)
    with tempfile.TemporaryDirectory() as name, duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        con.execute((SQL_DIR / "tables.sql").read_text())
        run = Run(settings, con, model, series_of(settings, clean.sales), Path(name))
        if failed := run.deliver(clean.sales.filter(pl.col("ds") <= first), first)[0]:
            raise AssertionError(f"The clean history of seed {seed} was refused: {failed}")
        issued = [run.issue(sales_as_of(con, run.morning(first)), clean.plan, first)]
        for k in range(1, WEEKS + 1):
            cutoff = first + timedelta(weeks=k)
            monday = cutoff - timedelta(days=6)
            for shift, size in ((s, size) for s in SHIFTS for size in s.sizes):
                if shift.start(seed, size) == monday:
                    made = world(base, seed, shift, size, monday)
                    yield from run_shift(run, made, list(issued), seed, shift, size, monday)
                    run.forget(cutoff - timedelta(weeks=1))
            yield _record(seed, None, 0.0, cutoff, 0, run.week(clean, issued, cutoff))


def run_real(settings: Settings, base: Base) -> Iterator[Week]:
    """What the checks of deliveries measure on the year as it was, by days and by weeks.

    The first eight weeks are the history that the others are compared with.
    """
    sales = as_it_was(base).sales
    days: list[date] = sales["ds"].unique().sort().to_list()
    begin = days[0] + timedelta(days=HISTORY_DAYS)
    for step in (1, 7):
        with tempfile.TemporaryDirectory() as name, duckdb.connect() as con:
            con.execute("SET TimeZone='UTC'")
            con.execute((SQL_DIR / "tables.sql").read_text())
            since, until = days[0], begin - timedelta(days=1)
            while until <= days[-1]:
                rows = sales.filter(pl.col("ds").is_between(since, until))
                if not rows.is_empty():
                    as_of = known_at_morning(until, settings.timezone)
                    taken = deliver(con, settings, Path(name), rows, as_of)
                    outcome = "pass" if taken.publication else "hold"
                    figures = margins.of_delivery(taken.report) if since > days[0] else {}
                    yield Week(REAL, REAL_YEAR, 0.0, str(until), step, outcome, (), {}, figures)
                since, until = until + timedelta(days=1), until + timedelta(days=step)


def run_shift(
    run: Run,
    made: World,
    issued: list[pl.DataFrame],
    seed: int,
    shift: Shift,
    size: float,
    start: date,
) -> Iterator[Week]:
    """A shifted world until its layer saw it; a poisoned one longer: none may be trained on."""
    weeks = POISONED_WEEKS if shift.layer in ("quality", "none") else WATCHED_WEEKS
    for k in range(weeks):
        days = 7 * k + 7
        cutoff = start + timedelta(days=days - 1)
        week = _record(seed, shift, size, cutoff, days, run.week(made, issued, cutoff))
        yield week
        if week.layer == shift.layer and shift.layer in ("drift", "performance"):
            return


def _record(
    seed: int,
    shift: Shift | None,
    size: float,
    cutoff: date,
    days: int,
    found: tuple[GateDecision, dict[str, float]],
) -> Week:
    name, (decision, figures) = shift.name if shift else CLEAN, found
    measured = dict(decision.measurements)
    outcome, reasons = decision.outcome, decision.reasons
    return Week(seed, name, size, str(cutoff), days, outcome, reasons, measured, figures)


# ------------------------------------------------------------------------ processes


@cache
def _base() -> Base:
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        return read_base(con, Settings())


def _folder(settings: Settings) -> Path:
    """Results of this code; other code has another folder."""
    files = sorted(f for name in CODE for f in [ROOT / name, *(ROOT / name).rglob("*")])
    text = b"".join(f.read_bytes() for f in files if f.suffix in (".py", ".yml", ".sql"))
    return settings.state_dir / "worlds" / hashlib.sha256(text).hexdigest()[:12]


def _seed_file(job: tuple[int, Path, Path]) -> Path:
    """Runs a seed unless its file is there; whole or not at all."""
    seed, folder, model = job
    path = folder / f"{seed}.json"
    if not path.exists():
        settings, base = Settings(), _base()
        if seed == REAL:
            weeks = run_real(settings, base)
        else:
            weeks = run_seed(settings, base, Forecaster.load(model), seed)
        part = path.with_suffix(".part")
        part.write_text(json.dumps([asdict(week) for week in weeks]))
        part.rename(path)
    return path


def run_seeds(settings: Settings, seeds: Sequence[int]) -> list[Week]:
    """Every week of every world of the seeds and of the real year, two at a time."""
    folder = _folder(settings)
    model = folder / "model"
    folder.mkdir(parents=True, exist_ok=True)
    train_model(settings, _base(), model)
    os.environ |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    jobs = [(seed, folder, model) for seed in (*seeds, REAL)]
    weeks: list[Week] = []
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for path in pool.imap_unordered(_seed_file, jobs):
            weeks += [Week(**raw) for raw in json.loads(path.read_text())]
            print(
                f"{'real year' if path.stem == str(REAL) else f'seed {path.stem}'} done", flush=True
            )
    return weeks


def main(arguments: Sequence[str]) -> int:
    """Runs the worlds, prints a table and writes the result file; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description="The retraining gate on worlds of known truth.")
    parser.add_argument("--tuning", action="store_true", help="print the seeds to tune on")
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds")
    chosen = parser.parse_args(arguments)
    seeds = (TUNING_SEEDS if chosen.tuning else SEEDS)[: chosen.seeds]
    weeks = run_seeds(command_settings(), seeds)
    rows = recall.rows(weeks)
    if chosen.tuning:
        recall.show(weeks)
        print(margins.table(margins.rows(weeks)))
    else:
        report.save("gates", rows, merge=True)
        report.save("thresholds", margins.rows(weeks))
    table = Table()
    for column in ("metric", "unit", "ours", "target", "met"):
        table.add_column(column)
    for row in rows:
        table.add_row(
            *(
                "" if row[c] is None else str(row[c])
                for c in ("metric", "unit", "ours", "target", "met")
            )
        )
    Console().print(table)
    return int(any(row["met"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
