"""Drift: both libraries agree, planted shifts are found, noise isn't, nothing goes unseen."""

from math import inf, nan

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.drift import LEAST_DISTANCE, FeatureDrift, Statistics, _discoveries, feature_drift

ROWS = 700


def window(seed: int, rows: int = ROWS) -> pl.DataFrame:
    """Independent features as a chain has them: skewed, counted, with ties, constant."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "mean": rng.gamma(2, 3, rows),
            "share": rng.beta(2, 5, rows),
            "count": rng.poisson(0.7, rows).astype(float),
            "constant": np.ones(rows),
        }
    )


def drift(
    reference: pl.DataFrame, current: pl.DataFrame, statistics: Statistics = "scipy", seed: int = 7
) -> dict[str, FeatureDrift]:
    found = feature_drift(reference, current, reference.columns, statistics=statistics, seed=seed)
    assert [f.feature for f in found] == reference.columns
    return {f.feature: f for f in found}


def drifted(found: dict[str, FeatureDrift]) -> set[str]:
    return {name for name, f in found.items() if f.drifted}


@pytest.mark.parametrize("rows", [40, 500, 700])
def test_alibi_detect_and_scipy_agree(rows: int) -> None:
    current = window(2, rows).with_columns(
        pl.col("mean") * 1.5,
        share=pl.when(pl.int_range(pl.len()) % 7 == 0).then(nan).otherwise("share"),
    )
    ours, theirs = drift(window(1), current, "scipy"), drift(window(1), current, "alibi")
    for name in ours:
        assert theirs[name].p_value == pytest.approx(ours[name].p_value, abs=1e-6)
        assert theirs[name].distance == pytest.approx(ours[name].distance, abs=1e-6)
        assert theirs[name].drifted == ours[name].drifted


def test_distance_is_the_largest_gap_between_distribution_functions() -> None:
    reference, current = window(1, 60), window(2, 80)
    found = drift(reference, current)
    for name in reference.columns:
        a, b = reference[name].to_numpy(), current[name].to_numpy()
        gaps = [abs((a <= x).mean() - (b <= x).mean()) for x in [*a, *b]]
        assert found[name].distance == pytest.approx(max(gaps))


def test_a_planted_shift_is_found_where_it_was_planted() -> None:
    current = window(2).with_columns(pl.col("mean") * 1.5)
    found = drift(window(1), current)
    assert drifted(found) == {"mean"}
    assert found["mean"].distance > LEAST_DISTANCE
    assert found["constant"].p_value == 1


def test_one_distribution_raises_few_alarms() -> None:
    alarms = [drifted(drift(window(2 * s), window(2 * s + 1), seed=s)) for s in range(50)]
    assert sum(map(bool, alarms)) <= 1


def test_a_significant_but_small_shift_is_not_drift() -> None:
    rng = np.random.default_rng(3)
    reference = pl.DataFrame({"x": rng.normal(0, 1, ROWS)})
    found = drift(reference, reference.with_columns(pl.col("x") + 0.32))["x"]
    assert found.p_value < 0.05
    assert 0.05 < found.distance < LEAST_DISTANCE
    assert not found.drifted


@pytest.mark.parametrize("statistics", ["scipy", "alibi"])
@pytest.mark.parametrize("gap", [None, nan, inf, -inf])
def test_values_that_go_missing_are_drift_and_counted(
    statistics: Statistics, gap: float | None
) -> None:
    holes = pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit(gap)).otherwise("share")
    found = drift(window(1), window(2).with_columns(share=holes), statistics)
    assert drifted(found) == {"share"}
    assert found["share"].missing_reference == 0
    assert found["share"].missing_current == pytest.approx(1 / 3, abs=0.06)


def test_a_feature_that_vanishes_has_drifted_and_one_that_never_was_has_not() -> None:
    none = pl.lit(None, pl.Float64)
    reference = window(1).with_columns(count=none)
    found = drift(reference, window(2).with_columns(mean=none, count=none))
    assert drifted(found) == {"mean"}
    assert (found["mean"].distance, found["mean"].missing_current) == (1, 1)
    assert (found["count"].distance, found["count"].p_value) == (0, 1)


def test_the_same_seed_draws_the_same_rows() -> None:
    reference, current = window(1, 2000), window(2, 2000)
    assert drift(reference, current, seed=1) == drift(reference, current, seed=1)
    assert drift(reference, current, seed=1) != drift(reference, current, seed=2)


def test_windows_that_cannot_be_tested_are_refused() -> None:
    with pytest.raises(ValueError, match="current window has 19 rows; testing for drift takes 20"):
        drift(window(1), window(2, 19))
    with pytest.raises(ValueError, match="reference window has 0 rows"):
        drift(window(1, 0), window(2))
    with pytest.raises(ValueError, match="current window has no column share, count"):
        drift(window(1), window(2).drop("share", "count"))
    assert feature_drift(window(1), window(2), [], statistics="scipy", seed=1) == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.5))
def test_discoveries_are_those_of_benjamini_and_hochberg(p: list[float], rate: float) -> None:
    ranked = sorted(p)
    limit = max((v for k, v in enumerate(ranked, 1) if v <= rate * k / len(p)), default=-1)
    assert _discoveries(np.array(p), rate).tolist() == [v <= limit for v in p]
