"""Accuracy of matured forecasts by node of every level, beside the naive forecast."""

from datetime import date

import polars as pl

from data.schema import KEYS
from data.steps import Steps
from models.baselines import SEASONAL_NAIVE
from models.metrics import DEPARTMENT, LEAD_WEEK, levels_of

DAYS = 7  # days of a whole week ahead
NODE = ["store_id", "item_id", "department"]


def mean_prices(sales: pl.DataFrame, until: date, *, days: int = 84) -> pl.DataFrame:
    """Mean price a unit of each series over the last `days` days: (store_id, item_id, price)."""
    since = date.fromordinal(until.toordinal() - days)
    sold = sales.filter((pl.col("ds") > since) & (pl.col("ds") <= until) & (pl.col("y") > 0))
    return sold.group_by(KEYS).agg(price=(pl.col("price") * pl.col("y")).sum() / pl.col("y").sum())


def accuracy(matured: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """WAPE and bias of whole weeks ahead per level, node and model, largest value first.

    `matured` is FORECAST with `model` and `y`; a week that is not over for the series, or of which
    the naive forecast is missing, is left out. `value_added` is the WAPE of the naive forecast of
    the very weeks that the model is judged on, less the model's own: versions that forecast other
    weeks are each compared on theirs. Columns are those of the published table `accuracy`.
    """
    weekly = _weeks(matured).join(prices, on=KEYS, how="left")
    frames = []
    for level, keys in levels_of(weekly).items() if weekly.height else ():
        nodes = weekly.group_by(*keys, "model", "cutoff", "week").agg(
            pl.col("y", "y_hat", "naive", "inside", "open").sum(),
            value=(pl.col("y") * pl.col("price").fill_null(0)).sum(),
        )
        error, naive = ((pl.col("y") - pl.col(c)).abs().sum() for c in ("y_hat", "naive"))
        units = pl.when(pl.col("y").sum() > 0).then(pl.col("y").sum())
        covered = pl.col("inside").sum() / pl.col("open").sum()
        figures = nodes.group_by(*keys, "model").agg(
            weeks=pl.len(),
            units=pl.col("y").sum(),
            value=pl.col("value").sum(),
            wape=error / units,
            bias=pl.col("y_hat").sum() / units - 1,
            coverage_80=covered if level == "series" else pl.lit(None, pl.Float64),
            value_added=(naive - error) / units,
        )
        missing = [pl.lit(None, pl.String).alias(k) for k in NODE if k not in keys]
        frames.append(figures.with_columns(*missing, level=pl.lit(level)))
    columns = ["level", *NODE, "model", "weeks", "units", "value", "wape", "bias", "coverage_80"]
    columns.append("value_added")
    if not frames:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    return pl.concat([f.select(columns) for f in frames]).sort("value", descending=True)


def _weeks(matured: pl.DataFrame) -> pl.DataFrame:
    """Sums of whole weeks ahead.

    Columns are KEYS, department, model, cutoff, week, y, y_hat, naive, inside and open. `naive` is
    what the naive forecast said of the same days. `open` counts the days of the week that are
    judged by the 80 % range, `inside` those within it.
    """
    judged = pl.col("q0.1").is_not_null()
    weeks = (
        matured.with_columns(week=LEAD_WEEK, department=DEPARTMENT)
        .group_by(*KEYS, "department", "model", "cutoff", "week")
        .agg(
            pl.col("y", "y_hat").sum(),
            last=(pl.col("ds") - pl.col("cutoff")).max().dt.total_days(),
            inside=pl.col("y").is_between(pl.col("q0.1"), pl.col("q0.9")).sum(),
            open=judged.sum(),
        )
        .filter((pl.col("last") % DAYS) == 0)
    )
    same = [*KEYS, "cutoff", "week"]
    naive = weeks.filter(pl.col("model") == SEASONAL_NAIVE).select(*same, naive="y_hat")
    return weeks.join(naive, on=same)


def scored_overrides(
    overrides: pl.DataFrame, sales: pl.DataFrame, until: date, steps: Steps
) -> pl.DataFrame:
    """Overrides with `actual`, units sold on their days, and `value_added`, when those are over.

    `value_added` is how many units nearer to what was sold the override came than the model's
    forecast `baseline`. Overrides have KEYS, since, until, units (an open step; on closed ones
    nothing is sold or forecast) and baseline (the sum of all).
    """
    open_steps = [
        sum(not steps.is_closed(ds) for ds in steps.between(steps.after(since, -1), until))
        for since, until in overrides.select("since", "until").iter_rows()
    ]
    sold = (
        overrides.select(*KEYS, "since", "until", "override_id")
        .join(sales.select(*KEYS, "ds", "y"), on=KEYS)
        .filter(pl.col("ds").is_between(pl.col("since"), pl.col("until")))
        .group_by("override_id")
        .agg(actual=pl.col("y").sum())
    )
    over = pl.col("until") <= until
    missed = (pl.col("baseline") - pl.col("actual")).abs()
    return (
        overrides.join(sold, on="override_id", how="left", maintain_order="left")
        .with_columns(actual=pl.when(over).then(pl.col("actual").fill_null(0)))
        .with_columns(pl.Series("open", open_steps, pl.Int64))
        .with_columns(
            value_added=missed - (pl.col("units") * pl.col("open") - pl.col("actual")).abs()
        )
        .drop("open")
    )
