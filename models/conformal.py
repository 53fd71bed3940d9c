"""Predictive distributions from out-of-sample errors: conformal, by volume of forecast and lead."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import KEYS
from models import counts
from models.dataset import Matrix

TIERS, LEADS = 10, 4
SEED = 1
LEAST = 200  # days that a cell is calibrated on; fewer tiers when there are fewer days
TIMES = tuple(2 ** (k / 2) for k in range(-6, 7))  # multiples of a dispersion that are tried
ITEM_SPREAD, SERIES_SPREAD = 1.0, 0.6  # deviations of log2 of a multiple before anything is seen
PARTS = 4  # of a doubling that multiples are rounded to: few of them need few tables
GRID = (0.0, 0.005, 0.01, 0.025, *(k / 20 for k in range(1, 20)), 0.975, 0.99, 0.995, 1.0)


@dataclass(frozen=True)
class Calibration:
    """How far actuals fell from forecasts; plain lists, kept in the manifest.

    A forecast belongs to a tier by its volume (`edges`, units, ascending) and to one of the LEADS
    equal parts of the `horizon`. `dispersion` (tiers) is that of models.counts. `series` says what
    it is multiplied by, by store and item, `items` the same of an item in stores where it has no
    multiple of its own; an item that is not there has 1. `ranks` (tiers, leads, GRID) says which
    probability of that distribution was not exceeded by a share GRID of the actuals.
    """

    horizon: int
    edges: list[float]
    dispersion: list[float]
    items: dict[str, float]
    ranks: list[list[list[float]]]
    series: dict[str, dict[str, float]] = field(default_factory=dict)

    def tiers(self, y_hat: Matrix) -> NDArray[np.intp]:
        """Tier of each forecast (n,)."""
        return np.searchsorted(np.asarray(self.edges), y_hat, side="right")

    def times(self, rows: pl.DataFrame) -> Matrix:
        """What the dispersion of each row's series (store_id, item_id) is multiplied by, (n,)."""
        pairs = zip(rows["store_id"].to_list(), rows["item_id"].to_list(), strict=True)
        usual, own, none = self.items, self.series, dict[str, float]()
        return np.array([own.get(s, none).get(i, usual.get(i, 1.0)) for s, i in pairs])

    def spread(self, y_hat: Matrix, times: Matrix) -> Matrix:
        """Dispersion around each forecast (n,), of series whose multiples are `times` (n,)."""
        return np.asarray(self.dispersion)[self.tiers(y_hat)] * times

    def cells(self, y_hat: Matrix, step: NDArray[np.int_]) -> tuple[NDArray[np.intp], Matrix]:
        """Number of each day's cell (n,) and the `ranks` of the cells (cells, GRID)."""
        lead = (np.asarray(step) - 1) * LEADS // self.horizon
        return self.tiers(y_hat) * LEADS + lead, self._table

    @cached_property
    def _table(self) -> Matrix:
        return np.asarray(self.ranks).reshape(-1, len(GRID))


def calibrate(scored: pl.DataFrame, *, horizon: int, seed: int = SEED) -> Calibration:
    """Calibration from days that the model had not seen: KEYS, y, y_hat, step in 1…horizon.

    Around a forecast lies a negative binomial distribution, its dispersion fitted per tier by
    moments; items and series have a multiple of it. What this shape gets wrong is put right by
    ranks: the probability that it gives an actual, see `pit`, should be uniform, and its quantiles
    per cell take the place of the levels asked for (distributional conformal prediction,
    Chernozhukov et al., PNAS 118(48), 2021), at rank ceil((n + 1) q) above the median and
    floor((n + 1) q) below it, the finite-sample correction. Days without an actual or with a
    forecast of 0, the closed ones, are left out. Raises ValueError when none is left.
    """
    rows = scored.filter(pl.col("y").is_not_null() & (pl.col("y_hat") > 0))
    if rows.is_empty():
        raise ValueError("There is no day with a forecast above 0 to calibrate on.")
    y, y_hat, step = (rows[c].to_numpy() for c in ("y", "y_hat", "step"))
    tiers = int(np.clip(len(y) // (LEADS * LEAST), 1, TIERS))
    edges = np.quantile(y_hat, np.linspace(0, 1, tiers + 1)[1:-1])
    tier = np.searchsorted(edges, y_hat, side="right")
    dispersion = [_dispersion(y[tier == t], y_hat[tier == t]) for t in range(tiers)]
    flat = [[list(GRID)] * LEADS] * tiers
    plain = Calibration(horizon, [float(e) for e in edges], dispersion, {}, flat)
    items, series = _multiples(rows, plain)
    plain = replace(plain, items=items, series=series)
    u = pit(rows, plain, seed=seed)
    cell, _ = plain.cells(y_hat, step)
    ranks = [
        [_ranks(u[cell == t * LEADS + lead], u[tier == t]) for lead in range(LEADS)]
        for t in range(tiers)
    ]
    return replace(plain, ranks=ranks)


def _multiples(
    rows: pl.DataFrame, plain: Calibration
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """What the dispersion of items is multiplied by, and that of series by store and item.

    Of each the posterior mean of log2 on the grid TIMES: a priori an item's is normal around 0 and
    a series' around that of its item, so that one of few days is its item's (empirical Bayes).
    Multiples that say nothing new are left out.
    """
    named = rows.select(KEYS).unique().sort(KEYS).with_row_index("n")
    n = rows.select(KEYS).join(named, on=KEYS, how="left", maintain_order="left")["n"].to_numpy()
    y, y_hat = np.maximum(rows["y"].to_numpy(), 0), np.maximum(rows["y_hat"].to_numpy(), 1e-9)
    spread = plain.spread(y_hat, np.ones(len(y)))
    likely = np.array(
        [np.bincount(n, counts.log_density(y, y_hat, t * spread), named.height) for t in TIMES]
    ).T
    names, item = np.unique(named["item_id"].to_numpy(), return_inverse=True)
    of_items = np.zeros((len(names), len(TIMES)))
    np.add.at(of_items, item, likely)
    usual = _posterior_mean(of_items, np.zeros(len(names)), ITEM_SPREAD)
    own = _posterior_mean(likely, usual[item], SERIES_SPREAD)
    items = {str(i): 2.0**v for i, v in zip(names, usual.tolist(), strict=True) if v != 0}
    series: dict[str, dict[str, float]] = {}
    for k in np.flatnonzero(own != usual[item]):
        series.setdefault(named["store_id"][int(k)], {})[str(names[item[k]])] = 2.0 ** float(own[k])
    return items, series


def _posterior_mean(likely: Matrix, centre: Matrix, spread: float) -> Matrix:
    """Means (n,) of log2 of TIMES under log likelihoods (n, TIMES), to a PARTS-th.

    A priori they are normal around `centre` (n,) with the deviation `spread`.
    """
    log = np.log2(TIMES)
    weight = likely - ((log - centre[:, None]) / spread) ** 2 / 2
    weight = np.exp(weight - weight.max(axis=1, keepdims=True))
    return np.asarray(np.round(weight @ log / weight.sum(axis=1) * PARTS) / PARTS)


def _dispersion(y: Matrix, y_hat: Matrix) -> float:
    """Excess of the squared errors over those of a Poisson count, in squared forecasts."""
    if len(y) == 0:
        return 1.0
    return float(np.clip(((y - y_hat) ** 2 - y_hat).sum() / (y_hat**2).sum(), 0.001, 10.0))


def _ranks(u: Matrix, whole_tier: Matrix) -> list[float]:
    """Finite-sample quantiles GRID of `u`, of the whole tier where a cell holds too little."""
    ordered = np.sort(u if len(u) >= LEAST // 4 else whole_tier)
    n, levels = len(ordered), np.asarray(GRID)
    exact = np.round((n + 1) * levels, 9)  # 0.95 * 20 is to be 19, not a little more
    rank = np.where(levels < 0.5, np.floor(exact), np.ceil(exact))
    padded = np.concatenate([[0.0], ordered, [1.0]])
    # Above the largest of few errors there is nothing to go by: the largest it is.
    inner = np.where(levels < 1, np.minimum(rank, n), n + 1)
    return [float(v) for v in padded[inner.astype(int)]]


def apply(
    y_hat: Matrix,
    step: NDArray[np.int_],
    times: Matrix,
    calibration: Calibration,
    levels: Sequence[float],
) -> Matrix:
    """Quantiles (n, levels) of forecasts (n,) at steps (n,): ascending, never negative.

    `times` (n,) are those of their series, see Calibration.times. Any level between 0 and 1 can be
    asked for: a one-sided service level as well as the ends of an interval. A forecast of 0 has
    quantiles of 0; models.counts says which are whole units.
    """
    cell, table = calibration.cells(y_hat, step)
    used, at = np.unique(cell, return_inverse=True)  # of one series a few of all cells
    wanted = np.array([np.interp(levels, GRID, ranks) for ranks in table[used]])
    return counts.quantiles(wanted[at], y_hat, calibration.spread(y_hat, times))


def pit(scored: pl.DataFrame, calibration: Calibration, *, seed: int = SEED) -> Matrix:
    """Randomised probability integral transform (n,) of actuals; uniform when all is well.

    `scored` has KEYS, y, y_hat and step; NaN where y is null.
    u = F(y - 1) + v (F(y) - F(y - 1)) with v drawn by `seed`. Counts jump, so that an interval of
    them can not hold exactly 80 %, but 0.1 < u < 0.9 can (Czado et al., Biometrics 65(4), 2009).
    """
    cell, table = calibration.cells(scored["y_hat"].to_numpy(), scored["step"].to_numpy())
    low, high = _jump(scored, calibration)
    v = np.random.default_rng(seed).uniform(size=len(low))
    u = low + v * (high - low)
    result = np.empty(len(u))
    for number, ranks in enumerate(table):
        here = cell == number
        result[here] = np.interp(u[here], ranks, GRID)
    return result


def inside(scored: pl.DataFrame, calibration: Calibration, level: float) -> Matrix:
    """How much (n,) of each actual's probability lies in the central `level`; its mean is the
    coverage. `scored` has KEYS, y (none of them null), y_hat and step.

    The expectation of what `pit` draws, so that it needs no seed: an actual at the end of an
    interval counts in part (the nonrandomised transform of Czado et al., Biometrics 65(4), 2009).
    """
    cell, table = calibration.cells(scored["y_hat"].to_numpy(), scored["step"].to_numpy())
    ends = np.array([np.interp([(1 - level) / 2, (1 + level) / 2], GRID, r) for r in table])
    first, last = ends[cell].T
    low, high = _jump(scored, calibration)
    within = np.minimum(high, last) - np.maximum(low, first)
    jumps = high - low > counts.TINY
    share = np.clip(within, 0, None) / np.where(jumps, high - low, 1)
    return np.asarray(np.where(jumps, share, (first < high) & (high <= last)))


def _jump(scored: pl.DataFrame, calibration: Calibration) -> tuple[Matrix, Matrix]:
    """Probability of less than each actual, and of no more; the same where nothing is counted."""
    y = scored["y"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    y_hat = scored["y_hat"].to_numpy()
    spread = calibration.spread(y_hat, calibration.times(scored))
    mean = np.maximum(y_hat, 1e-9)
    below = counts.cdf(y - (mean <= counts.LARGE), mean, spread)
    return below, counts.cdf(y, mean, spread)
