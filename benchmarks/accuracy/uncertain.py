"""Quantiles of every method by the same conformal step, and how well they hold."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl

from benchmarks.accuracy.judge import tiers_of
from benchmarks.accuracy.methods import OURS, Bench, trained
from benchmarks.accuracy.point import row
from benchmarks.rows import Row, plain_row
from data.schema import KEYS, QUANTILE_COLUMNS, QUANTILES
from models import conformal
from models.baselines import BASELINES
from models.dataset import Matrix
from models.metrics import pit_coverage, weighted_quantile_loss

LEVELS_OF_COVERAGE = (0.5, 0.8, 0.95)
LEAST_POINTS = 5000
WIDTHS = ((80, "q0.1", "q0.9"), (95, "q0.025", "q0.975"))
FITTED = [m for m in BASELINES if m != "naive"]  # that get intervals
Step = Callable[[Bench, pl.DataFrame, pl.DataFrame], Matrix]  # from errors before and forecasts


def with_pit(bench: Bench, rows: pl.DataFrame) -> pl.DataFrame:
    """Our scored rows with `u`, the randomised PIT by the calibration of their model, and tier."""
    parts = []
    for (origin,), part in rows.filter(pl.col("y").is_not_null()).group_by("cutoff"):
        assert isinstance(origin, date)
        cutoff = max(c for c in bench.cutoffs if c <= origin)
        calibration = trained(bench, cutoff).manifest.calibration
        u = conformal.pit(part, calibration, seed=bench.settings.seed)
        tiers = tiers_of(bench.features(origin))
        parts.append(part.with_columns(u=pl.Series(u)).join(tiers, on=KEYS, how="left"))
    return pl.concat(parts)


def judged(bench: Bench, rows: pl.DataFrame) -> pl.DataFrame:
    """Our scored rows of the headline cutoffs, see with_pit."""
    of_headline = pl.col("cutoff").is_in(list(bench.cutoffs))
    return with_pit(bench, rows.filter((pl.col("model") == OURS) & of_headline))


def uncertainty_rows(bench: Bench, rows: pl.DataFrame, mine: pl.DataFrame) -> list[Row]:
    """Coverage, width, order and quantile loss at the headline cutoffs.

    `rows`: scored forecasts of all methods; `mine`: ours, see judged.
    """
    whole, loss = overall(mine), weighted_quantile_loss(mine)
    theirs, plain = (
        min(conformal_loss(bench, rows, m, step) for m in FITTED)
        for step in (same_step, plain_step)
    )
    wide = {k: float((mine[high] - mine[low]).mean()) for k, low, high in WIDTHS}  # type: ignore[arg-type]
    return [
        row("coverage_50", "share", whole[0.5]),
        row("coverage_80", "share", whole[0.8], target=0.8, met=0.78 <= whole[0.8] <= 0.82),
        row("coverage_95", "share", whole[0.95], target=0.95, met=0.93 <= whole[0.95] <= 0.97),
        *(row(f"width_{k}", "units, mean", width) for k, width in wide.items()),
        *_order_rows(mine),
        row(
            "weighted_quantile_loss_vs_best_baseline",
            "WQL",
            loss,
            theirs=theirs,
            target=0.97,
            met=loss <= 0.97 * theirs,
        ),
        row("weighted_quantile_loss_vs_plain_conformal", "WQL", loss, theirs=plain),
        *_worst_rows(mine),
    ]


def _order_rows(mine: pl.DataFrame) -> list[Row]:
    """Quantiles below the one before, and forecasts below zero: how many there are."""
    bands = mine.select(QUANTILE_COLUMNS).to_numpy()
    crossings = int((np.diff(bands, axis=1) < 0).sum())
    negatives = int((bands < 0).sum()) + int((mine["y_hat"] < 0).sum())
    return [
        plain_row("quantile_crossings", "count", crossings, 0, more_is_better=False),
        plain_row("negative_forecasts", "count", negatives, 0, more_is_better=False),
    ]


def _worst_rows(mine: pl.DataFrame) -> list[Row]:
    cells = coverage_table(mine)
    if not (cells["n"] >= LEAST_POINTS).any():
        return []
    worst = worst_cell(cells)
    name = "coverage_worst_cell_abs_dev"
    return [row(name, "share", worst, target=0.05, met=worst <= 0.05)]


def coverage_table(rows: pl.DataFrame) -> pl.DataFrame:
    """Coverage of 50, 80 and 95 % by volume tier and lead week, with points and mean width."""
    week = ((pl.col("step") - 1) // 7 + 1).alias("lead_week")
    width = (pl.col("q0.9") - pl.col("q0.1")).mean()
    return (
        rows.group_by("tier", week)
        .agg(
            n=pl.len(),
            width_80=width,
            **{
                f"coverage_{level:.0%}".rstrip("%"): (
                    (pl.col("u") > (1 - level) / 2) & (pl.col("u") <= (1 + level) / 2)
                ).mean()
                for level in LEVELS_OF_COVERAGE
            },
        )
        .sort("tier", "lead_week")
    )


def worst_cell(table: pl.DataFrame) -> float:
    """Largest distance of a cell's coverage of 80 or 95 % from what it says."""
    cells = table.filter(pl.col("n") >= LEAST_POINTS)
    distance = [(pl.col(f"coverage_{k}") - k / 100).abs().max() for k in (80, 95)]
    return float(cells.select(pl.max_horizontal(distance)).item())


def overall(rows: pl.DataFrame) -> dict[float, float]:
    u = rows["u"].to_numpy()
    return {level: pit_coverage(u, level) for level in LEVELS_OF_COVERAGE}


def conformal_loss(bench: Bench, rows: pl.DataFrame, model: str, step: Step) -> float:
    """Weighted quantile loss of a method whose errors one horizon before gave its quantiles.

    `rows`: scored forecasts of all methods at the headline cutoffs and one horizon before them;
    `step` makes the quantiles, `same_step` or `plain_step`.
    """
    parts = []
    own = rows.filter((pl.col("model") == model) & pl.col("y").is_not_null())
    for cutoff in bench.cutoffs:
        past = own.filter(pl.col("cutoff") == cutoff - timedelta(days=bench.settings.horizon))
        now = own.filter(pl.col("cutoff") == cutoff)
        bands = step(bench, past, now)
        bands = np.where((now["y_hat"] == 0).to_numpy()[:, None], 0.0, bands)
        parts.append(
            now.with_columns(pl.Series(c, bands[:, i]) for i, c in enumerate(QUANTILE_COLUMNS))
        )
    return weighted_quantile_loss(pl.concat(parts))


def same_step(bench: Bench, past: pl.DataFrame, now: pl.DataFrame) -> Matrix:
    """Quantiles (n, levels) by the calibration that our own forecasts get."""
    settings = bench.settings
    calibration = conformal.calibrate(past, horizon=settings.horizon, seed=settings.seed)
    y_hat, step = (now[c].to_numpy() for c in ("y_hat", "step"))
    return conformal.apply(y_hat, step, calibration.times(now), calibration, QUANTILES)


def plain_step(_bench: Bench, past: pl.DataFrame, now: pl.DataFrame) -> Matrix:
    """Quantiles (n, levels) by plain conformal prediction: of errors over the forecast's root.

    By tenth of the forecast, so that big series do not borrow the width of small ones.
    """
    known = past.filter(pl.col("y_hat") > 0)
    y, y_hat, new = (s.to_numpy() for s in (known["y"], known["y_hat"], now["y_hat"]))
    edges = np.quantile(y_hat, np.linspace(0, 1, conformal.TIERS + 1)[1:-1])
    tier, scaled = np.searchsorted(edges, y_hat, side="right"), (y - y_hat) / np.sqrt(y_hat)
    tenths = [scaled[tier == t] for t in range(conformal.TIERS)]  # empty where many are alike
    table = np.array([np.quantile(t if len(t) else scaled, QUANTILES) for t in tenths])
    wide = table[np.searchsorted(edges, new, side="right")] * np.sqrt(new)[:, None]
    return np.asarray(np.maximum(new[:, None] + wide, 0.0))
