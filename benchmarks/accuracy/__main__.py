"""Accuracy against every baseline on the same rows; writes benchmarks/results/accuracy.json.

Keeps its own state and every forecast in it: a run that was cut off goes on where it was.
"""

import argparse
import sys
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.accuracy import beyond, full, judge, methods, other, uncertain
from benchmarks.accuracy.methods import AUTO_ETS, MLFORECAST, ORACLE, OURS, Bench
from benchmarks.rows import Row
from data.schema import KEYS
from data.settings import Settings
from models.baselines import BASELINES
from models.metrics import (
    DEPARTMENT,
    LEVELS,
    aggregate,
    bias,
    level_scales,
    weighted_quantile_loss,
)

HEADLINE = (date(2017, 9, 10), date(2017, 10, 8), date(2017, 11, 5), date(2017, 12, 3))
ETS_LEVELS = [level for level in LEVELS if level != "series"]
LARGE_DEPARTMENT = 0.02  # of the units


def row(
    metric: str,
    unit: str,
    ours: float,
    *,
    theirs: float | None = None,
    target: float | None = None,
    met: bool | None = None,
) -> Row:
    """A row of the result file; the ratio is taken where there is an alternative."""
    return Row(
        metric=metric,
        unit=unit,
        ours=round(ours, 4),
        theirs=None if theirs is None else round(theirs, 4),
        ratio=None if theirs is None else round(ours / theirs, 4),
        target=target,
        met=met,
    )


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
        if origin in bench.cutoffs:
            sums.append(_auto_ets_sums(bench, origin, here))
    return pl.concat(sums), pl.concat(scales)


def _auto_ets_sums(bench: Bench, origin: date, here: pl.DataFrame) -> pl.DataFrame:
    levels = [level for level in ETS_LEVELS if level in bench.levels]
    forecasts = methods.auto_ets(bench, origin, levels).drop("seconds")
    one = here.filter((pl.col("model") == OURS) & pl.col("y").is_not_null())
    actual = pl.concat(
        aggregate(one, LEVELS[level], ["y"]).with_columns(level=pl.lit(level)) for level in levels
    )
    nodes = actual.join(forecasts, on=["level", "node", "ds"])
    return judge.node_sums(nodes, AUTO_ETS, origin)


def point_rows(bench: Bench, sums: pl.DataFrame, scales: pl.DataFrame) -> list[Row]:
    """WRMSSE per level against every method, and what is drawn from it."""
    nodes = judge.scaled(sums, scales)
    headline = nodes.filter(pl.col("cutoff").is_in(list(bench.cutoffs)))
    table = judge.figures(headline)
    wrmsse = {(m, lv): v for m, lv, v in table.select("model", "level", "wrmsse").iter_rows()}
    levels = [level for level in LEVELS if (OURS, level) in wrmsse]
    averaged = [level for level in levels if level in judge.HEADLINE]
    plain = [m for m in (*BASELINES, AUTO_ETS) if (m, levels[0]) in wrmsse]
    best = {
        level: min((m for m in plain if (m, level) in wrmsse), key=lambda m: wrmsse[m, level])
        for level in levels
    }
    mean = {
        m: sum(wrmsse[m, lv] for lv in averaged) / len(averaged)
        for m in (OURS, MLFORECAST, *BASELINES, ORACLE)
    }
    simple = min(mean[m] for m in BASELINES)
    rows = [
        row("wrmsse_mean_levels", "WRMSSE", mean[OURS], theirs=simple, target=0.66).copy(),
        *_worst_rows(wrmsse, best, levels),
    ]
    rows[0]["met"] = mean[OURS] <= 0.66
    gap = (wrmsse[best["series"], "series"] - wrmsse[OURS, "series"]) / (
        wrmsse[best["series"], "series"] - wrmsse[ORACLE, "series"]
    )
    rows.append(row("oracle_gap_closed_series", "share", gap, target=0.45, met=gap >= 0.45))
    rows += _interval_rows(bench, nodes, best)
    for level in [*levels, "mean"]:
        for m in (*BASELINES, AUTO_ETS, MLFORECAST, ORACLE):
            mine = mean[OURS] if level == "mean" else wrmsse[OURS, level]
            theirs = mean.get(m) if level == "mean" else wrmsse.get((m, level))
            if theirs is not None:
                rows.append(_level_row(level, m, mine, theirs))
    return rows


def _level_row(level: str, model: str, mine: float, theirs: float) -> Row:
    """One level against one method; against the oracle, which can be 0, there is no ratio."""
    name = f"wrmsse {level}: {model}"
    if round(theirs, 4) == 0:
        return row(name, "WRMSSE", mine) | {"theirs": 0.0}
    return row(name, "WRMSSE", mine, theirs=theirs)


def _worst_rows(
    wrmsse: dict[tuple[str, str], float], best: dict[str, str], levels: list[str]
) -> list[Row]:
    rows = []
    against = {
        "wrmsse_vs_best_baseline_worst_level": {lv: wrmsse[best[lv], lv] for lv in levels},
        "wrmsse_vs_mlforecast_worst_level": {lv: wrmsse[MLFORECAST, lv] for lv in levels},
    }
    for metric, theirs in against.items():
        worst = max(levels, key=lambda lv: wrmsse[OURS, lv] / theirs[lv])
        mine = wrmsse[OURS, worst]
        rows.append(
            row(
                metric,
                f"WRMSSE {worst}",
                mine,
                theirs=theirs[worst],
                target=1.0,
                met=mine < theirs[worst],
            )
        )
    return rows


def _interval_rows(bench: Bench, nodes: pl.DataFrame, best: dict[str, str]) -> list[Row]:
    """Intervals of the ratio to the best baseline per level, on the origins that both have."""
    rows, below = [], 0
    for level, model in best.items():
        low, high = judge.ratio_interval(nodes, [level], OURS, model, seed=bench.settings.seed)[1:]
        below += high < 1
        rows += [
            row(f"ratio {level}: {model}, interval {side}", "ratio", value)
            for side, value in (("low", low), ("high", high))
        ]
    rows.append(row("levels_with_interval_below_1", "levels", below, target=3.0, met=below >= 3))
    return rows


def bias_rows(bench: Bench, rows: pl.DataFrame) -> list[Row]:
    """|bias| of the headline cutoffs at the total, by store decile and by department."""
    mine = rows.filter(
        (pl.col("model") == OURS)
        & pl.col("cutoff").is_in(list(bench.cutoffs))
        & pl.col("y").is_not_null()
    )
    first = min(bench.cutoffs)
    volume = (
        bench.history(first)
        .group_by("store_id")
        .agg(pl.col("y").sum())
        .with_columns(decile=(pl.col("y").rank("ordinal") * 10 / pl.len()).ceil())
    )
    stores = mine.join(volume.select("store_id", "decile"), on="store_id")
    figures = {
        "abs_bias_total": (abs(bias(mine)), 0.02),
        "abs_bias_worst_store_decile": (judge.worst_bias(stores, pl.col("decile")), 0.05),
        "abs_bias_worst_department": (judge.worst_bias(mine, DEPARTMENT, LARGE_DEPARTMENT), 0.05),
    }
    return [row(k, "share", v, target=t, met=v <= t) for k, (v, t) in figures.items()]


def uncertainty_rows(bench: Bench, rows: pl.DataFrame) -> tuple[list[Row], pl.DataFrame]:
    """Coverage and quantile loss at the headline cutoffs, and the table of coverage by cell."""
    mine = rows.filter((pl.col("model") == OURS) & pl.col("cutoff").is_in(list(bench.cutoffs)))
    judged = uncertain.with_pit(bench, mine)
    cells, whole = uncertain.coverage_table(judged), uncertain.overall(judged)
    loss = weighted_quantile_loss(judged)
    theirs, plain = (
        min(uncertain.conformal_loss(bench, rows, m, step) for m in BASELINES if m != "naive")
        for step in (uncertain.same_step, uncertain.plain_step)
    )
    result = [
        row("coverage_50", "share", whole[0.5]),
        row("coverage_80", "share", whole[0.8], target=0.8, met=0.78 <= whole[0.8] <= 0.82),
        row("coverage_95", "share", whole[0.95], target=0.95, met=0.93 <= whole[0.95] <= 0.97),
        row(
            "weighted_quantile_loss_vs_best_baseline",
            "WQL",
            loss,
            theirs=theirs,
            target=0.97,
            met=loss <= 0.97 * theirs,
        ),
        row("weighted_quantile_loss_vs_plain_conformal", "WQL", loss, theirs=plain),
    ]
    if (cells["n"] >= uncertain.LEAST_POINTS).any():
        worst = uncertain.worst_cell(cells)
        result.append(
            row("coverage_worst_cell_abs_dev", "share", worst, target=0.05, met=worst <= 0.05)
        )
    return result, cells


def beyond_rows(bench: Bench, rows: pl.DataFrame) -> list[Row]:
    """Coverage of levels by their sample paths, and series hidden as if they were new."""
    mine = rows.filter((pl.col("model") == OURS) & pl.col("cutoff").is_in(list(bench.cutoffs)))
    covered = {
        level: beyond.level_coverage(bench, mine, level)
        for level in bench.levels
        if level != "series"
    }
    result = [
        row(f"coverage_80_{level}", "share", share, target=0.8, met=0.78 <= share <= 0.82)
        for level, share in covered.items()
    ]
    found = [beyond.hidden_series(bench, cutoff) for cutoff in bench.cutoffs]
    own, theirs, inside = (sum(values) / len(found) for values in zip(*found, strict=True))
    met = own < theirs
    cold = row("cold_start_vs_store_share", "WRMSSE", own, theirs=theirs, target=1.0, met=met)
    return [*result, cold, row("cold_start_coverage_80", "share", inside)]


def measure(bench: Bench) -> list[Row]:
    """Every row of a data set; also keeps the detailed tables beside the forecasts."""
    rows = scored(bench)
    sums, scales = node_table(bench, rows)
    result = point_rows(bench, sums, scales) + bias_rows(bench, rows)
    more, cells = uncertainty_rows(bench, rows)
    folder = bench.settings.state_dir / "tables"
    folder.mkdir(exist_ok=True)
    cells.write_csv(folder / "coverage.csv")
    headline = sums.filter(pl.col("cutoff").is_in(list(bench.cutoffs)))
    weekly = judge.scaled(headline, scales, ["lead_week"])
    judge.figures(weekly, ["lead_week"]).write_csv(folder / "levels_by_lead_week.csv")
    return result + more + beyond_rows(bench, rows)


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


def show(rows: list[Row]) -> None:
    table = Table()
    for column in report.COLUMNS:
        table.add_column(column, no_wrap=True)
    for line in rows:
        values = (line.get(column) for column in report.COLUMNS)
        table.add_row(*("" if v is None else str(v) for v in values))
    Console(width=120).print(table)


def main(arguments: list[str]) -> int:
    """Measures and prints; the headline cutoffs are written down. 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cutoffs", default="", help="other cutoffs, by commas; not written down")
    parser.add_argument(
        "part",
        nargs="?",
        choices=["other", "full"],
        help="only the made-up data of other kinds, or what search, inputs, history and age do",
    )
    asked = parser.parse_args(arguments)
    if asked.part and asked.cutoffs:
        parser.error(f"{asked.part} has no cutoffs to choose")
    chosen = asked.cutoffs
    cutoffs = [date.fromisoformat(c) for c in chosen.split(",") if c] or list(HEADLINE)
    settings = settings_of(Settings().state_dir / "accuracy")
    if asked.part == "full":
        show(full.measured(settings))
        return 0
    if cutoffs[0] < settings.first_cutoff:
        settings = settings.model_copy(update={"first_cutoff": min(cutoffs), "series_min_days": 20})
        settings = settings.model_copy(update={"state_dir": settings.state_dir / str(min(cutoffs))})
    rows = [] if asked.part else measure(methods.prepare(settings, cutoffs))
    rows += [] if chosen else other.measured()
    show(rows)
    if not chosen:
        report.save("accuracy", rows, merge=True)
    return int(any(line["met"] is False for line in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
