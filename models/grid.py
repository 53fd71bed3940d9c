"""What the frames of a forecast have to hold: one row per series, one finite plan per day."""

from datetime import date

import numpy as np
import polars as pl

from data.schema import KEYS
from data.steps import Steps
from models.dataset import numbers

PLANNED = ["display", "mailer"]
FEW = 1000  # rows that Python compares sooner than a query starts


class BadGrid(ValueError):
    """Frames that a forecast can't be made from."""


def check_grid(features: pl.DataFrame, plan: pl.DataFrame) -> None:
    """Raises BadGrid naming the first series, or series and day, that is there twice or no number.

    `features` has one row per series and cutoff, `plan` one per series and day, or per
    version of it (it may be empty).
    """
    _once(features, [*KEYS, "cutoff"], "features")
    if plan.is_empty():
        return
    _once(plan, [c for c in (*KEYS, "ds", "known_at") if c in plan.columns], "promotion plan")
    counts = numbers(plan, PLANNED)
    if (np.isfinite(counts) & (counts >= 0)).all():
        return
    value = pl.any_horizontal(~(pl.col(c).is_finite() & (pl.col(c) >= 0)) for c in PLANNED)
    bad = plan.filter(value)
    if bad.height:
        cell = bad.select(*KEYS, "ds", *PLANNED).row(0, named=True)
        raise BadGrid(
            f"The promotion plan holds {_named(cell)}, and {bad.height - 1} more cells like it; "
            "display and mailer are counts of products: finite and not below 0."
        )


def _once(frame: pl.DataFrame, key: list[str], what: str) -> None:
    keys = frame[key]
    if keys.height <= FEW and len(set(keys.rows())) == keys.height:
        return
    is_twice = keys.is_duplicated()
    if is_twice.any():
        twice = keys.filter(is_twice)
        raise BadGrid(
            f"The {what} hold {_named(twice.row(0, named=True))} more than once "
            f"({twice.height} rows share a key); keep one row of each."
        )


def _named(row: dict[str, object]) -> str:
    return ", ".join(f"{name}={value!s}" for name, value in row.items())


def missing_cells(plan: pl.DataFrame) -> pl.DataFrame:
    """Cells of the plan without a number: (store_id, item_id, ds, covariate); they count as 0."""
    cells = plan.select(*KEYS, "ds", *PLANNED).unpivot(
        on=PLANNED, index=[*KEYS, "ds"], variable_name="covariate"
    )
    return cells.filter(pl.col("value").is_null()).drop("value").sort(*KEYS, "ds", "covariate")


def unplanned_steps(plan: pl.DataFrame, cutoff: date, horizon: int, steps: Steps) -> list[date]:
    """Target steps of which the plan says nothing about any series; they count as unpromoted.

    An empty plan belongs to data without promotions: nothing is missing there.
    """
    if plan.is_empty():
        return []
    planned = set(plan["ds"].to_list())
    return [ds for ds in steps.ahead(cutoff, horizon) if ds not in planned]
