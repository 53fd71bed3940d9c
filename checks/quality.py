"""Are new sales what this source has delivered so far? Checks against its own history. Pure.

A contract says what any delivery must keep; these say what is usual here. They look for what a
fault in a system does (a factor, a gap, zeros) and leave alone what customers do (a third fewer
trips, prices that rise), which is for the tests of drift and of matured forecasts.
"""

from datetime import date, timedelta
from math import isfinite

import polars as pl

from checks.missing import SERIES, STORES, missing
from checks.report import CheckResult, ContractReport
from data.schema import KEYS
from data.steps import Steps

HISTORY_DAYS = 56
LEAST_HISTORY_DAYS = 28  # every weekday four times; with less nothing is usual yet
LEAST_ROWS = 20  # of a store, or of the whole, for a share to mean anything

FACTOR = 10.0  # a row this far from its series' usual price is a matter of units, not of price
SIZE_FACTOR = 12.0  # a row this far above the largest of its series in eight weeks
LEVEL = (0.64, 1.56)  # a store's typical row: a halved or doubled unit lies outside
LEAST_PAIRS = 200  # rows, for a rank correlation that chance doesn't move by a third
LEAST_ORDER = 0.5  # rank correlation; where series sell alike there is no order to be lost
CHEAP = 0.7  # of the usual price; halfway, in logarithms, between that and half of it
LEFT_TO_CHANCE = 3.0  # standard deviations of a difference of shares; a year has hundreds of days
STEADY = 0.7  # a store or series with rows on this share of days is missed after some days
STEADY_DAYS = 4  # days without a row before it counts as silent

LIMITS = {
    "rows far from their usual price": 0.03,
    "rows far above their usual quantity": 0.01,
    "fall in the rank correlation of quantities with their series": 0.35,
    "rise in the share of cheap rows, even quantities over odd": 0.06,
    "stores whose prices jumped": 0.25,
    "stores whose quantities jumped": 0.60,
    "rise in the share of zero rows": 0.03,
    "steady stores without a row": 0.08,
    "steady series without a row": 0.08,
    "rows against the weeks before, robust z": 12.0,
    STORES: 0.17,
    SERIES: 0.05,
}


def against_history(fresh: pl.DataFrame, before: pl.DataFrame, *, steps: Steps) -> ContractReport:
    """Compares the rows of some days with the eight weeks before the first of them.

    Both have store_id, item_id, ds, y and price. Fails what lies beyond its limit in LIMITS; a
    check that can't be made (too little history, too few days) is left out.
    """
    if fresh.is_empty():
        return ContractReport("history", ())
    first: date = fresh["ds"].min()  # type: ignore[assignment]
    before = before.filter(
        (pl.col("ds") < first) & (pl.col("ds") >= first - timedelta(days=HISTORY_DAYS))
    )
    if before["ds"].n_unique() * steps.days < LEAST_HISTORY_DAYS:
        return ContractReport("history", ())
    opened = [ds for ds in _steps(fresh, steps) if not steps.is_closed(ds)]
    open_days = steps.days * len(opened)
    measured = {
        **_rows_of_series(fresh, before),
        **_pairs(fresh, before),
        **_order(fresh, before),
        **_zeros(fresh, before),
        **_silent(fresh, before, open_days),
        **_volume(fresh, before, open_days),
        **missing(fresh.filter(pl.col("ds").is_in(opened)), before),
    }
    return ContractReport("history", tuple(_result(k, v) for k, v in measured.items()))


def _result(check: str, measured: float) -> CheckResult:
    limit = LIMITS[check]
    outcome = "passed" if abs(measured) <= limit else "failed"
    return CheckResult(check, outcome, round(measured, 6), f"at most {limit:g}")  # type: ignore[arg-type]


def _steps(fresh: pl.DataFrame, steps: Steps) -> list[date]:
    first: date = fresh["ds"].min()  # type: ignore[assignment]
    last: date = fresh["ds"].max()  # type: ignore[assignment]
    return [first, *steps.between(first, last)]


def _rows_of_series(fresh: pl.DataFrame, before: pl.DataFrame) -> dict[str, float]:
    """Single rows and stores against the usual price and quantity of their series."""
    sold = before.filter(pl.col("y") > 0)
    usual = sold.group_by(KEYS).agg(
        usual_price=pl.col("price").median(),
        usual_y=pl.col("y").median(),
        most=pl.col("y").max(),
        n=pl.len(),
    )
    rows = fresh.filter(pl.col("y") > 0).join(usual.filter(pl.col("n") >= 4), on=KEYS)
    rows = rows.with_columns(
        price_ratio=pl.col("price") / pl.col("usual_price"), size=pl.col("y") / pl.col("usual_y")
    )
    if rows.height < LEAST_ROWS:
        return {}
    far = (pl.col("price_ratio") > FACTOR) | (pl.col("price_ratio") < 1 / FACTOR)
    stores = (
        rows.group_by("store_id")
        .agg(pl.col("price_ratio").median(), pl.col("size").median(), n=pl.len())
        .filter(pl.col("n") >= LEAST_ROWS)
    )
    measured = {
        "rows far from their usual price": rows.select(far.fill_null(False).mean()).item(),
        "rows far above their usual quantity": rows.select(
            (pl.col("y") > SIZE_FACTOR * pl.col("most")).mean()
        ).item(),
    }
    if stores.height >= LEAST_ROWS:
        for name, column in (("prices", "price_ratio"), ("quantities", "size")):
            jumped = ~pl.col(column).is_between(*LEVEL)
            measured[f"stores whose {name} jumped"] = stores.select(
                jumped.fill_null(False).mean()
            ).item()
    return measured


def _pairs(fresh: pl.DataFrame, before: pl.DataFrame) -> dict[str, float]:
    """Singles counted as pairs, in some rows: twice the quantity, always even, at half the price.

    Promotions and falls of prices make rows of odd quantities cheap as well: these are the control.
    Fractions are neither odd nor even, and take no part.
    """
    both = [f.select(*KEYS, "y", "price", now=pl.lit(i)) for i, f in enumerate((before, fresh))]
    sold = pl.concat(both).filter((pl.col("y") > 0) & pl.col("price").is_not_null())
    usual = sold.filter(now=0).group_by(KEYS).agg(usual=pl.col("price").median(), n=pl.len())
    cheap = pl.col("price") < CHEAP * pl.col("usual")
    cells = (
        sold.join(usual.filter(pl.col("n") >= 4), on=KEYS)
        .with_columns(odd=pl.col("y") % 2)
        .filter(pl.col("odd").is_in([0.0, 1.0]))
        .group_by("now", "odd")
        .agg(share=(cheap.sum() + 0.5) / (pl.len() + 1), n=pl.len())
        .sort("now", "odd")
    )
    if cells.height < 4 or cells["n"].min() < LEAST_ROWS:  # type: ignore[operator]
        return {}
    (even_before, odd_before, even, odd), p = cells["share"], cells["share"]
    chance = LEFT_TO_CHANCE * float((p * (1 - p) / cells["n"]).sum()) ** 0.5
    rise = (even - odd) - (even_before - odd_before) - chance
    return {"rise in the share of cheap rows, even quantities over odd": max(0.0, rise)}


def _order(fresh: pl.DataFrame, before: pl.DataFrame) -> dict[str, float]:
    """Whether what sold more still sells more: quantities that changed places keep their sums."""
    sold = before.filter(pl.col("y") > 0)
    means = sold.group_by(KEYS).agg(mean=pl.col("y").mean(), n=pl.len()).filter(pl.col("n") >= 4)
    means = means.join(fresh, on=KEYS, how="semi")  # a delivery of few series has less of an order
    pairs = [rows.filter(pl.col("y") > 0).join(means, on=KEYS) for rows in (before, fresh)]
    if min(p.height for p in pairs) < LEAST_PAIRS:
        return {}
    usual, now = (p.select(pl.corr("y", "mean", method="spearman")).item() for p in pairs)
    if not usual >= LEAST_ORDER:  # NaN where all quantities are the same
        return {}
    kept = now / usual if isfinite(now) else 0.0
    return {"fall in the rank correlation of quantities with their series": max(0.0, 1.0 - kept)}


def _zeros(fresh: pl.DataFrame, before: pl.DataFrame) -> dict[str, float]:
    if fresh.height < LEAST_ROWS or before.is_empty():
        return {}
    now, usual = (frame.select((pl.col("y") == 0).mean()).item() for frame in (fresh, before))
    return {"rise in the share of zero rows": max(0.0, now - usual)}


def _silent(fresh: pl.DataFrame, before: pl.DataFrame, days: int) -> dict[str, float]:
    """Stores and series that have a row on most days and now had none for days."""
    n = before["ds"].n_unique()
    measured = {}
    for name, keys in (("stores", ["store_id"]), ("series", KEYS)):
        usual = before.group_by(keys).agg(days=pl.col("ds").n_unique())
        usual = usual.filter(pl.col("days") >= STEADY * n)
        if days >= STEADY_DAYS and usual.height >= LEAST_ROWS:
            silent = usual.join(fresh, on=keys, how="anti").height
            measured[f"steady {name} without a row"] = silent / usual.height
    return measured


def _volume(fresh: pl.DataFrame, before: pl.DataFrame, days: int) -> dict[str, float]:
    """Rows of a whole week, in robust standard deviations of the weeks before."""
    if days != 7:
        return {}
    first = fresh["ds"].min()
    weeks = before.group_by((pl.lit(first) - pl.col("ds")).dt.total_days().sub(1) // 7).len()["len"]
    if weeks.len() < LEAST_HISTORY_DAYS // 7:
        return {}
    middle = float(weeks.median())  # type: ignore[arg-type]
    spread = 1.4826 * float((weeks - middle).abs().median())  # type: ignore[arg-type]
    # Eight weeks may lie together by chance: counts differ by their root, trade by some percent.
    z = (fresh.height - middle) / max(spread, 2 * middle**0.5, 0.04 * middle, 1.0)
    return {"rows against the weeks before, robust z": z}
