"""What search, inputs, history and age are worth; writes benchmarks/results/accuracy-full.json.

On origins whose forecasts end before the first headline cutoff. Every finished cell is kept: a run
that was cut off goes on where it was.
"""

import json
from dataclasses import replace
from datetime import date
from time import perf_counter

import polars as pl

from benchmarks import report
from benchmarks.accuracy import methods, pictures, tables, world
from benchmarks.accuracy.lab import Lab, Variant
from benchmarks.accuracy.plan import DEFAULTS, Origins, cells_of
from benchmarks.accuracy.tables import Found
from benchmarks.rows import Row, plain_row
from data.settings import Settings
from models.assembly import features_as_known, training_data

LAST = date(2017, 8, 6)  # the newest origin; its forecasts end on 3 September
KNOWN = date(2017, 9, 10)  # the first headline cutoff: sales up to then judge
TRIALS = 15


def prepared(settings: Settings, plan: Origins) -> Lab:
    """The data of a training at KNOWN, with the features of every origin."""
    bench = methods.prepare(settings, [KNOWN])
    folder = world.snapshot_of(settings, KNOWN)
    wanted = {*plan.weekly, *plan.searched}
    world.build_features(settings, folder, sorted(wanted))
    data = training_data(settings, folder, world.all_sales(settings), bench.plan)
    more = sorted(wanted - set(data.features["cutoff"].unique()))
    rows = [data.features, features_as_known(settings, bench.series, more)]
    until = pl.col("cutoff") <= plan.last
    data = replace(data, features=pl.concat(rows).filter(until))
    return Lab(data, bench.kept, settings.state_dir, settings.seed)


class Progress:
    """Prints what is done and how long the rest will take; `weight` counts fits."""

    def __init__(self, weight: int) -> None:
        self.left, self.all, self.made, self.seconds = weight, weight, 0, 0.0
        self.since = perf_counter()

    def done(self, what: str, weight: int, *, kept: bool) -> None:
        now = perf_counter()
        took, self.since = now - self.since, now
        self.left -= weight
        if not kept:
            self.made, self.seconds = self.made + weight, self.seconds + took
        left = (
            f"about {self.left * self.seconds / self.made / 60:.0f} min left" if self.made else ""
        )
        how = "kept" if kept else f"{took:.0f} s"
        print(f"[{self.all - self.left}/{self.all}] {what}: {how}; {left}", flush=True)


def run(lab: Lab, plan: Origins, trials: int) -> Found:
    """Searches, and measures every cell."""
    searching = trials * len(plan.searched)
    progress = Progress(searching + len(cells_of(plan, DEFAULTS)))
    kept = lab.is_searched(plan.searched, trials)
    search = lab.search(plan.searched, trials)
    progress.done(f"search, {trials} trials", searching, kept=kept)
    tuned = Variant("tuned", json.loads(search["parameters"][0]))
    errors = []
    for cell in cells_of(plan, tuned):
        kept = lab.is_kept(cell)
        errors.append(lab.errors(cell).with_columns(fitted=pl.lit(cell.fitted)))
        what = f"{cell.variant.name}, fitted {cell.fitted}, {len(cell.origins)} origins"
        progress.done(what, 1, kept=kept)
    scales = pl.concat(lab.scales(origin) for origin in plan.weekly).drop("seconds")
    return Found(search, pl.concat(errors), scales, lab.seed)


def rows_of(found: Found, plan: Origins) -> list[Row]:
    """The four tables, then how many series they are of and what they cost."""
    parts = (tables.tuning, tables.ablation, tables.learning, tables.staleness)
    series = found.scales.filter(pl.col("level") == "series")["node"].unique()
    grain = "category" if series.str.contains("|", literal=True).any() else "department"
    cells = found.errors.select("model", "fitted", "cpu_seconds").unique()
    seconds = cells["cpu_seconds"].sum() + found.search["cpu_seconds"][0]
    return [
        *(row for part in parts for row in part(found, plan)),
        plain_row("series", f"store x {grain}", len(series)),
        plain_row("cpu_minutes", "CPU min", seconds / 60),
    ]


def measured(settings: Settings) -> list[Row]:
    """Measures all, draws the pictures of the documents and writes the result file.

    On the series that could be chosen at the oldest origin that is searched.
    """
    plan = Origins(LAST)
    lab = prepared(methods.since(settings, min(plan.searched)), plan)
    found = run(lab, plan, TRIALS)
    rows = rows_of(found, plan)
    pictures.draw(lab, plan, found, rows)
    report.save("accuracy-full", rows)
    return rows
