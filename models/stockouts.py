"""Probable stock-outs: series that have gone silent against their own rate of sale."""

import polars as pl

from data.schema import KEYS
from data.steps import Steps

WINDOW = 84  # days before a silence, or the weeks that end in them: they tell the rate
FEWEST = 28  # of them; a younger series has no rate to be silent against
PRIOR = 4  # weeks that the plain mean counts for in the mean of a weekday
UNLIKELY = 1e-4  # probability of so long a silence, below which it is marked
STOCKOUTS = [*KEYS, "first_ds", "last_ds", "days", "probability", "expected_units", "whole_store"]


def probable_stockouts(
    history: pl.DataFrame, steps: Steps, *, unlikely: float = UNLIKELY
) -> pl.DataFrame:
    """Silences that are too long for chance, columns STOCKOUTS, the least probable first.

    `history` is the dense (store_id, item_id, ds, y) of models.dataset.history up to the day that
    is today: without closed days, so that a silence goes on over one. The rate of a series is that
    of the WINDOW before the silence, by weekday. Sales come in clumps: a day without one is as
    likely as under a negative binomial with that window's variance, and a silence is the product
    over its days. `days` counts steps; `expected_units` is the rate over them, what may have been
    lost; `whole_store` says that nothing else of the store sold either, so that it was likelier
    closed. Nothing is filled in or left out: a mark says where sales may not be demand.
    """
    days = _with_rates(history, steps)
    silent = days.filter(pl.col("y") <= 0)
    start = silent.group_by(*KEYS, "run").agg(
        pl.col("ds").min().alias("first_ds"),
        pl.col("ds").max().alias("last_ds"),
        pl.col("mean", "variance").sort_by("ds").first(),
    )
    weekdays = (
        silent.group_by(*KEYS, "run", "weekday")
        .agg(days=pl.len())
        .join(start, on=[*KEYS, "run"])
        .filter((pl.col("mean") > 0) & (pl.col("last_ds") > pl.col("first_ds")))
    )
    rated = _weekday_rates(weekdays, days)
    clumps = ((pl.col("variance") - pl.col("mean")) / pl.col("mean") ** 2).clip(0.01)
    marked = (
        rated.with_columns(log_silent=-(clumps * pl.col("rate")).log1p() / clumps)
        .group_by(*KEYS, "first_ds", "last_ds")
        .agg(
            days=pl.col("days").sum(),
            probability=(pl.col("log_silent") * pl.col("days")).sum().exp(),
            expected_units=(pl.col("rate") * pl.col("days")).sum(),
        )
        .filter(pl.col("probability") < unlikely)
    )
    return _with_store(marked, history).sort("probability", *KEYS, "first_ds").select(STOCKOUTS)


def _with_rates(history: pl.DataFrame, steps: Steps) -> pl.DataFrame:
    """Days with the number of their run, weekday, and mean and variance of the WINDOW before."""
    before = pl.col("y").shift(1)
    window, fewest = WINDOW // steps.days, FEWEST // steps.days
    return history.sort(*KEYS, "ds").with_columns(
        run=(pl.col("y") > 0).cum_sum().over(KEYS),
        weekday=pl.col("ds").dt.weekday(),
        mean=before.rolling_mean(window, min_samples=fewest).over(KEYS),
        variance=before.rolling_var(window, min_samples=fewest).over(KEYS),
    )


def _weekday_rates(weekdays: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Adds `rate`, the mean of the weekday before the run began, drawn to the plain mean."""
    by = [*KEYS, "weekday"]
    weeks = WINDOW // 7
    past = days.select(
        *by,
        "ds",
        units=pl.col("y").rolling_sum(weeks, min_samples=1).over(by),
        seen=pl.col("y").is_not_null().cast(pl.Int32).rolling_sum(weeks, min_samples=1).over(by),
    )
    return (
        weekdays.with_columns(asked=pl.col("first_ds").dt.offset_by("-1d"))
        .sort("asked")
        .join_asof(past.sort("ds"), left_on="asked", right_on="ds", by=by, check_sortedness=False)
        .with_columns(pl.col("units", "seen").fill_null(0))
        .with_columns(
            rate=(pl.col("units") + PRIOR * pl.col("mean")) / (pl.col("seen") + PRIOR),
        )
    )


def _with_store(marked: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """Adds whether the store sold nothing at all while the series was silent."""
    store = history.group_by("store_id", "ds").agg(sold=pl.col("y").sum())
    spans = marked.select("store_id", "first_ds", "last_ds").unique()
    sold = (
        spans.join(store, on="store_id")
        .filter(pl.col("ds").is_between("first_ds", "last_ds"))
        .group_by("store_id", "first_ds", "last_ds")
        .agg(whole_store=pl.col("sold").sum() <= 0)
    )
    return marked.join(sold, on=["store_id", "first_ds", "last_ds"], how="left")


def without_stockouts(days: pl.DataFrame, stockouts: pl.DataFrame) -> pl.DataFrame:
    """`days` (store_id, item_id, ds, y, …), in their order, with `y` null where one is marked."""
    spans = (
        stockouts.select(*KEYS, ds=pl.date_ranges("first_ds", "last_ds"))
        .explode("ds")
        .with_columns(marked=True)
    )
    return (
        days.join(spans, on=[*KEYS, "ds"], how="left", maintain_order="left")
        .with_columns(y=pl.when(pl.col("marked").is_null()).then("y"))
        .drop("marked")
    )
