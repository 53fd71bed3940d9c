"""Errors and intervals of small parts: fifths of the series by volume, and levels, by lead week."""

from typing import Any

import polars as pl

from benchmarks.accuracy import judge
from benchmarks.accuracy.uncertain import coverage_table
from benchmarks.report import INTERVALS
from data.schema import KEYS
from models.metrics import LEVELS, pinball

ERRORS = ("wape", "mase", "bias")


def of_series(mine: pl.DataFrame, scales: pl.DataFrame) -> list[dict[str, Any]]:
    """A row for each fifth of the series by volume (1 sells least) and week of the lead.

    `mine` as uncertain.judged gives them, `scales` as judge.scale_table. WAPE, bias and the pinball
    loss (over the mean actual, mean of the quantiles) are pooled over the days of a cell; MASE is
    the mean over days, without series that never changed in a season.
    """
    node = pl.concat_str([pl.lit(""), *KEYS], separator="/")
    seasonal = scales.filter(pl.col("level") == "series").select("cutoff", "node", "seasonal")
    rows = mine.with_columns(node=node).join(seasonal, on=["cutoff", "node"], how="left")
    error = (pl.col("y") - pl.col("y_hat")).abs()
    week = ((pl.col("step") - 1) // 7 + 1).alias("lead_week")
    groups = rows.group_by("tier", week)
    errors = groups.agg(
        wape=error.sum() / pl.col("y").sum(),
        mase=(error / pl.col("seasonal")).filter(pl.col("seasonal") > 0).mean(),
        bias=pl.col("y_hat").sum() / pl.col("y").sum() - 1,
    )
    loss = {key: pinball(cell)["mean"] for key, cell in groups}
    table = coverage_table(mine).join(errors, on=["tier", "lead_week"], maintain_order="left")
    return [
        {"metric": f"fifth {row['tier']}, week {row['lead_week']}", "days": row["n"]}
        | {name: round(row[name], 4) for name in ERRORS}
        | {"pinball": round(loss[row["tier"], row["lead_week"]], 4)}
        | {name: round(row[name], 4) for name in INTERVALS}
        for row in table.iter_rows(named=True)
    ]


def of_levels(nodes: pl.DataFrame) -> list[dict[str, Any]]:
    """A row for each level and week of the lead; `nodes` of one model, see judge.scaled."""
    table = judge.figures(nodes, ["lead_week"])
    order = pl.DataFrame({"level": list(LEVELS)})
    ordered = order.join(table.sort("lead_week"), on="level", maintain_order="left_right")
    return [
        {"metric": f"{row['level']}, week {row['lead_week']}", "wrmsse": round(row["wrmsse"], 4)}
        | {name: round(row[name], 4) for name in ERRORS}
        for row in ordered.iter_rows(named=True)
    ]
