"""What a store's week was like, apart from how much it sold: the rows that drift is tested on."""

from datetime import date

import polars as pl

from data.schema import KEYS

TRAILING_WEEKS = 8
GAP_WEEKS = 2  # before a week: what lasts is seen for some weeks before it is its own past
COVARIATES = ["price", "display", "mailer", "weekend"]


def store_weeks(
    sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame, *, until: date
) -> pl.DataFrame:
    """COVARIATES per store and week: (store_id, week, …), a week named by its last day.

    Weeks end on the weekday of `until` and don't overlap, so that one row shares no day with
    another. `price`, `display` and `mailer` are logarithms of the week over the mean of eight weeks
    of the store that end two weeks before it, series by series for the price, so that neither a
    store's size nor its assortment enters; `weekend` is the share of units sold on Saturday and
    Sunday. Null where there is nothing to compare. How much was sold is left out: it was forecast,
    and is judged there.
    """
    week = pl.lit(until) - pl.duration(days=(pl.lit(until) - pl.col("ds")).dt.total_days() // 7 * 7)
    known = (
        sales.filter(pl.col("ds") <= until)
        .join(series, on=KEYS, how="semi")
        .with_columns(week=week.cast(pl.Date))
    )
    weekend = pl.col("y").filter(pl.col("ds").dt.weekday() >= 6).sum() / pl.col("y").sum()
    stores = known.group_by("store_id", "week").agg(weekend=weekend.fill_nan(None))
    promoted = (
        plan.filter(pl.col("ds") <= until)
        .join(series, on=KEYS, how="semi")
        .group_by("store_id", week.cast(pl.Date).alias("week"))
        .agg(pl.col("display", "mailer").sum())
    )
    on = ["store_id", "week"]
    joined = stores.join(promoted, on=on, how="left").with_columns(
        pl.col("display", "mailer").fill_null(0.0)
    )
    return (
        joined.join(_price(known), on=on, how="left")
        .sort(on)
        .with_columns(
            (_smoothed(c) / _trailing(_smoothed(c), ["store_id"])).log().alias(c)
            for c in ("display", "mailer")
        )
        .select(*on, *COVARIATES)
    )


def _smoothed(column: str) -> pl.Expr:
    """One added, so that a store without any promotion has a ratio."""
    return pl.col(column) + 1.0


def _trailing(value: pl.Expr, by: list[str]) -> pl.Expr:
    """Mean of eight weeks that end before the gap, at least four; rows are weeks in order."""
    mean = value.shift(1 + GAP_WEEKS).rolling_mean(TRAILING_WEEKS, min_samples=TRAILING_WEEKS // 2)
    return mean.over(by)


def _price(known: pl.DataFrame) -> pl.DataFrame:
    """Price of each store's week over the weeks before: (store_id, week, price), by units."""
    priced = known.filter(pl.col("price").is_not_null() & (pl.col("y") > 0))
    weeks = (
        priced.group_by(*KEYS, "week")
        .agg(price=(pl.col("price") * pl.col("y")).sum() / pl.col("y").sum(), y=pl.col("y").sum())
        .sort(*KEYS, "week")
        .with_columns(
            ratio=(pl.col("price") / _trailing(pl.col("price"), KEYS)).log(),
            usual=_trailing(pl.col("y"), KEYS),
        )
        .filter(pl.col("ratio").is_finite() & pl.col("usual").is_finite())
    )
    weighted = (pl.col("ratio") * pl.col("usual")).sum() / pl.col("usual").sum()
    return weeks.group_by("store_id", "week").agg(price=weighted)
