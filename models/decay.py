"""Do forecasts that have met their sales get worse? Week by week, against seasonal naive."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from models.baselines import SEASONAL_NAIVE
from models.conformal import Calibration, inside
from models.metrics import DEPARTMENT, LEVELS

WEEKS: dict[str, type[pl.DataType]] = {
    "week": pl.Date,
    "loss": pl.Float64,
    "naive_loss": pl.Float64,
    "bias": pl.Float64,
    "rows": pl.Int64,
}


@dataclass(frozen=True)
class Coverage:
    """Coverage of the 80 % interval, 0.8 at best, with its 95 % bounds."""

    share: float
    low: float
    high: float


def weekly_losses(
    scored: pl.DataFrame,
    scales: dict[str, pl.DataFrame],
    *,
    version: str,
    until: date,
    quiet: Collection[date],
) -> pl.DataFrame:
    """Losses of a version and of seasonal naive on the same days: WEEKS, oldest week first.

    `scored` are issued forecasts of days that are over, with `model` and `y`; `scales` those of
    models.metrics.level_scales. A week is named by its last day and ends on the weekday of
    `until`; days of `quiet` (holidays) take no part. The loss is the weighted root mean squared
    scaled error, mean over the levels, all leads together. `bias` is positive for too much.
    """
    days_ago = (pl.lit(until) - pl.col("ds")).dt.total_days()
    rows = (
        scored.filter(
            pl.col("model").is_in([version, SEASONAL_NAIVE])
            & (pl.col("ds") <= until)
            & ~pl.col("ds").is_in(list(quiet))
            & pl.col("y").is_not_null()
        )
        .with_columns(
            week=(pl.lit(until) - pl.duration(days=days_ago // 7 * 7)).cast(pl.Date),
            department=DEPARTMENT,
        )
        .select("model", "week", "cutoff", "ds", "store_id", "item_id", "department", "y", "y_hat")
    )
    both = (
        rows.select("model", "cutoff").unique().group_by("cutoff").len().filter(pl.col("len") == 2)
    )
    rows = rows.join(both, on="cutoff", how="semi")
    losses = [_level_losses(rows, LEVELS[level], scale) for level, scale in scales.items()]
    own = rows.filter(pl.col("model") == version)
    bias = own.group_by("week").agg(
        bias=pl.col("y_hat").sum() / pl.col("y").sum() - 1, rows=pl.len().cast(pl.Int64)
    )
    table = pl.concat(losses).group_by("week", "model").agg(pl.col("loss").mean())
    mine = table.filter(pl.col("model") == version).drop("model")
    naive = table.filter(pl.col("model") == SEASONAL_NAIVE).select("week", naive_loss="loss")
    return mine.join(naive, on="week").join(bias, on="week").select(list(WEEKS)).sort("week")


def _level_losses(rows: pl.DataFrame, by: list[str], scale: pl.DataFrame) -> pl.DataFrame:
    """Loss of one level: (model, week, loss)."""
    node = pl.concat_str([pl.lit(""), *by], separator="/").alias("node")
    errors = (
        rows.group_by("model", "week", "cutoff", "ds", node)
        .agg(error=(pl.col("y_hat") - pl.col("y")).sum())
        .group_by("model", "week", "node")
        .agg(mse=(pl.col("error") ** 2).mean())
        .join(scale, on="node")
    )
    weight = pl.col("weight")
    loss = ((pl.col("mse") / pl.col("scale")).sqrt() * weight).sum() / weight.sum()
    return errors.group_by("model", "week").agg(loss=loss)


def log_ratios(weeks: pl.DataFrame, backtest_ratio: float) -> list[float]:
    """Logarithm of each week's loss over seasonal naive's, less that of the backtest."""
    ratio = (weeks["loss"] / weeks["naive_loss"] / backtest_ratio).log()
    return [v for v in ratio.to_list() if v is not None and math.isfinite(v)]


def cusum(values: Sequence[float], slack: float) -> float:
    """Page's cumulative sum of what exceeds `slack`, as it stands after the last value.

    Page, Continuous inspection schemes, Biometrika 41, 1954: it never falls below zero, so that
    good weeks are no credit for bad ones.
    """
    total = 0.0
    for value in values:
        total = max(0.0, total + value - slack)
    return total


def naive_weeks(weeks: pl.DataFrame) -> int:
    """How many of the newest weeks in a row were no better than seasonal naive."""
    count = 0
    for loss, naive in reversed(weeks.select("loss", "naive_loss").rows()):
        if loss < naive:
            break
        count += 1
    return count


def coverage_80(
    scored: pl.DataFrame, calibration: Calibration, *, draws: int, seed: int
) -> Coverage | None:
    """Coverage of the 80 % interval, bootstrapped over stores: days of a store aren't independent.

    An actual at the end of an interval counts in part (models.conformal.inside), by the
    `calibration` of the model whose forecasts they are. None without a scored row.
    """
    rows = scored.filter(pl.col("y").is_not_null())
    if rows.is_empty():
        return None
    rows = rows.with_columns(inside=pl.Series(inside(rows, calibration, 0.8)))
    stores = rows.group_by("store_id").agg(pl.col("inside").sum(), n=pl.len()).sort("store_id")
    hit, n = stores["inside"].to_numpy(), stores["n"].to_numpy()
    rng = np.random.default_rng(seed)
    sample = rng.integers(0, len(n), size=(draws, len(n)))
    shares = hit[sample].sum(axis=1) / n[sample].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return Coverage(float(hit.sum() / n.sum()), float(low), float(high))
