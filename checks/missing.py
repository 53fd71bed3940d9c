"""Does a day lack stores or rows, or did demand fall? Pure.

Demand that falls to a share f thins shopping trips everywhere: of days on which a store or series
had a row with chance p, it now has one with 1 - (1 - p) ** f, as trips are counts by Poisson. The
small ones fall silent and the large ones stay. What a system loses is missing among large and small
alike, and so more is missing among the large ones than any fall explains.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import KEYS

Matrix = NDArray[np.float64]

STORES = "stores missing on a day that no fall in demand explains"
SERIES = "steady series missing on a day that no fall in demand explains"

DEMAND = (0.1, 3.0)  # of a day, over that of the weeks before
GRID = np.linspace(*DEMAND, 59)
STEADY = 0.75  # chance of a row from which on a series is large
CHANCE = 2.0  # standard deviations of a count that are left to chance
LEAST_ROWS = 20  # of a usual day


@dataclass(frozen=True)
class Usual:
    """Chance of a row on a day of each store and series at each of GRID, from weeks before.

    `stores` (store_id) and `series` (KEYS, with the number `store` of its store) are in the order
    of the rows of `store_stays` and `row_stays`, the latter given that the store has any row;
    `steady` (series,) marks the large ones.
    """

    stores: pl.DataFrame
    series: pl.DataFrame
    store_stays: Matrix
    row_stays: Matrix
    steady: NDArray[np.bool_]


def usual(before: pl.DataFrame) -> Usual:
    """What `before` (store_id, item_id, ds) says of a usual day; it has a row at least."""
    days = before["ds"].n_unique()
    chance = (pl.col("ds").n_unique() + 0.5) / (days + 1)
    stores = before.group_by("store_id").agg(chance=chance).sort("store_id")
    series = before.group_by(KEYS).agg(chance=chance).sort(KEYS)
    numbered = stores.select("store_id").with_row_index("store")
    series = series.join(numbered, on="store_id", maintain_order="left")
    of_stores, of_series = (
        1 - (1 - frame["chance"].to_numpy()[:, None]) ** GRID for frame in (stores, series)
    )
    # How large a store is that never was silent nobody knows: its rows are given anyway.
    known = stores["chance"].to_numpy()[:, None] < 1 - 1 / (days + 1)
    given = np.where(known, of_stores, 1.0)[series["store"].to_numpy()]
    steady = (series["chance"] >= STEADY).to_numpy()
    return Usual(stores, series, of_stores, of_series / given, steady)


def unexplained(now: pl.DataFrame, seen: Usual) -> dict[str, float]:
    """Shares of stores and of steady series that are missing on a day, `now` its rows.

    The day's demand is what makes its number of rows likely, given the stores that have any. What
    that leaves to be expected of all stores, and of steady series in those stores, is compared with
    what is there; CHANCE standard deviations are taken off. Negative when nothing is missing.
    """
    has_store = seen.stores["store_id"].is_in(now["store_id"].unique().to_list()).to_numpy()
    there = seen.series.join(
        now.select(*KEYS, there=pl.lit(True)).unique(), on=KEYS, how="left", maintain_order="left"
    )["there"]
    has_row, store = there.fill_null(False).to_numpy(), seen.series["store"].to_numpy()
    in_store = has_store[store]
    demand = float(np.interp(has_row.sum(), seen.row_stays[in_store].sum(axis=0), GRID))
    judged = seen.steady & in_store
    return {
        STORES: _missing(_at(seen.store_stays, demand), has_store),
        SERIES: _missing(_at(seen.row_stays[judged], demand), has_row[judged]),
    }


def _at(stays: Matrix, demand: float) -> Matrix:
    """Chances (n,) at a demand between those of GRID."""
    place = np.interp(demand, GRID, np.arange(len(GRID)))
    low, part = int(place), place - int(place)
    high = min(low + 1, len(GRID) - 1)
    return np.asarray((1 - part) * stays[:, low] + part * stays[:, high])


def _missing(chance: Matrix, there: NDArray[np.bool_]) -> float:
    expected = float(chance.sum())
    if not expected:
        return 0.0
    spread = float(np.sqrt((chance * (1 - chance)).sum()))
    return (expected - CHANCE * spread - float(there.sum())) / expected


def missing(fresh: pl.DataFrame, before: pl.DataFrame) -> dict[str, float]:
    """STORES and SERIES of the day of `fresh` that lacks most; nothing where days are too thin.

    Both have store_id, item_id and ds; `before` are the weeks before `fresh`, closed days take part
    in neither.
    """
    if fresh.is_empty() or before.height < LEAST_ROWS * max(1, before["ds"].n_unique()):
        return {}
    seen = usual(before)
    days = [unexplained(now, seen) for _, now in fresh.group_by("ds")]
    return {check: max(0.0, *(day[check] for day in days)) for check in (STORES, SERIES)}
