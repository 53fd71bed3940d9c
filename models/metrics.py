"""Forecast errors. Each function takes a long frame of forecasts with actuals and returns figures.

A scored frame has (store_id, item_id, cutoff, ds, step, y, y_hat, q0.025 … q0.975); rows without
an actual (closed days, days not over yet) are left out of every figure.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import KEYS, QUANTILE_COLUMNS
from models.conformal import Calibration, inside

# An item is DEPARTMENT or DEPARTMENT|CATEGORY.
DEPARTMENT = pl.col("item_id").str.split("|").list.first()
# 1 for the first seven days after the cutoff, whatever the length of a step.
LEAD_WEEK = ((pl.col("ds") - pl.col("cutoff")).dt.total_days().cast(pl.Int32) - 1) // 7 + 1
COVERAGE = "coverage 80 of counts"  # name of what coverage_of_counts gives
LEVELS: dict[str, list[str]] = {
    "total": [],
    "store": ["store_id"],
    "department": ["department"],
    "store x department": ["store_id", "department"],
    "item": ["item_id"],
    "series": KEYS,
}


# The twelve levels of the M5 competition, on a frame that has these columns.
M5_LEVELS: dict[str, list[str]] = {
    "total": [],
    "state": ["state"],
    "store": ["store_id"],
    "category": ["category"],
    "department": ["department"],
    "state x category": ["state", "category"],
    "state x department": ["state", "department"],
    "store x category": ["store_id", "category"],
    "store x department": ["store_id", "department"],
    "item": ["item_id"],
    "state x item": ["state", "item_id"],
    "series": KEYS,
}


def levels_of(frame: pl.DataFrame) -> dict[str, list[str]]:
    """The levels that the frame's grain has: without categories, an item is a department."""
    if frame["item_id"].str.contains("|", literal=True).any():
        return LEVELS
    return {k: v for k, v in LEVELS.items() if "department" not in v}


def aggregate(frame: pl.DataFrame, by: list[str], values: list[str]) -> pl.DataFrame:
    """Sums `values` per node of a level and day; a node is named by its keys joined.

    A frame without a column `department` gets it from its items.
    """
    keyed = frame if "department" in frame.columns else frame.with_columns(department=DEPARTMENT)
    node = pl.concat_str([pl.lit(""), *by], separator="/").alias("node")
    return keyed.with_columns(node).group_by("node", "ds").agg(pl.col(values).sum())


def level_scales(
    history: pl.DataFrame,
    levels: Mapping[str, list[str]] | None = None,
    *,
    weight: str = "y",
    season: int = 7,
) -> dict[str, pl.DataFrame]:
    """Per level and node what its errors are divided by and weigh.

    `scale` is the mean squared one-step difference, `seasonal` the mean absolute difference of a
    `season`, `weight` the sum of the column `weight` (units, or money where M5's weights are
    wanted) over the last 28 days. `history` is the dense (store_id, item_id, ds, y) up to the
    cutoff, see models.dataset.history; `levels` are key lists over its columns. A node that
    never changes has no scale and is left out.
    """
    last = history["ds"].max()
    recent = pl.col("ds") > pl.lit(last) - pl.duration(days=28)
    values = list(dict.fromkeys(["y", weight]))
    return {
        level: aggregate(history, by, values)
        .sort("node", "ds")
        .group_by("node")
        .agg(
            scale=(pl.col("y").diff() ** 2).mean(),
            seasonal=(pl.col("y") - pl.col("y").shift(season)).abs().mean(),
            weight=pl.col(weight).filter(recent).sum(),
        )
        .filter(pl.col("scale") > 0)
        for level, by in (levels or levels_of(history)).items()
    }


def node_errors(
    scored: pl.DataFrame,
    scales: Mapping[str, pl.DataFrame],
    levels: Mapping[str, list[str]] = LEVELS,
) -> pl.DataFrame:
    """Scaled errors of every node of the levels in `scales`, one cutoff.

    Columns level, node, weight, rmsse and mase (Hyndman and Koehler, IJF 22(4), 2006).
    """
    rows = scored.filter(pl.col("y").is_not_null())
    error = pl.col("y") - pl.col("y_hat")
    tables = []
    for level, scale in scales.items():
        nodes = aggregate(rows, levels[level], ["y", "y_hat"])
        errors = nodes.group_by("node").agg(mse=(error**2).mean(), mae=error.abs().mean())
        joined = errors.join(scale, on="node").select(
            pl.lit(level).alias("level"),
            "node",
            "weight",
            rmsse=(pl.col("mse") / pl.col("scale")).sqrt(),
            mase=pl.when(pl.col("seasonal") > 0).then(pl.col("mae") / pl.col("seasonal")),
        )
        tables.append(joined)
    return pl.concat(tables)


def wrmsse(
    scored: pl.DataFrame,
    scales: Mapping[str, pl.DataFrame],
    levels: Mapping[str, list[str]] = LEVELS,
) -> dict[str, float]:
    """Weighted root mean squared scaled error per level, one cutoff; `mean` over the levels.

    RMSSE of each node, weighted by its units in the 28 days before the cutoff (Makridakis et al.,
    The M5 accuracy competition, IJF 38(4), 2022, with units for dollars).
    """
    weighted = (pl.col("rmsse") * pl.col("weight")).sum() / pl.col("weight").sum()
    found = dict(
        node_errors(scored, scales, levels).group_by("level").agg(value=weighted).iter_rows()
    )
    result = {level: float(found[level]) for level in scales}
    result["mean"] = sum(result.values()) / len(result)
    return result


def wape(scored: pl.DataFrame) -> float:
    """Pooled weighted absolute percentage error: sum |y - y_hat| / sum y."""
    return float(scored.select((pl.col("y") - pl.col("y_hat")).abs().sum() / _units(scored)).item())


def bias(scored: pl.DataFrame) -> float:
    """Sum of forecasts over sum of actuals, minus one: positive is too much."""
    rows = scored.filter(pl.col("y").is_not_null())
    forecast, sold = float(rows["y_hat"].sum()), float(rows["y"].sum())
    return forecast / sold - 1 if sold else float("nan")


def _units(scored: pl.DataFrame) -> pl.Expr:
    total = scored["y"].sum()
    return pl.lit(total if total else float("nan"))


def pinball(scored: pl.DataFrame) -> dict[str, float]:
    """Mean pinball loss per quantile over the mean actual, and `mean` over the quantiles.

    Koenker and Bassett, Regression Quantiles, Econometrica 46(1), 1978.
    """
    rows = scored.filter(pl.col("y").is_not_null())
    losses = {}
    for column in QUANTILE_COLUMNS:
        q, error = float(column[1:]), pl.col("y") - pl.col(column)
        loss = pl.max_horizontal(q * error, (q - 1) * error).mean()
        losses[column] = float(rows.select(loss / pl.col("y").mean()).item())
    losses["mean"] = sum(losses.values()) / len(losses)
    return losses


def weighted_quantile_loss(scored: pl.DataFrame) -> float:
    """Twice the pinball loss over the actuals, summed over rows, mean over the quantiles."""
    return 2 * pinball(scored)["mean"]


def pit_coverage(u: NDArray[np.float64], level: float) -> float:
    """Share of `u`, the randomised probability integral transform, in the central `level`.

    For counts an interval of quantiles covers more than it says, as whole numbers can't be cut;
    this one covers `level` when the distribution is right (Czado et al., Biometrics 65(4), 2009).
    """
    return float(((u > (1 - level) / 2) & (u <= (1 + level) / 2)).mean())


def coverage_of_counts(scored: pl.DataFrame, calibration: Calibration) -> float:
    """Coverage of the 80 % interval, 0.8 when the distribution is right; NaN without a row.

    `coverage` counts the ends of an interval whole, and holds more of a count than the level says.
    """
    rows = scored.filter(pl.col("y").is_not_null())
    return float(inside(rows, calibration, 0.8).mean()) if rows.height else float("nan")


def coverage(scored: pl.DataFrame, low: str, high: str) -> dict[str, float]:
    """Shares of actuals inside, below and above the interval [low, high] of quantile columns.

    Most low quantiles of a sparse count are zero, which counts as inside: read the three together.
    """
    rows = scored.filter(pl.col("y").is_not_null())
    y = pl.col("y")
    return rows.select(
        inside=y.is_between(pl.col(low), pl.col(high)).mean(),
        below=(y < pl.col(low)).mean(),
        above=(y > pl.col(high)).mean(),
    ).row(0, named=True)


def summary(scored: pl.DataFrame, scales: dict[str, pl.DataFrame]) -> dict[str, float]:
    """Every headline figure of one model at one cutoff, by name."""
    figures = {f"wrmsse {level}": value for level, value in wrmsse(scored, scales).items()}
    total = aggregate(scored.filter(pl.col("y").is_not_null()), [], ["y", "y_hat"])
    figures |= {"wape": wape(scored), "wape total": wape(total), "bias": bias(scored)}
    if set(QUANTILE_COLUMNS) <= set(scored.columns) and scored["q0.5"].is_not_null().all():
        figures |= {"pinball": pinball(scored)["mean"]}
        figures |= {f"coverage 80 {k}": v for k, v in coverage(scored, "q0.1", "q0.9").items()}
    return figures
