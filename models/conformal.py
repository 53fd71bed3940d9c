"""Predictive distributions from out-of-sample errors: conformal, by volume of forecast and lead."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models import counts
from models.dataset import Matrix

TIERS, LEADS = 10, 4
SEED = 1
LEAST = 200  # days that a cell is calibrated on; fewer tiers when there are fewer days
TIMES = (0.25, 0.5, 1.0, 2.0, 4.0)  # what an item's dispersion may be of that of its tier
GRID = (0.0, 0.005, 0.01, 0.025, *(k / 20 for k in range(1, 20)), 0.975, 0.99, 0.995, 1.0)


@dataclass(frozen=True)
class Calibration:
    """How far actuals fell from forecasts; plain lists, kept in the manifest.

    A forecast belongs to a tier by its volume (`edges`, units, ascending) and to one of the LEADS
    equal parts of the `horizon`. `dispersion` (tiers) is that of models.counts, `items` what it is
    multiplied by, by item; one that is not there has 1. `ranks` (tiers, leads, GRID) says which
    probability of that distribution was not exceeded by a share GRID of the actuals.
    """

    horizon: int
    edges: list[float]
    dispersion: list[float]
    items: dict[str, float]
    ranks: list[list[list[float]]]

    def tiers(self, y_hat: Matrix) -> NDArray[np.intp]:
        """Tier of each forecast (n,)."""
        return np.searchsorted(np.asarray(self.edges), y_hat, side="right")

    def times(self, items: pl.Series) -> Matrix:
        """What the dispersion of each item (n,) is multiplied by."""
        return np.array([self.items.get(item, 1.0) for item in items.to_list()])

    def spread(self, y_hat: Matrix, times: Matrix) -> Matrix:
        """Dispersion around each forecast (n,), of items whose multiples are `times` (n,)."""
        return np.asarray(self.dispersion)[self.tiers(y_hat)] * times

    def cells(self, y_hat: Matrix, step: NDArray[np.int_]) -> tuple[NDArray[np.intp], Matrix]:
        """Number of each day's cell (n,) and the `ranks` of the cells (cells, GRID)."""
        lead = (np.asarray(step) - 1) * LEADS // self.horizon
        return self.tiers(y_hat) * LEADS + lead, self._table

    @cached_property
    def _table(self) -> Matrix:
        return np.asarray(self.ranks).reshape(-1, len(GRID))


def calibrate(scored: pl.DataFrame, *, horizon: int, seed: int = SEED) -> Calibration:
    """Calibration from days that the model had not seen: (item_id, y, y_hat, step in 1…horizon).

    Around a forecast lies a negative binomial distribution, its dispersion fitted per tier by
    moments, and per item as the likeliest of TIMES that. What this shape gets wrong is put right by
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
    plain = replace(plain, items=_items(rows, plain))
    u = pit(rows, plain, seed=seed)
    cell, _ = plain.cells(y_hat, step)
    ranks = [
        [_ranks(u[cell == t * LEADS + lead], u[tier == t]) for lead in range(LEADS)]
        for t in range(tiers)
    ]
    return replace(plain, ranks=ranks)


def _items(rows: pl.DataFrame, plain: Calibration) -> dict[str, float]:
    """The likeliest of TIMES of each item with LEAST days or more; those of 1 are left out."""
    y, y_hat = rows["y"].to_numpy(), rows["y_hat"].to_numpy()
    spread, y = plain.spread(y_hat, np.ones(len(y))), np.maximum(y, 0)
    by_times = [pl.Series(str(t), counts.log_density(y, y_hat, t * spread)) for t in TIMES]
    names = [series.name for series in by_times]
    sums = rows.select("item_id").hstack(by_times).group_by("item_id")
    table = sums.agg(pl.len().alias("n"), pl.col(names).sum()).filter(pl.col("n") >= LEAST)
    best = np.asarray(TIMES)[table.select(names).to_numpy().argmax(axis=1)]
    found = zip(table["item_id"].to_list(), best.tolist(), strict=True)
    return dict(sorted((item, times) for item, times in found if times != 1))


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

    `times` (n,) are those of their items, see Calibration.times. Any level between 0 and 1 can be
    asked for: a one-sided service level as well as the ends of an interval. A forecast of 0 has
    quantiles of 0. Each is a number of units that can be sold.
    """
    cell, table = calibration.cells(y_hat, step)
    used, at = np.unique(cell, return_inverse=True)  # of one series a few of all cells
    wanted = np.array([np.interp(levels, GRID, ranks) for ranks in table[used]])
    return counts.quantiles(wanted[at], y_hat, calibration.spread(y_hat, times))


def pit(scored: pl.DataFrame, calibration: Calibration, *, seed: int = SEED) -> Matrix:
    """Randomised probability integral transform (n,) of actuals; uniform when all is well.

    `scored` has item_id, y, y_hat and step; NaN where y is null.
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
    coverage. `scored` has item_id, y (none of them null), y_hat and step.

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
    spread = calibration.spread(y_hat, calibration.times(scored["item_id"]))
    mean = np.maximum(y_hat, 1e-9)
    below = counts.cdf(y - (mean <= counts.LARGE), mean, spread)
    return below, counts.cdf(y, mean, spread)
