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
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks import margins, recall, report
from benchmarks.margins import CLEAN, REAL_YEAR, Week
from benchmarks.worlds import (
    SHIFTS,
    THANKSGIVING_WEEK,
    Base,
    Shift,
    World,
    as_it_was,
    read_base,
    world,
)
from checks import intake
from checks.evidence import evidence
from checks.gates import GateDecision, decide_retrain
from checks.intake import Intake
from checks.quality import HISTORY_DAYS
from data.ledger import failed_checks
from data.schema import KEYS
from data.settings import ROOT, Settings
from data.snapshots import choose_series
from data.steps import Steps
from data.warehouse import SQL_DIR, Connection, known_at_morning, sales_as_of
from feature_repo.build import feature_rows
from models import forecaster
from models.assembly import matrix_spec, needed_cutoffs
from models.backtest import TrainingData
from models.baselines import SEASONAL_NAIVE
from models.dataset import target_days
from models.forecaster import Forecaster
from models.training import train

SEEDS = range(10)  # judged
TUNING_SEEDS = range(100, 110)  # thresholds were set on these
MODEL_SEED = 99  # the world that the one model of all worlds is trained on
WEEKS = 14  # deliveries after the first cutoff, to the middle of December
WATCHED_WEEKS = 6  # after a shift began; a shift that is not seen by then was missed
POISONED_WEEKS = 3
ISSUES = 12  # newest forecasts that a decision reads
REAL = -1  # in place of a seed: the year as it was
CODE = (
    *("checks", "models", "feature_repo", "data"),
    *(f"benchmarks/{name}.py" for name in ("gates", "margins", "worlds")),
)


@dataclass(frozen=True)
class Run:
    """One seed's warehouse, with the model and the series of its clean world."""

    settings: Settings
    con: Connection
    model: Forecaster
    series: pl.DataFrame
    folder: Path

    def deliver(self, sales: pl.DataFrame, until: date) -> tuple[list[str], dict[str, float]]:
        """Delivers rows the morning after a day: the checks that refused them, all figures."""
        as_of = self.morning(until)
        taken = deliver(self.con, self.settings, self.folder, sales, as_of)
        failed = failed_checks(self.con, as_of) if taken.publication is None else []
        return failed, margins.of_delivery(taken.report)

    def forget(self, since: date) -> None:
        """Undoes what was delivered after a day's morning."""
        times = {"landing": "known_at", "sales": "known_at", "quarantine": "known_at"}
        times |= {"ingest_log": "as_of", "contract_results": "checked_at"}
        for table, column in times.items():
            self.con.execute(f"DELETE FROM {table} WHERE {column} > $1", [self.morning(since)])

    def morning(self, day: date) -> datetime:
        return known_at_morning(day, self.settings.timezone)

    def issue(self, sales: pl.DataFrame, plan: pl.DataFrame, cutoff: date) -> pl.DataFrame:
        """Forecasts of the model and of seasonal naive from a cutoff."""
        features = features_of(self.settings, sales, plan, self.series, cutoff)
        horizon = self.model.horizon
        ahead = plan.filter(pl.col("ds").is_between(cutoff, cutoff + timedelta(days=horizon)))
        own = self.model.forecast(features, ahead, horizon)
        own = own.with_columns(model=pl.lit(self.model.version))
        return pl.concat([own, seasonal_naive(sales, features, horizon)], how="diagonal_relaxed")

    def week(
        self, made: World, issued: list[pl.DataFrame], cutoff: date
    ) -> tuple[GateDecision, dict[str, float]]:
        """Delivers the week that ends at a cutoff, forecasts from it and asks the gate; with all
        that was measured on the way."""
        days = pl.col("ds").is_between(cutoff - timedelta(days=6), cutoff)
        failed, figures = self.deliver(made.sales.filter(days), cutoff)
        if failed:
            reason = f"refused: {', '.join(failed)}"
            return GateDecision("retrain", "hold", (reason,), {}), figures
        sales = sales_as_of(self.con, self.morning(cutoff))
        plan = made.plan.filter(pl.col("known_at") <= self.morning(cutoff))
        issued.append(self.issue(sales, plan, cutoff))
        seen = evidence(
            self.settings,
            issued=pl.concat(issued[-ISSUES:]),
            sales=sales,
            plan=plan.filter(pl.col("ds") <= cutoff),
            series=self.series,
            model=self.model.manifest,
            until=cutoff,
        )
        unusual = [f"{seen.quality.contract}: {r.check}" for r in seen.quality.failures]
        # Age, cooldown and cap read a clock, no data: they are left out.
        decision = decide_retrain(
            failed_checks=unusual,
            model_age_days=0,
            days_since_training=None,
            recent_trainings=0,
            **seen.measured(),
        )
        backtest = self.model.manifest.backtest["naive ratio"]
        return decision, figures | margins.of_evidence(seen, backtest)


def deliver(
    con: Connection, settings: Settings, folder: Path, sales: pl.DataFrame, as_of: datetime
) -> Intake:
    """Takes the rows as a file that is delivered at a time."""
    path = folder / "delivery.parquet"
    sales.write_parquet(path)
    return intake.take(
        con, settings, source="parquet", path=str(path), since=None, until=None, as_of=as_of
    )


def features_of(
    settings: Settings, sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame, cutoff: date
) -> pl.DataFrame:
    views = feature_rows(sales, plan, series, cutoff=cutoff, snapshot_id="", steps=settings.steps)
    one = views["demand"].join(views["store_demand"], on="store_id")
    return one.with_columns(cutoff=pl.lit(cutoff))


def seasonal_naive(sales: pl.DataFrame, features: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """The same weekday's sales in the week before the cutoff, for every week ahead."""
    weeks = (pl.col("step") - 1) // 7 + 1
    last = sales.select(*KEYS, pl.col("ds").alias("then"), y_hat="y")
    return (
        target_days(features, horizon, Steps())
        .with_columns(then=pl.col("ds") - pl.duration(days=7 * weeks))
        .join(last, on=[*KEYS, "then"], how="left", maintain_order="left")
        .with_columns(pl.col("y_hat").fill_null(0.0), model=pl.lit(SEASONAL_NAIVE))
        .drop("then")
    )


def series_of(settings: Settings, sales: pl.DataFrame) -> pl.DataFrame:
    return choose_series(
        sales,
        settings.first_cutoff,
        min_days=settings.series_min_days,
        active_days=settings.series_active_days,
        steps=settings.steps,
    )


def known_next_morning(sales: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """The sales as versions (schema SALES), each known at 06:00 of the next day."""
    morning = pl.col("ds").cast(pl.Datetime("us")).dt.offset_by("1d6h")
    local = morning.dt.replace_time_zone(timezone).dt.convert_time_zone("UTC")
    return sales.with_columns(known_at=local)


def train_model(settings: Settings, base: Base, folder: Path) -> None:
    """Trains the one model of all worlds, with the default parameters, unless it is there."""
    if (folder / forecaster.DIGESTS).exists():
        return
    cutoff = settings.first_cutoff
    made = world(base, MODEL_SEED, None, 0, cutoff)
    sales = made.sales.filter(pl.col("ds") <= cutoff)
    series = series_of(settings, sales)
    first: date = sales["ds"].min()  # type: ignore[assignment]
    cutoffs = needed_cutoffs(first, cutoff, settings.horizon, settings.steps)
    data = TrainingData(
        cutoff=cutoff,
        horizon=settings.horizon,
        snapshot_id="worlds",
        features=pl.concat(features_of(settings, sales, made.plan, series, c) for c in cutoffs),
        sales=sales.join(series, on=KEYS, how="semi"),
        plan=made.plan.join(series, on=KEYS, how="semi"),
        spec=matrix_spec(settings, series),
        versions=known_next_morning(sales, settings.timezone),
        timezone=settings.timezone,
        stockouts_missing=settings.stockouts_missing,
    )
    journal = folder.with_suffix(".journal")
    training = train(data, storage=journal, name="worlds", trials=1, seconds=600, seed=7)
    manifest = replace(training.manifest, version=folder.name)
    forecaster.save(folder, training.booster_text, manifest)


def start_of(seed: int, shift: Shift, size: float) -> date:
    """The Monday on which a shift begins."""
    if shift.layer == "none":
        return THANKSGIVING_WEEK - timedelta(weeks=int(size))
    return date(2017, 10, 9) + timedelta(weeks=seed % 3)


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
                if start_of(seed, shift, size) == monday:
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
    weeks = run_seeds(Settings(), seeds)
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
