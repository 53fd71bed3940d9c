"""Series with no or a short history: features borrowed from analogues, which the answer names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import DEMAND_FEATURES, KEYS, STORE_FEATURES, WINDOWS
from models.conformal import Calibration
from models.dataset import Matrix
from models.metrics import DEPARTMENT

ANALOGUES = 10  # at most, the likest first
NAMED = 3  # of them in the text of a method
SHORT_DAYS = 56  # a series that was not chosen is new for so long after its first sale
TRUSTED_DAYS = 28  # since its first one, after which its own days count as much as analogues
JUDGED = 400  # known series that are hidden to see how far analogues miss
SEED = 1
LEVEL = f"mean_{max(WINDOWS)}"
STORE_MEANS = [(c, c.removeprefix("store_")) for c in STORE_FEATURES if c.startswith("store_mean_")]
IN_UNITS = ("mean_", "std_", "lag_", "dow_mean_")  # features that grow with the series


class NoAnalogue(LookupError):
    """Nothing that is known is like the series that is asked for."""


@dataclass(frozen=True)
class Known:
    """The feature rows of all series at one cutoff, and what analogues are looked up by.

    `units` are daily ones (stores, items), NaN where a store does not sell an item; `at` is the row
    of a series, `of_store` the last of a store: its store features are those of any. `values` are
    the columns `numeric` (rows, columns).
    """

    rows: pl.DataFrame
    stores: dict[str, int]
    items: dict[str, int]
    units: Matrix
    at: dict[tuple[str, str], int]
    of_store: dict[str, int]
    departments: list[str]
    numeric: list[str]
    values: Matrix

    @classmethod
    def of(cls, rows: pl.DataFrame) -> "Known":
        """The lookups of rows with the columns KEYS and DEMAND_FEATURES."""
        keys = list(rows.select(KEYS).iter_rows())
        stores = {s: k for k, s in enumerate(sorted({s for s, _ in keys}))}
        items = {i: k for k, i in enumerate(sorted({i for _, i in keys}))}
        units = np.full((len(stores), len(items)), np.nan)
        for (s, i), level in zip(keys, rows[LEVEL].to_list(), strict=True):
            units[stores[s], items[i]] = level
        departments = rows.select(DEPARTMENT).to_series().to_list()
        at = {key: n for n, key in enumerate(keys)}
        of_store = {s: n for n, (s, _) in enumerate(keys)}
        numeric = [c for c in DEMAND_FEATURES if c in rows.columns]
        values = rows.select(numeric).to_numpy()
        return cls(rows, stores, items, units, at, of_store, departments, numeric, values)


@dataclass(frozen=True)
class _Analogues:
    """Row numbers in the known features, how much each counts, and how much bigger we are."""

    rows: NDArray[np.intp]
    weight: Matrix
    ratio: Matrix
    method: str


def new_series(sales: pl.LazyFrame, series: pl.DataFrame) -> pl.DataFrame:
    """Series that are new: those beside `series` (KEYS) that began to sell in the last SHORT_DAYS
    days of `sales` (KEYS, ds, y), and whose store and item are among `series`.

    New for as long as a forecast leans on analogues, which is what a planner has to know. Others
    began earlier and sold too seldom to be chosen. Columns are KEYS, `since` and `until`, the
    first and the last day with a sale, and `sold`, the units since.
    """
    young = pl.col("since") > pl.col("until").max() - pl.duration(days=SHORT_DAYS)
    return (
        sales.filter(pl.col("y") > 0)
        .group_by(KEYS)
        .agg(since=pl.col("ds").min(), until=pl.col("ds").max(), sold=pl.col("y").sum())
        .filter(young)
        .collect()
        .join(series, on=KEYS, how="anti")
        .join(series, on="store_id", how="semi")
        .join(series, on="item_id", how="semi")
    )


def _like_stores(known: Known, store_id: str, item_id: str) -> _Analogues | None:
    """The item in the stores that are likest in what they sell and in size.

    Two stores are compared on the items that both sell, this one left out: their units are the
    ratio of size, the distance of their shares the difference in kind.
    """
    column = known.items.get(item_id)
    if column is None:
        return None
    here = known.stores.get(store_id)
    candidates = np.flatnonzero(~np.isnan(known.units[:, column]))
    candidates = candidates[candidates != here]
    if not len(candidates):
        return None
    names = list(known.stores)
    if here is None:
        ratio, distance = np.ones(len(candidates)), np.zeros(len(candidates))
    else:
        ratio, distance = _compare(known.units, here, candidates, column)
    nearest = np.argsort(distance, kind="stable")[: ANALOGUES if here is not None else None]
    chosen = candidates[nearest]
    said = ", ".join(names[s] for s in chosen[:NAMED])
    more = f" and {len(chosen) - NAMED} more" if len(chosen) > NAMED else ""
    low, high = ratio[nearest].min(), ratio[nearest].max()
    scale = f"{low:.2g}" if f"{low:.2g}" == f"{high:.2g}" else f"{low:.2g} to {high:.2g}"
    sized = f", times {scale} for the size of store {store_id}" if here is not None else ""
    return _Analogues(
        rows=np.array([known.at[names[s], item_id] for s in chosen]),
        weight=1 / (0.1 + distance[nearest]),
        ratio=ratio[nearest],
        method=f"analogues: {item_id} in stores {said}{more}{sized}",
    )


def _compare(
    units: Matrix, here: int, others: NDArray[np.intp], without: int
) -> tuple[Matrix, Matrix]:
    """How much bigger a store is than each other, and how unlike they are."""
    common = ~np.isnan(units[others]) & ~np.isnan(units[here])
    common[:, without] = False
    mine, theirs = np.where(common, units[here], 0), np.where(common, units[others], 0)
    size, sizes = mine.sum(axis=1), theirs.sum(axis=1)
    comparable = (size > 0) & (sizes > 0)
    ratio = np.where(comparable, size / np.where(comparable, sizes, 1), 1.0)
    shares = mine / np.where(comparable, size, 1)[:, None]
    shares -= theirs / np.where(comparable, sizes, 1)[:, None]
    distance = np.abs(shares).sum(axis=1) + np.abs(np.log(ratio)) / 2
    return ratio, np.where(comparable, distance, 10.0)


def _like_items(known: Known, store_id: str, item_id: str) -> _Analogues | None:
    """What else the store sells, of the same department if there is any of it."""
    mine = [n for (s, i), n in known.at.items() if s == store_id and i != item_id]
    department = item_id.split("|")[0]
    rows = [n for n in mine if known.departments[n] == department] or mine
    if not rows:
        return None
    items = known.rows["item_id"].gather(rows[:NAMED]).to_list()
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return _Analogues(
        rows=np.array(rows),
        weight=np.ones(len(rows)),
        ratio=np.ones(len(rows)),
        method=f"analogues: {', '.join(items)}{more} in store {store_id}",
    )


def analogue_features(
    known: Known, wanted: Sequence[tuple[str, str]], own: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Feature rows of series with no or a short history: the columns of `known`, and `method`.

    `known` are all chosen series at one cutoff, `wanted` pairs (store_id, item_id), `own` (KEYS,
    DEMAND_FEATURES) what is known of those that were not chosen (models.beside). A row is the
    weighted mean of its analogues', what is counted in units scaled by the size of the store: the
    item in like stores, or like items of the store when no other store sells it. A series that is
    among `known` is not its own analogue, as if it were hidden. What `own` says is mixed in, the
    more the longer ago its first day is. Raises NoAnalogue when neither the store nor the item is
    known.
    """
    values = known.values
    scaled = np.array([c.startswith(IN_UNITS) for c in known.numeric])
    mine = {} if own is None else _own_rows(own, known.numeric)
    rows = []
    for store_id, item_id in wanted:
        found = _like_stores(known, store_id, item_id) or _like_items(known, store_id, item_id)
        if found is None:
            raise NoAnalogue(
                f"Neither store {store_id!r} nor item {item_id!r} has sold anything yet, so that "
                "there is nothing to forecast from; list the known series with GET /v1/series."
            )
        borrowed = values[found.rows] * np.where(scaled, found.ratio[:, None], 1.0)
        mean = np.average(borrowed, axis=0, weights=found.weight)
        method = found.method
        if (store_id, item_id) in mine:
            days, sold = mine[store_id, item_id]
            mixed = mean + (sold - mean) * days / (days + TRUSTED_DAYS)
            mean = np.where(np.isnan(sold), mean, mixed)
            method += f", and {days:.0f} {'day' if days == 1 else 'days'} of its own"
        base = known.rows.row(known.of_store.get(store_id, int(found.rows[0])), named=True)
        guessed = dict(zip(known.numeric, mean.tolist(), strict=True))
        if (store_id, item_id) not in known.at and store_id in known.stores:
            # The store grows by what is not among its series.
            base |= {c: base[c] + guessed[of] for c, of in STORE_MEANS if c in base}
        rows.append({**base, **guessed, "store_id": store_id, "item_id": item_id, "method": method})
    return pl.DataFrame(rows, schema={**known.rows.schema, "method": pl.String})


def _own_rows(own: pl.DataFrame, numeric: list[str]) -> dict[tuple[str, str], tuple[float, Matrix]]:
    """Days since the first one, and the features with NaN for null, of each series."""
    values = own.select(pl.col(numeric).fill_null(np.nan)).to_numpy()
    keys = own.select(*KEYS, "age_days").iter_rows()
    return {(s, i): (age + 1, row) for (s, i, age), row in zip(keys, values, strict=True)}


def hidden(known: pl.DataFrame) -> pl.DataFrame:
    """Features that known series would have if they were new: analogue_features of each.

    In what is known of their store, the guess takes the place of their own units. For the backtest.
    """
    rows = analogue_features(Known.of(known), known.select(KEYS).rows())
    return rows.with_columns(
        (pl.col(c) - known[of] + pl.col(of)).clip(0) for c, of in STORE_MEANS if c in known.columns
    )


def level_error(known: pl.DataFrame, calibration: Calibration) -> list[float]:
    """Mean squared relative error of an analogue's level, per tier of the calibration.

    From up to JUDGED known series, drawn by SEED, each hidden in turn. One without an analogue (its
    store sells nothing else that was chosen, no other store its item) says nothing of how far
    guesses miss; where all are such, a guess is taken to miss by as much as it says itself: that
    far a guess is off for a series that sells nothing, and one that is too low has no bound.
    """
    alone = (pl.len().over("store_id") == 1) & (pl.len().over("item_id") == 1)
    liked = known.filter(~alone)
    if liked.is_empty():
        return [1.0] * len(calibration.dispersion)
    drawn = liked.sample(min(JUDGED, liked.height), seed=SEED)
    guessed = analogue_features(Known.of(known), drawn.select(KEYS).rows())[LEVEL].to_numpy()
    error = (guessed - drawn[LEVEL].to_numpy()) ** 2
    tier = calibration.tiers(guessed)
    everything = float(error.sum() / max((guessed**2).sum(), 1e-9))
    return [
        float(error[tier == t].sum() / (guessed[tier == t] ** 2).sum())
        if (tier == t).sum() >= ANALOGUES
        else everything
        for t in range(len(calibration.dispersion))
    ]


def widened(calibration: Calibration, level_error: Sequence[float]) -> Calibration:
    """The calibration of series whose level is guessed: its error adds to the dispersion.

    The error of a guess hardly depends on the series, so that none has a multiple of its own.
    """
    wider = [d + e for d, e in zip(calibration.dispersion, level_error, strict=True)]
    return replace(calibration, dispersion=wider, items={}, series={})
