"""Joint sample paths: days and series that move together, each day with its own distribution."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from data.schema import KEYS
from models import counts
from models.conformal import GRID, Calibration
from models.dataset import Matrix

Draws = NDArray[np.float32]

DRAWS = 500
SEED = 1  # fixed, so that a figure moves only when what is known does
MOST_SHARED = 0.95  # of the variance of a day; the rest is its own
CHUNK = 32  # series whose tables are in memory together
REACH, CELLS = 4.0, 1024  # normal scores are looked up in a table from -REACH to REACH
SCORES = (np.arange(CELLS) + 0.5) * (2 * REACH / CELLS) - REACH


@dataclass(frozen=True)
class Dependence:
    """How errors move together: variances of shocks that multiply forecasts; kept in the manifest.

    A shock is shared by a chain, a store or an item, on one day or for the whole horizon. That of a
    store's day is in units: its variance is `store_day` over the store's daily volume, since one
    big basket weighs more where few are sold. Likewise the error of a series' level is `series`
    over its daily volume. `volumes` are the daily units of the stores. `chain_day` is one for all
    days, or for each step of the horizon (horizon,) its own.
    """

    chain: float
    chain_day: float | Matrix
    store: float
    store_day: float
    item: float
    item_day: float
    series: float
    volumes: dict[str, float]

    def store_day_of(self, store_id: str) -> float:
        """Variance of the day's shock of a store; that of the median store for a new one."""
        usual = float(np.median(list(self.volumes.values()))) if self.volumes else 1.0
        return self.store_day / max(self.volumes.get(store_id, usual), 1e-9)


def estimate(scored: pl.DataFrame) -> Dependence:
    """Dependence from days that the model had not seen.

    `scored` has (store_id, item_id, cutoff, ds, y, y_hat). Method of moments: the products of the
    errors of two days over those of their forecasts, summed over all pairs that share a chain,
    store, item or day, less what is shared by any pair. Sums over pairs are differences of squared
    group sums, so that no pair is ever formed. A variance is never less than 0.
    """
    rows = scored.filter(pl.col("y").is_not_null() & (pl.col("y_hat") > 0)).with_columns(
        e=pl.col("y") - pl.col("y_hat")
    )
    days = rows.select(pl.struct("cutoff", "ds").n_unique()).item()
    volumes = dict(
        rows.group_by("store_id").agg(pl.col("y_hat").sum() / days).sort("store_id").iter_rows()
    )
    per_volume = pl.col("store_id").replace_strict(volumes, return_dtype=pl.Float64).sqrt()
    e, m = _pairs(rows, "e"), _pairs(rows, "y_hat")
    in_baskets = _pairs(rows.with_columns(s=pl.col("y_hat") / per_volume), "s")["store_day"]
    in_level = _pairs(rows.with_columns(s=pl.col("y_hat").sqrt()), "s")["series"]
    chain = _ratio(e["chain"], m["chain"])
    store = _ratio(e["store"] - chain * m["store"], m["store"])
    item = _ratio(e["item"] - chain * m["item"], m["item"])
    day = _ratio(e["day"] - chain * m["day"], m["day"])
    shared = (chain + day + store) * m["store_day"]
    return Dependence(
        chain=chain,
        chain_day=day,
        store=store,
        store_day=_ratio(e["store_day"] - shared, in_baskets),
        item=item,
        item_day=_ratio(e["item_day"] - (chain + day + item) * m["item_day"], m["item_day"]),
        series=_ratio(e["series"] - (chain + store + item) * m["series"], in_level),
        volumes=volumes,
    )


def _ratio(above: float, below: float) -> float:
    return max(above / below, 0.0) if below > 0 else 0.0


def _pairs(rows: pl.DataFrame, column: str) -> dict[str, float]:
    """Sums of products over the pairs of days of one origin that have in common what the key says.

    `store_day` are two items of a store on one day, `store` two items of it on two days, `day` two
    stores and items on one day, `chain` on two, `series` two days of one series, and so on.
    """

    def squares(*by: str) -> float:
        groups = rows.group_by("cutoff", *by).agg(pl.col(column).sum())
        return float((groups[column] ** 2).sum())

    own, all_days = squares(*KEYS, "ds"), squares(*KEYS)
    store_day, item_day, day = (
        squares("store_id", "ds"),
        squares("item_id", "ds"),
        squares("ds"),
    )
    store, item, chain = squares("store_id"), squares("item_id"), squares()
    series = all_days - own
    return {
        "series": series,
        "store_day": store_day - own,
        "item_day": item_day - own,
        "day": day - store_day - item_day + own,
        "store": store - store_day - series,
        "item": item - item_day - series,
        "chain": chain - day - (store - store_day) - (item - item_day) + series,
    }


class _Shocks:
    """Shocks by name, the same whoever asks: a series alone moves as it does among all."""

    def __init__(self, dependence: Dependence, horizon: int, draws: int, seed: int) -> None:
        self.dependence, self.horizon, self.draws, self.seed = dependence, horizon, draws, seed
        self._kept: dict[tuple[str, str], Draws] = {}

    def normals(self, *name: str, days: int) -> Draws:
        """Standard normal numbers (days, draws) that belong to a name."""
        text = "\x1f".join([str(self.seed), *name]).encode()
        key = np.frombuffer(blake2b(text, digest_size=16).digest(), dtype=np.uint64)
        stream = np.random.Generator(np.random.Philox(key=key))
        return stream.standard_normal((days, self.draws), dtype=np.float32)

    def shared(self, kind: str, name: str, whole: float, day: float | Matrix) -> Draws:
        """Shock (horizon, draws) of variance `whole` for all days plus `day` for each."""
        if (kind, name) not in self._kept:
            constant = np.float32(np.sqrt(whole)) * self.normals(kind, name, days=1)
            daily = self.normals(kind, name, "day", days=self.horizon)
            daily *= _column(np.sqrt(np.broadcast_to(day, self.horizon)))
            self._kept[kind, name] = constant + daily
        return self._kept[kind, name]

    def of(self, store_id: str, item_id: str) -> tuple[Draws, Matrix]:
        """Sum (horizon, draws) of the shocks that a series shares with others; its variance."""
        d = self.dependence
        store_day = d.store_day_of(store_id)
        total = (
            self.shared("chain", "", d.chain, d.chain_day)
            + self.shared("store", store_id, d.store, store_day)
            + self.shared("item", item_id, d.item, d.item_day)
        )
        variance = d.chain + d.chain_day + d.store + store_day + d.item + d.item_day
        return total, np.broadcast_to(variance, self.horizon)


def sample(
    keys: Sequence[tuple[str, str]],
    y_hat: Matrix,
    calibration: Calibration,
    dependence: Dependence,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Iterator[tuple[int, Draws]]:
    """Yields row number and sample paths (steps, draws) of each series, in units.

    `keys` are (store_id, item_id) of the rows of `y_hat` (n, steps), whose columns are the steps
    1, 2, …. A Gaussian copula: every day of every series has the quantiles of models.conformal,
    and shared shocks move them together, as strongly as gives the covariances of `dependence`.
    Deterministic; a series' paths depend neither on the other rows nor on the number of steps.
    """
    shocks = _Shocks(dependence, calibration.horizon, draws, seed)
    times = calibration.times(pl.DataFrame(keys, dict.fromkeys(KEYS, pl.String), orient="row"))
    n, steps = y_hat.shape
    order = np.argsort(y_hat.sum(axis=1), kind="stable")
    weight = SCORES * np.exp(-(SCORES**2) / 2) / np.sqrt(2 * np.pi) * (2 * REACH / CELLS)
    for at in range(0, n, CHUNK):
        rows = order[at : at + CHUNK]
        table = _tables(y_hat[rows], times[rows], calibration)
        response = np.maximum(table.reshape(len(rows), steps, CELLS) @ weight, 1e-9)
        for k, row in enumerate(rows):
            mean, answer = y_hat[row], response[k]
            common, variance = shocks.of(*keys[row])
            lean, drift = mean / answer, np.sqrt(dependence.series * mean) / answer
            total = lean**2 * variance[:steps] + drift**2
            fit = np.sqrt(np.minimum(1.0, MOST_SHARED / np.maximum(total, 1e-12)))
            own = np.sqrt(1 - total * fit**2)
            store_id, item_id = keys[row]
            score = common[:steps] * _column(lean * fit)
            score += shocks.normals("level", store_id, item_id, days=1) * _column(drift * fit)
            noise = shocks.normals("own", store_id, item_id, days=calibration.horizon)
            score += noise[:steps] * _column(own)
            yield int(row), _look_up(score, table[k * steps : (k + 1) * steps])


def _column(values: Matrix) -> Draws:
    return values.astype(np.float32)[:, None]


def _look_up(score: Draws, table: Draws) -> Draws:
    """Units of normal scores (steps, draws) by each step's table (steps, CELLS)."""
    cell = ((score + np.float32(REACH)) * np.float32(CELLS / (2 * REACH))).astype(np.int32)
    np.clip(cell, 0, CELLS - 1, out=cell)
    cell += (np.arange(len(table), dtype=np.int32) * CELLS)[:, None]
    return table.ravel()[cell]


def _tables(y_hat: Matrix, times: Matrix, calibration: Calibration) -> Draws:
    """Quantiles (n * steps, CELLS) of every day (n, steps) at the probabilities of SCORES.

    `times` (n,) are those of the series.
    """
    n, steps = y_hat.shape
    mean, step = y_hat.ravel(), np.tile(np.arange(1, steps + 1), n)
    spread = calibration.spread(mean, times.repeat(steps))
    cell, ranks = calibration.cells(mean, step)
    result = np.zeros((len(mean), CELLS), dtype=np.float32)
    for rows, table in counts.tables(mean, spread):
        score = np.empty(table.shape)
        for number in np.unique(cell[rows]):
            here = cell[rows] == number
            score[here] = ndtri(np.interp(table[here], ranks[number], GRID))
        first = np.floor((score + REACH) * (CELLS / (2 * REACH)) - 0.5) + 1
        at = np.clip(first, 0, CELLS).astype(np.int64)
        at += (np.arange(len(rows)) * (CELLS + 1))[:, None]
        steps_up = np.bincount(at.ravel(), minlength=len(rows) * (CELLS + 1))
        result[rows] = np.cumsum(steps_up.reshape(len(rows), -1), axis=1)[:, :CELLS]
    large = np.flatnonzero(mean > counts.LARGE)
    if len(large):
        p = np.array([np.interp(ndtr(SCORES), GRID, r) for r in ranks])[cell[large]]
        result[large] = counts.quantiles(p, mean[large], spread[large])
    return result
