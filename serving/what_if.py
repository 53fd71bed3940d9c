"""What-ifs: the promotion plan with the changes that a request asks for, and what to warn of."""

from collections.abc import Sequence

import polars as pl

from data.schema import KEYS
from data.steps import Steps
from serving.api.forecasts import Change
from serving.problems import OutOfRange
from serving.source import Model

MAX_CELLS = 28_000  # changes times the series that they are for
INPUTS = ["display", "mailer", "price"]
WORDS = {"display": "products on display", "mailer": "products in the mailer", "price": "a price"}


def changed_plan(
    plan: pl.DataFrame,
    changes: Sequence[Change],
    features: pl.DataFrame,
    horizon: int,
    steps: Steps,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The plan with the changes, with a column `price` where one changes it; and the changes.

    The changes are one row per series and day (KEYS, ds, display, mailer, price), the last one
    counts. Raises OutOfRange for a day that is not forecast, a series that is not asked for, and
    more than MAX_CELLS rows.
    """
    wanted = features.select(*KEYS, "cutoff")
    rows, cells = [], 0
    for n, change in enumerate(changes):
        rows.append(_rows(n, change, wanted, horizon, steps))
        cells += rows[-1].height
        if cells > MAX_CELLS:  # before the rest is built: a change may be for all series
            said = f"changes times series are at most {MAX_CELLS}; the first {n + 1} of "
            raise OutOfRange("/what_if", f"{said}{len(changes)} changes are {cells} already.")
    merged = (
        pl.concat(rows)
        .group_by(*KEYS, "ds", maintain_order=True)
        .agg(pl.col(c).drop_nulls().last() for c in INPUTS)
    )
    both = plan.join(merged, on=[*KEYS, "ds"], how="full", coalesce=True, suffix=" changed")
    columns = [pl.coalesce(f"{c} changed", c, pl.lit(0.0)).alias(c) for c in ("display", "mailer")]
    return both.select(*KEYS, "ds", *columns, "price"), merged


def _rows(n: int, change: Change, wanted: pl.DataFrame, horizon: int, steps: Steps) -> pl.DataFrame:
    """One row per series that the change is for."""
    for name in KEYS:
        value = getattr(change, name)
        if value is not None:
            wanted = wanted.filter(pl.col(name) == value)
    if wanted.is_empty():
        said = f"No series of the request is in store_id={change.store_id!a}, "
        raise OutOfRange(f"/what_if/{n}", f"{said}item_id={change.item_id!a}.")
    cutoffs = wanted["cutoff"].to_list()
    ahead = steps.between(min(cutoffs), steps.after(max(cutoffs), horizon))
    if change.ds not in ahead:
        said = f"ds is one of the {steps.words} {ahead[0]} to {ahead[-1]}, got {change.ds}."
        raise OutOfRange(f"/what_if/{n}/ds", said)
    values = [pl.lit(getattr(change, c), pl.Float64).alias(c) for c in INPUTS]
    return wanted.select(*KEYS, pl.lit(change.ds).alias("ds"), *values)


def idle(model: Model) -> list[str]:
    """A sentence about a model that no change changes; empty for one that learnt from them."""
    if not model.repeats:
        return []
    return [
        f"Model {model.version} ({model.method}) repeats the last week that was known and takes no "
        "account of promotions or prices: the what-if changes nothing."
    ]


def warnings(changes: pl.DataFrame, seen: pl.DataFrame) -> list[str]:
    """Sentences about changes that lie outside of what was seen of their item.

    `seen` has item_id and the columns display, mailer, price `low` and `high` (published.seen).
    """
    said = []
    for row in changes.join(seen, on="item_id", how="left").iter_rows(named=True):
        for name in INPUTS:
            value, low, high = row[name], row[f"{name} low"], row[f"{name} high"]
            if value is None or (low is not None and low <= value <= high):
                continue
            known = "was never seen" if low is None else f"was seen from {low:g} to {high:g}"
            said.append(
                f"{WORDS[name]} of {value:g} for {row['item_id']} is outside of what the model "
                f"has seen: it {known}. The difference is a guess."
            )
    return list(dict.fromkeys(said))[:20]
