"""Has the distribution of features moved? Kolmogorov-Smirnov statistics, judged by their size."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Statistics = Literal["alibi", "scipy"]
Matrix = NDArray[np.float64]

# A p-value only says that there is a difference, and with enough rows there always is one: on The
# Complete Journey an uncorrected test on all rows raised an alarm in 44 of 44 weeks without any
# event. So: few rows, a corrected p-value, and a difference that is large as well.
SAMPLE_ROWS = 500  # two samples of one distribution then differ by 0.09 once in 20 times
FALSE_DISCOVERY_RATE = 0.05  # share of false ones among the features called significant
LEAST_DISTANCE = 0.15  # clean weeks differ by up to 0.05, and the sampling adds up to 0.10
LEAST_ROWS = 20  # below, no difference short of a total one could be significant


@dataclass(frozen=True)
class FeatureDrift:
    """One feature: `distance` is the largest gap between the two distribution functions, 0 to 1.

    `missing_reference` and `missing_current` are shares of rows without a finite value. They take
    part in the test, so that a feature that goes missing has drifted.
    """

    feature: str
    distance: float
    p_value: float
    drifted: bool
    missing_reference: float
    missing_current: float


def feature_drift(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    features: Sequence[str],
    *,
    statistics: Statistics,
    seed: int,
) -> list[FeatureDrift]:
    """Tests each feature for a difference between two frames of numbers, one row per observation.

    At most SAMPLE_ROWS rows of each frame are drawn, by `seed`; rows are taken for independent, so
    pass one per series. Drifted is what is significant at FALSE_DISCOVERY_RATE over all features
    (Benjamini and Hochberg) and moved by LEAST_DISTANCE or more. Raises ValueError for a frame
    with fewer than LEAST_ROWS rows or without one of the features.
    """
    if not features:
        return []
    rng = np.random.default_rng(seed)
    before = _sample(reference, features, "reference", rng)
    after = _sample(current, features, "current", rng)
    missing = (~np.isfinite(before)).mean(axis=0), (~np.isfinite(after)).mean(axis=0)
    before, after = _with_missing_lowest(before, after)
    measure = _alibi if statistics == "alibi" else _scipy
    distances, p_values = measure(before, after)
    large = np.round(distances, 6) >= LEAST_DISTANCE
    drifted = large & _discoveries(p_values, FALSE_DISCOVERY_RATE)
    columns = (distances, p_values, drifted, *missing)
    return [
        FeatureDrift(name, float(d), float(p), bool(is_drifted), float(m), float(n))
        for name, d, p, is_drifted, m, n in zip(features, *columns, strict=True)
    ]


def _sample(
    frame: pl.DataFrame, features: Sequence[str], window: str, rng: np.random.Generator
) -> Matrix:
    """At most SAMPLE_ROWS rows as (rows, features), NaN for null."""
    if absent := [name for name in features if name not in frame.columns]:
        raise ValueError(f"the {window} window has no column {', '.join(absent)} to test for drift")
    if frame.height < LEAST_ROWS:
        raise ValueError(
            f"the {window} window has {frame.height} rows; testing for drift takes {LEAST_ROWS}"
        )
    values = frame.select(pl.col(features).cast(pl.Float64)).to_numpy()
    chosen = rng.choice(len(values), size=min(SAMPLE_ROWS, len(values)), replace=False)
    return np.asarray(values[np.sort(chosen)], dtype=np.float64)


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
