"""Have the conditions of trade moved? Kolmogorov-Smirnov statistics against clean weeks. Pure."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Statistics = Literal["alibi", "scipy"]
Matrix = NDArray[np.float64]

# A p-value only says that there is a difference, and with enough rows there always is one: on The
# Complete Journey an uncorrected test on all rows raised an alarm in 44 of 44 weeks without any
# event. So a feature has moved when the p-value survives the correction for many features, the
# distance is large, and it is unusual among the distances of past weeks. See docs/gates.md.
FALSE_DISCOVERY_RATE = 0.05  # share of false ones among the features called significant
LEAST_DISTANCE = 0.25  # of two distribution functions, at most 1
LEAST_Z = 2.5  # robust standard deviations above the distances of past weeks
LEAST_SPREAD = 0.02  # of those distances: a few weeks may be alike by chance
REFERENCE_WEEKS = range(3, 11)  # before the tested one; not the newest, in which drift began
SEASON_WEEKS = (51, 52, 53)  # the same season a year ago, where there is one
NULL_WEEKS = 52  # past weeks that say what is usual
LEAST_NULL_WEEKS = 6  # with fewer nothing is unusual yet, and nothing has drifted
RUNS, LEAST_RUNS = 3, 2  # it has drifted when it moved in two of the last three weeks
LEAST_ROWS = 20  # stores; below, no difference short of a total one could be significant


@dataclass(frozen=True)
class FeatureDrift:
    """One feature in the newest week that was tested.

    `distance` is the largest gap between the distribution functions of this week and of the
    reference, 0 to 1; `usual` the median of past weeks, `z` how many robust standard deviations the
    distance lies above it. `moved` counts the weeks in which it moved among the last three tested.
    `missing` is the share of this week's rows without a finite value: they take part in the test,
    so that a feature that goes missing has moved.
    """

    feature: str
    distance: float
    p_value: float
    usual: float
    z: float
    moved: int
    drifted: bool
    missing: float


def weekly_drift(
    rows: pl.DataFrame,
    features: Sequence[str],
    *,
    until: date,
    muted: Collection[date] = (),
    statistics: Statistics,
) -> list[FeatureDrift]:
    """Tests the week that ends at `until` against the weeks before it and the same season.

    `rows` has `week` (its last day) and one row per store and week, which share no day with each
    other. Weeks of `muted` (holidays) are neither tested nor a reference: if `until` is one of
    them, or there are too few rows or weeks, nothing is tested and the answer is empty.
    """
    weeks = _by_week(rows.filter(~pl.col("week").is_in(list(muted))), features)
    tested = [w for w in sorted(weeks, reverse=True) if w <= until][: NULL_WEEKS + RUNS]
    if not features or until not in weeks:
        return []
    found = {w: f for w in tested if (f := _against_reference(weeks, w, statistics))}
    runs = [w for w in found if w > until - timedelta(weeks=RUNS + 2)][:RUNS]
    past = [found[w][0] for w in found if w <= until - timedelta(weeks=RUNS)]
    if until not in found or len(past) < LEAST_NULL_WEEKS:
        return []
    null = np.array(past)
    usual = np.median(null, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(null - usual), axis=0), LEAST_SPREAD)
    moved = np.array([_moved(*found[w], usual, spread) for w in runs])
    distances, p_values = found[until]
    missing = (~np.isfinite(weeks[until])).mean(axis=0)
    z = (distances - usual) / spread
    counts = moved.sum(axis=0)
    columns = (distances, p_values, usual, z, counts, counts >= LEAST_RUNS, missing)
    return [
        FeatureDrift(f, float(d), float(p), float(u), float(s), int(n), bool(drifted), float(m))
        for f, d, p, u, s, n, drifted, m in zip(features, *columns, strict=True)
    ]


def _by_week(rows: pl.DataFrame, features: Sequence[str]) -> dict[date, Matrix]:
    """(stores, features) of each week, NaN for null. Raises ValueError for an absent feature."""
    if absent := [name for name in features if name not in rows.columns]:
        raise ValueError(f"the rows have no column {', '.join(absent)} to test for drift")
    return {
        week: frame.select(pl.col(features).cast(pl.Float64)).to_numpy().astype(np.float64)
        for (week,), frame in rows.sort("week").group_by("week", maintain_order=True)
        if frame.height >= LEAST_ROWS
    }


def _against_reference(
    weeks: dict[date, Matrix], week: date, statistics: Statistics
) -> tuple[Matrix, Matrix] | None:
    """Distances and p-values of a week's features; None without half of the reference."""
    ago = [*REFERENCE_WEEKS, *SEASON_WEEKS]
    reference = [weeks[w] for k in ago if (w := week - timedelta(weeks=k)) in weeks]
    if len(reference) < len(REFERENCE_WEEKS) // 2:
        return None
    before, after = _with_missing_lowest(np.concatenate(reference), weeks[week])
    return (_alibi if statistics == "alibi" else _scipy)(before, after)


def _moved(distances: Matrix, p_values: Matrix, usual: Matrix, spread: Matrix) -> NDArray[np.bool_]:
    large = np.round(distances, 6) >= LEAST_DISTANCE
    unusual = (distances - usual) / spread >= LEAST_Z
    return large & unusual & _discoveries(p_values, FALSE_DISCOVERY_RATE)


def _with_missing_lowest(before: Matrix, after: Matrix) -> tuple[Matrix, Matrix]:
    """Ranks of the values over both windows, 0 for one that is missing or infinite.

    The statistic depends on ranks only. A NaN left in would make the p-value NaN, which no
    comparison calls drift.
    """
    both = np.concatenate([before, after])
    ranks = np.zeros_like(both)
    for column in range(both.shape[1]):
        finite = np.isfinite(both[:, column])
        _, rank = np.unique(both[finite, column], return_inverse=True)
        ranks[finite, column] = rank + 1
    return ranks[: len(before)], ranks[len(before) :]


def _discoveries(p_values: Matrix, rate: float) -> NDArray[np.bool_]:
    """Benjamini and Hochberg: which p-values are significant at a false discovery rate."""
    order = np.argsort(p_values)
    limits = rate * np.arange(1, len(p_values) + 1) / len(p_values)
    below = np.flatnonzero(p_values[order] <= limits)
    found = np.zeros(len(p_values), dtype=bool)
    if below.size:
        found[order[: below[-1] + 1]] = True
    return found


def _alibi(before: Matrix, after: Matrix) -> tuple[Matrix, Matrix]:
    """Distances and p-values of each column, by Alibi Detect."""
    # Imported here: it takes seconds. It looks for deep learning libraries and would report on it.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from alibi_detect.cd import KSDrift

    found = KSDrift(before).predict(after, drift_type="feature")["data"]
    return np.asarray(found["distance"], float), np.asarray(found["p_val"], float)


def _scipy(before: Matrix, after: Matrix) -> tuple[Matrix, Matrix]:
    """Distances and p-values of each column, by SciPy; asymptotic as Alibi Detect's."""
    from scipy.stats import ks_2samp

    pairs = zip(before.T, after.T, strict=True)
    found = [ks_2samp(b, a, method="asymp") for b, a in pairs]
    return np.array([f.statistic for f in found]), np.array([f.pvalue for f in found])
