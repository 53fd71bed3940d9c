"""Features as of a cutoff: pure functions of the sales and the plan that were known then."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from data.schema import DEMAND_FEATURES, KEYS, STORE_FEATURES, WEEK, WINDOWS
from data.steps import Steps

LONGEST = max(WINDOWS)
PROFILE_DAYS = 56


def _open_steps(cutoff: date, steps: Steps, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Open steps in the last n days, n = 0..`days`: counts (n,) and per ISO weekday (n, 7)."""
    total, by_dow = np.zeros(days + 1), np.zeros((days + 1, 7))
    for age in range(days):
        day = cutoff - timedelta(days=age)
        by_dow[age + 1] = by_dow[age]
        if age % steps.days == 0 and not steps.is_closed(day):
            by_dow[age + 1, day.isoweekday() - 1] += 1
        total[age + 1] = by_dow[age + 1].sum()
    return total, by_dow


def _sums(known: pl.DataFrame, keys: list[str], cutoff: date, days: int) -> pl.DataFrame:
    """Sums per key over the windows that the features divide by open steps of `days` days."""
    age = (pl.lit(cutoff) - pl.col("ds")).dt.total_days()
    y, price = pl.col("y"), pl.col("price")
    dow = pl.col("ds").dt.weekday()
    known = known.with_columns(age=age)
    recent = pl.col("age")
    return known.group_by(keys).agg(
        age_days=recent.max(),
        days_since_sale=recent.filter(y > 0).min(),
        *(y.filter(recent < w).sum().alias(f"sum_{w}") for w in WINDOWS),
        sum_ever=y.sum(),
        squares=(y * y).filter(recent < 28).sum(),
        sold_28=((y > 0) & (recent < 28)).sum(),
        price_7=price.filter(recent < 7).mean(),
        price_28=price.filter(recent < 28).mean(),
        price_84=price.filter(recent < LONGEST).mean(),
        price_ever=price.mean(),
        *(y.filter(recent == (k - 1) * days).sum().alias(f"lag_{k}") for k in WEEK),
        *(
            y.filter((dow == d) & (recent < w)).sum().alias(f"dow_{d}_{w}")
            for d in WEEK
            for w in (PROFILE_DAYS, LONGEST)
        ),
    )


def _with_open_steps(sums: pl.DataFrame, cutoff: date, steps: Steps) -> pl.DataFrame:
    """Adds the open steps of each window, never more than the series is old."""
    age = sums["age_days"].fill_null(0).to_numpy()
    oldest = int(age.max(initial=0)) + 1
    total, by_dow = _open_steps(cutoff, steps, max(LONGEST, oldest))
    return sums.with_columns(
        pl.Series("n_ever", np.maximum(total[age + 1], 1)),
        *(pl.Series(f"n_{w}", np.maximum(total[np.minimum(w, age + 1)], 1)) for w in WINDOWS),
        *(
            pl.Series(f"n_{d}_{w}", np.maximum(by_dow[np.minimum(w, age + 1), d - 1], 1))
            for d in WEEK
            for w in (PROFILE_DAYS, LONGEST)
        ),
    )


def demand_features(
    sales: pl.DataFrame,
    plan: pl.DataFrame,
    series: pl.DataFrame,
    cutoff: date,
    steps: Steps,
) -> pl.DataFrame:
    """DEMAND_FEATURES of each series as of `cutoff`: (store_id, item_id, features), float64.

    `sales` and `plan` hold what was known when the cutoff was over (schema SALES and PLAN); rows
    after the cutoff are ignored. A step without a row of an existing series is one in which
    nothing was sold; closed ones are none. Series that have not sold yet have no row.
    """
    known = sales.filter(pl.col("ds") <= cutoff).join(series, on=KEYS, how="semi")
    f = _with_open_steps(_sums(known, KEYS, cutoff, steps.days), cutoff, steps)
    mean_28 = pl.col("sum_28") / pl.col("n_28")
    promoted = (
        plan.filter((pl.col("ds") <= cutoff) & (pl.col("ds") > cutoff - timedelta(days=28)))
        .group_by(KEYS)
        .agg((pl.col("display", "mailer").sum() / (28 / steps.days)).name.suffix("_28"))
    )
    return (
        f.with_columns(
            *((pl.col(f"sum_{w}") / pl.col(f"n_{w}")).alias(f"mean_{w}") for w in WINDOWS),
            mean_ever=pl.col("sum_ever") / pl.col("n_ever"),
            std_28=(pl.col("squares") / pl.col("n_28") - mean_28**2).clip(0).sqrt(),
            zero_share_28=(1 - pl.col("sold_28") / pl.col("n_28")).clip(0, 1),
            days_since_sale=pl.col("days_since_sale").fill_null(pl.col("age_days") + 1),
            price_ratio=pl.col("price_7") / pl.col("price_84"),
            price_28=pl.coalesce("price_28", "price_84", "price_ever"),
            *(
                (pl.col(f"dow_{d}_{PROFILE_DAYS}") / pl.col(f"n_{d}_{PROFILE_DAYS}")).alias(
                    f"dow_mean_{d}"
                )
                for d in WEEK
            ),
        )
        .join(promoted, on=KEYS, how="left")
        .with_columns(
            pl.col("display_28", "mailer_28").fill_null(0), pl.col("price_ratio").fill_null(1)
        )
        .select(*KEYS, pl.col(DEMAND_FEATURES).cast(pl.Float64))
        .sort(KEYS)
    )


def store_features(
    sales: pl.DataFrame, series: pl.DataFrame, cutoff: date, steps: Steps
) -> pl.DataFrame:
    """STORE_FEATURES of each store as of `cutoff`: (store_id, features), float64.

    Summed over the chosen series of the store; an index of 1 is the store's mean step.
    """
    known = sales.filter(pl.col("ds") <= cutoff).join(series, on=KEYS, how="semi")
    f = _with_open_steps(_sums(known, ["store_id"], cutoff, steps.days), cutoff, steps)
    mean_day = pl.col(f"sum_{LONGEST}") / pl.col(f"n_{LONGEST}")
    return (
        f.with_columns(
            store_mean_28=pl.col("sum_28") / pl.col("n_28"),
            store_mean_56=pl.col("sum_56") / pl.col("n_56"),
            *(
                pl.when(mean_day > 0)
                .then(pl.col(f"dow_{d}_{LONGEST}") / pl.col(f"n_{d}_{LONGEST}") / mean_day)
                .otherwise(1.0)
                .alias(f"store_dow_index_{d}")
                for d in WEEK
            ),
        )
        .select("store_id", pl.col(STORE_FEATURES).cast(pl.Float64))
        .sort("store_id")
    )
