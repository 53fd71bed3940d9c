"""Rows of accuracy.json of the mean: WRMSSE by level against every method, and bias."""

import polars as pl

from benchmarks.accuracy import judge
from benchmarks.accuracy.methods import AUTO_ETS, MLFORECAST, ORACLE, OURS, Bench
from benchmarks.rows import Row
from models.baselines import BASELINES
from models.metrics import DEPARTMENT, LEVELS, bias

LARGE_DEPARTMENT = 0.02  # of the units
SIMPLE = (*BASELINES, AUTO_ETS)
METHODS = (*SIMPLE, MLFORECAST, ORACLE)
Figures = dict[tuple[str, str], float]  # WRMSSE by model and level


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


def point_rows(bench: Bench, sums: pl.DataFrame, scales: pl.DataFrame) -> list[Row]:
    """WRMSSE per level against every method, and what is drawn from it."""
    nodes = judge.scaled(sums, scales)
    table = judge.figures(nodes.filter(pl.col("cutoff").is_in(list(bench.cutoffs))))
    wrmsse = {(m, lv): v for m, lv, v in table.select("model", "level", "wrmsse").iter_rows()}
    levels = [level for level in LEVELS if (OURS, level) in wrmsse]
    averaged = [level for level in levels if level in judge.HEADLINE]
    best = {
        level: min((m for m in SIMPLE if (m, level) in wrmsse), key=lambda m: wrmsse[m, level])
        for level in levels
    }
    for m in (OURS, *BASELINES, MLFORECAST, ORACLE):
        wrmsse[m, "mean"] = sum(wrmsse[m, lv] for lv in averaged) / len(averaged)
    mine, simple = wrmsse[OURS, "mean"], min(wrmsse[m, "mean"] for m in BASELINES)
    rows = [
        row("wrmsse_mean_levels", "WRMSSE", mine, theirs=simple, target=0.66, met=mine <= 0.66),
        *_worst_rows(wrmsse, best, levels),
        *_gap_rows(bench, nodes, wrmsse, best["series"]),
        *_interval_rows(bench, nodes, best),
    ]
    for level in [*levels, "mean"]:
        there = [m for m in METHODS if (m, level) in wrmsse]
        rows += [_level_row(level, m, wrmsse[OURS, level], wrmsse[m, level]) for m in there]
    return rows


def _level_row(level: str, model: str, mine: float, theirs: float) -> Row:
    """One level against one method; against the oracle, which can be 0, there is no ratio."""
    name = f"wrmsse {level}: {model}"
    if round(theirs, 4) == 0:
        return row(name, "WRMSSE", mine) | {"theirs": 0.0}
    return row(name, "WRMSSE", mine, theirs=theirs)


def _worst_rows(wrmsse: Figures, best: dict[str, str], levels: list[str]) -> list[Row]:
    rows = []
    against = {
        "wrmsse_vs_best_baseline_worst_level": {lv: wrmsse[best[lv], lv] for lv in levels},
        "wrmsse_vs_mlforecast_worst_level": {lv: wrmsse[MLFORECAST, lv] for lv in levels},
    }
    for metric, theirs in against.items():
        worst = max(levels, key=lambda lv: wrmsse[OURS, lv] / theirs[lv])
        mine, other = wrmsse[OURS, worst], theirs[worst]
        unit = f"WRMSSE {worst}"
        rows.append(row(metric, unit, mine, theirs=other, target=1.0, met=mine < other))
    return rows


def _gap_rows(bench: Bench, nodes: pl.DataFrame, wrmsse: Figures, best: str) -> list[Row]:
    """How much of the way from the best simple method to the oracle is gone at series level."""
    models = [OURS, best, ORACLE]

    def closed(loss: list[float]) -> float:
        mine, simple, oracle = loss
        return (simple - mine) / (simple - oracle)

    gap = closed([wrmsse[m, "series"] for m in models])
    _, low, high = judge.interval(nodes, ["series"], models, closed, seed=bench.settings.seed)
    unit = f"share, {judge.origins(nodes, 'series', models)} origins"
    name = "oracle_gap_closed_series"
    return [
        row(name, "share", gap, target=0.45, met=gap >= 0.45),
        row(f"{name}_low", unit, low),
        row(f"{name}_high", unit, high),
    ]


def _interval_rows(bench: Bench, nodes: pl.DataFrame, best: dict[str, str]) -> list[Row]:
    """Intervals of the ratio to the best baseline per level, on the origins that both have.

    Those that rest on few origins are shown, and don't count as evidence.
    """
    rows, below = [], 0
    for level, model in best.items():
        low, high = judge.ratio_interval(nodes, [level], OURS, model, seed=bench.settings.seed)[1:]
        origins = judge.origins(nodes, level, [OURS, model])
        below += high < 1 and origins >= judge.LEAST_ORIGINS
        unit = f"ratio to {model}, {origins} origins"
        rows += [row(f"ratio {level}, interval low", unit, low)]
        rows += [row(f"ratio {level}, interval high", unit, high)]
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
