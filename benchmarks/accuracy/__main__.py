"""Accuracy against every baseline on the same rows; writes benchmarks/results/accuracy.json.

Keeps its own state and every forecast in it: a run that was cut off goes on where it was.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.accuracy import beyond, cells, full, judge, m5, methods, other, uncertain
from benchmarks.accuracy.methods import AUTO_ETS, OURS, Bench
from benchmarks.accuracy.point import bias_rows, point_rows, row
from benchmarks.rows import Row, plain_row
from data.schema import KEYS
from data.settings import Settings, command_settings
from models.metrics import LEVELS, aggregate, level_scales

HEADLINE = (date(2017, 9, 10), date(2017, 10, 8), date(2017, 11, 5), date(2017, 12, 3))


def scored(bench: Bench) -> pl.DataFrame:
    """Forecasts of every series, method and origin that is judged, with what was sold."""
    frames = []
    for origin in bench.origins:
        frames += [methods.ours(bench, origin), methods.baselines(bench, origin)]
    frames += [methods.mlforecast(bench, cutoff) for cutoff in bench.cutoffs]
    earlier = set(bench.calibration_origins) - set(bench.origins)
    frames += [methods.baselines(bench, origin) for origin in sorted(earlier)]
    frames.append(methods.oracle(bench))
    rows = pl.concat(frames, how="diagonal_relaxed")
    return rows.join(bench.actuals.select(*KEYS, "cutoff", "ds", "y"), on=[*KEYS, "cutoff", "ds"])


def node_table(bench: Bench, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sums of errors and scales of every judged origin, method, level and node."""
    sums, scales = [], []
    for origin in bench.origins:
        here = rows.filter(pl.col("cutoff") == origin)
        for (_,), part in here.group_by("model", maintain_order=True):
            sums.append(judge.errors(part))
        scales.append(judge.scale_table(level_scales(bench.history(origin)), origin))
        sums.append(_auto_ets_sums(bench, origin, here))
    return pl.concat(sums), pl.concat(scales)


def _auto_ets_sums(bench: Bench, origin: date, here: pl.DataFrame) -> pl.DataFrame:
    """AutoETS of the nodes of every level but single series: those take minutes an origin."""
    levels = [level for level in bench.levels if level != "series"]
    forecasts = pl.concat(methods.auto_ets(bench, origin, level) for level in levels)
    one = here.filter((pl.col("model") == OURS) & pl.col("y").is_not_null())
    actual = pl.concat(
        aggregate(one, LEVELS[level], ["y"]).with_columns(level=pl.lit(level)) for level in levels
    )
    nodes = actual.join(forecasts, on=["level", "node", "ds"])
    return judge.node_sums(nodes, AUTO_ETS, origin)


def measure(bench: Bench) -> tuple[list[Row], list[dict[str, Any]]]:
    """Every row of a data set, and the cells of accuracy-cells.json."""
    rows = scored(bench)
    sums, scales = node_table(bench, rows)
    mine = uncertain.judged(bench, rows)
    result = [
        *point_rows(bench, sums, scales),
        *bias_rows(bench, rows),
        *uncertain.uncertainty_rows(bench, rows, mine),
        *beyond.beyond_rows(bench, rows),
    ]
    headline = pl.col("cutoff").is_in(list(bench.cutoffs))
    own = judge.scaled(sums.filter(headline & (pl.col("model") == OURS)), scales, ["lead_week"])
    return result, [*cells.of_series(mine, scales), *cells.of_levels(own)]


def time_rows(bench: Bench, start: float) -> list[Row]:
    """What a run cost that found nothing on disk: all of it, and a training beside mlforecast's."""

    ours, theirs = (
        mean(float(method(bench, cutoff)["seconds"][0]) for cutoff in bench.cutoffs)
        for method in (methods.ours, methods.mlforecast)
    )
    unit = "s, training and 28 days"
    return [
        plain_row(
            "core_table_minutes", "min", (perf_counter() - start) / 60, 25, more_is_better=False
        ),
        row("training_seconds_vs_mlforecast", unit, ours, theirs=theirs),
    ]


def settings_of(state: Path) -> Settings:
    """The Complete Journey by category: series of 45 selling days by the first headline cutoff."""
    return Settings(
        state_dir=state,
        grain="category",
        series_min_days=45,
        series_active_days=56,
        first_cutoff=HEADLINE[0],
        _env_file=None,
    )


def show(rows: Sequence[Mapping[str, object]]) -> None:
    shown = [c for c in report.COLUMNS if any(line.get(c) is not None for line in rows)]
    table = Table()
    for column in shown:
        table.add_column(column, no_wrap=True)
    for line in rows:
        values = (line.get(column) for column in shown)
        table.add_row(*("" if v is None else str(v) for v in values))
    Console(width=160).print(table)


def core(settings: Settings, cutoffs: Sequence[date]) -> tuple[list[Row], list[dict[str, Any]]]:
    """The rows of the default data, with what they cost where nothing was on disk."""
    start, fresh = perf_counter(), not settings.warehouse_path.exists()
    bench = methods.prepare(settings, cutoffs)
    rows, parts = measure(bench)
    return [*rows, *(time_rows(bench, start) if fresh else [])], parts


def main(arguments: list[str]) -> int:
    """Measures and prints; the headline cutoffs are written down. 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cutoffs", default="", help="other cutoffs, by commas; not written down")
    parser.add_argument("--m5", type=Path, help="folder of the files of M5; not written down")
    parser.add_argument(
        "part",
        nargs="?",
        choices=["other", "full"],
        help="only the made-up data of other kinds, or what search, inputs, history and age do",
    )
    asked = parser.parse_args(arguments)
    if sum(bool(way) for way in vars(asked).values()) > 1:
        parser.error("choose one of --cutoffs, --m5, other and full")
    settings = settings_of(command_settings().state_dir / "accuracy" / methods.code_of())
    if asked.part == "full":
        show(full.measured(settings))
        return 0
    rows = measured(settings, asked)
    return int(any(line["met"] is False for line in rows))


def measured(settings: Settings, asked: argparse.Namespace) -> list[Row]:
    """The rows that were asked for, shown; those of the headline and of made-up data are saved."""
    if asked.m5:
        show(rows := m5.measured(asked.m5))
        return rows
    cutoffs = [date.fromisoformat(c) for c in asked.cutoffs.split(",") if c] or list(HEADLINE)
    if min(cutoffs) < settings.first_cutoff:
        settings = methods.since(settings, min(cutoffs))
    rows, parts = ([], []) if asked.part else core(settings, cutoffs)
    rows += [] if asked.cutoffs else other.measured()
    show(rows)
    show(parts)
    if not asked.cutoffs:
        report.save("accuracy", rows, merge=True)
    if not asked.cutoffs and not asked.part:
        report.save("accuracy-cells", parts)
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
