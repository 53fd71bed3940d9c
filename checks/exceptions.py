"""Which series a planner should look at, most money first, with the reason in words.

The thresholds are those that planning tools use: a tracking signal beyond 4 (Trigg, Operational
Research Quarterly 15(3), 1964), a coverage that chance alone would give once in a hundred series.
"""

from datetime import date, timedelta

import polars as pl
from scipy.stats import binom

from data.schema import KEYS
from data.steps import Steps
from models.cold_start import new_series

MISS_DAYS = 7  # the newest week is searched for misses
MISS_SHARE = 0.5  # a miss is off by at least this share of what was forecast
TRACKING_SIGNAL = 4.0
# A sum of n independent errors spreads as their deviation times the root of n: what chance alone
# gives once in a hundred series is no bias.
SIGMAS, SIGMA_OF_MAD = 2.58, 1.25
MIN_STEPS = 14  # rows that a bias or a coverage needs, days or weeks
COVERAGE, CHANCE = 0.8, 0.01
SILENT_PROBABILITY = 0.01  # that many days without a sale would be that improbable
PROMOTION_DAYS = 7  # promotions that begin within so many days
PROMOTION_RATIO = 1.5  # products promoted, over those of the last four weeks

COLUMNS = [*KEYS, "kind", "reason", "value", "since", "until"]


def exceptions(
    daily: pl.DataFrame,
    prices: pl.DataFrame,
    plan: pl.DataFrame,
    sales: pl.DataFrame,
    series: pl.DataFrame,
    today: date,
    steps: Steps,
) -> pl.DataFrame:
    """Exceptions of every kind, largest value first; `today` is the last day of sales.

    `daily` holds one forecast per series and day that is over, with `y` (schema FORECAST); `prices`
    (KEYS, price); `plan` past and coming days (KEYS, ds, display, mailer); `sales` all days known
    (KEYS, ds, y), of other series too; `series` (KEYS) those that are forecast. Columns are those
    of the published table `exceptions`.
    """
    priced = daily.join(prices, on=KEYS, how="left").with_columns(pl.col("price").fill_null(0))
    found = [
        _misses(priced, today, steps),
        _biases(priced, steps),
        _coverages(priced, steps),
        _stock_outs(priced, today),
        _promotions(plan, sales, prices, today, steps),
        _new(sales, series, prices),
    ]
    return pl.concat([f.select(COLUMNS) for f in found]).sort(
        "value", *KEYS, "kind", descending=[True, False, False, False]
    )


def _number(name: str) -> pl.Expr:
    return pl.col(name).round(0).cast(pl.Int64)


def _spelt(rows: str, steps: Steps) -> pl.Expr:
    """A number of rows as people say it: 28 days, 1 week."""
    plural = pl.when(pl.col(rows) == 1).then(pl.lit("")).otherwise(pl.lit("s"))
    return pl.format("{} " + steps.unit + "{}", pl.col(rows), plural)


def _misses(priced: pl.DataFrame, today: date, steps: Steps) -> pl.DataFrame:
    week = priced.filter(pl.col("ds") > today - timedelta(days=MISS_DAYS))
    sums = week.group_by(KEYS).agg(
        pl.col("y", "y_hat").sum(),
        pl.col("price").first(),
        since=pl.col("ds").min(),
        until=pl.col("ds").max(),
        outside=(~pl.col("y").is_between(pl.col("q0.1"), pl.col("q0.9"))).sum(),
        days=pl.len(),
    )
    missed = sums.filter(
        ((pl.col("y") - pl.col("y_hat")).abs() > MISS_SHARE * pl.col("y_hat"))
        & (pl.col("outside") > 0)
    )
    more = pl.when(pl.col("y") > pl.col("y_hat")).then(pl.lit("more")).otherwise(pl.lit("less"))
    return missed.with_columns(
        kind=pl.lit("miss"),
        value=(pl.col("y") - pl.col("y_hat")).abs() * pl.col("price"),
        reason=pl.format(
            "Sold {} than forecast: {} units instead of {} in {}, on {} of them outside the "
            "likely range.",
            *(more, _number("y"), _number("y_hat"), _spelt("days", steps), pl.col("outside")),
        ),
    )


def _biases(priced: pl.DataFrame, steps: Steps) -> pl.DataFrame:
    error = pl.col("y") - pl.col("y_hat")
    sums = priced.group_by(KEYS).agg(
        error=error.sum(),
        mad=error.abs().mean(),
        days=pl.len(),
        price=pl.col("price").first(),
        since=pl.col("ds").min(),
        until=pl.col("ds").max(),
    )
    biased = sums.filter(
        (pl.col("days") >= MIN_STEPS)
        & (pl.col("error").abs() > TRACKING_SIGNAL * pl.col("mad"))
        & (pl.col("error").abs() > SIGMAS * SIGMA_OF_MAD * pl.col("mad") * pl.col("days").sqrt())
    )
    side = pl.when(pl.col("error") > 0).then(pl.lit("low")).otherwise(pl.lit("high"))
    return biased.with_columns(
        kind=pl.lit("bias"),
        value=pl.col("error").abs() * pl.col("price"),
        reason=pl.format(
            "Forecasts are steadily too {}: {} units in {}, {} times the usual miss of a {}.",
            side,
            pl.col("error").abs().round(0).cast(pl.Int64),
            _spelt("days", steps),
            (pl.col("error").abs() / pl.col("mad")).round(1),
            pl.lit(steps.unit),
        ),
    )


def _coverages(priced: pl.DataFrame, steps: Steps) -> pl.DataFrame:
    above = (pl.col("y") > pl.col("q0.9")) | (pl.col("y") < pl.col("q0.1"))
    over = pl.max_horizontal(pl.col("y") - pl.col("q0.9"), pl.col("q0.1") - pl.col("y"), 0)
    sums = priced.group_by(KEYS).agg(
        outside=above.sum(),
        days=pl.len(),
        value=(over * pl.col("price")).sum(),
        since=pl.col("ds").min(),
        until=pl.col("ds").max(),
    )
    allowed = {n: int(binom.ppf(1 - CHANCE, n, 1 - COVERAGE)) for n in sums["days"].unique()}
    limit = pl.col("days").replace_strict(allowed, return_dtype=pl.Int64, default=None)
    broken = sums.filter((pl.col("days") >= MIN_STEPS) & (pl.col("outside") > limit))
    return broken.with_columns(
        kind=pl.lit("coverage"),
        reason=pl.format(
            "Sales were outside the 80 % likely range on {} of {}; the range is too narrow.",
            *(pl.col("outside"), _spelt("days", steps)),
        ),
    )


def _stock_outs(priced: pl.DataFrame, today: date) -> pl.DataFrame:
    """Days without a sale up to today whose probability is small: Poisson, by the forecast."""
    last_sale = priced.filter(pl.col("y") > 0).group_by(KEYS).agg(sold_on=pl.col("ds").max())
    silent = (
        priced.join(last_sale, on=KEYS, how="left")
        .filter(pl.col("ds") > pl.col("sold_on").fill_null(date.min))
        .group_by(KEYS)
        .agg(
            expected=pl.col("y_hat").sum(),
            days=pl.len(),
            price=pl.col("price").first(),
            since=pl.col("ds").min(),
            until=pl.col("ds").max(),
        )
        .filter(((-pl.col("expected")).exp() < SILENT_PROBABILITY) & (pl.col("until") == today))
    )
    return silent.with_columns(
        kind=pl.lit("stock-out"),
        value=pl.col("expected") * pl.col("price"),
        reason=pl.format(
            "Nothing sold since {} where {} units were expected; probably out of stock.",
            pl.col("since"),
            pl.col("expected").round(1),
        ),
    )


def _promotions(
    plan: pl.DataFrame, sales: pl.DataFrame, prices: pl.DataFrame, today: date, steps: Steps
) -> pl.DataFrame:
    promoted = plan.with_columns(products=pl.sum_horizontal("display", "mailer"))
    recently = pl.col("ds").is_between(today - timedelta(days=27), today)
    a_step = pl.col("products").sum() / (28 / steps.days)  # one without a row has none
    before = promoted.filter(recently).group_by(KEYS).agg(usual=a_step)
    ahead = (
        promoted.filter(
            (pl.col("ds") > today) & (pl.col("ds") <= today + timedelta(days=PROMOTION_DAYS))
        )
        .group_by(KEYS)
        .agg(
            products=pl.col("products").max(),
            since=pl.col("ds").min(),
            until=pl.col("ds").max(),
        )
        .join(before, on=KEYS, how="left")
        .filter(pl.col("products") >= PROMOTION_RATIO * pl.col("usual").fill_null(0) + 1)
    )
    recent = (
        sales.filter(pl.col("ds") > today - timedelta(days=28))
        .group_by(KEYS)
        .agg(sold=pl.col("y").sum() / 28)
    )
    return (
        ahead.join(prices, on=KEYS)
        .join(recent, on=KEYS)
        .with_columns(
            kind=pl.lit("promotion"),
            value=pl.col("sold")
            * ((pl.col("until") - pl.col("since")).dt.total_days() + steps.days)
            * pl.col("price"),
            reason=pl.format(
                "A promotion is ahead: {} products on display or in the mailer, usually {}.",
                _number("products"),
                pl.col("usual").fill_null(0).round(1),
            ),
        )
    )


def _new(sales: pl.DataFrame, series: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    return (
        new_series(sales.lazy(), series)
        .join(prices, on=KEYS, how="left")
        .with_columns(
            kind=pl.lit("new"),
            value=pl.col("sold") * pl.col("price").fill_null(0),
            reason=pl.format(
                "New: sold for the first time on {}, {} units since; too little history for a "
                "forecast of its own, so it is made from what is like it.",
                pl.col("since"),
                _number("sold"),
            ),
        )
    )
