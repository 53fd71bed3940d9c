"""Quantiles of every method by the same conformal step, and how well they hold."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl

from benchmarks.accuracy.judge import tiers_of
from benchmarks.accuracy.methods import Bench, trained
from data.schema import KEYS, QUANTILE_COLUMNS, QUANTILES
from models import conformal
from models.dataset import Matrix
from models.metrics import pit_coverage, weighted_quantile_loss

LEVELS_OF_COVERAGE = (0.5, 0.8, 0.95)
LEAST_POINTS = 5000
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
