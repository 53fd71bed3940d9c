"""Drift: both libraries agree, planted shifts are found, noise isn't, nothing goes unseen."""

from collections.abc import Sequence
from datetime import date, timedelta
from math import inf, nan

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks import drift as rules
from checks.drift import (
    LEAST_DISTANCE,
    LEAST_NULL_WEEKS,
    LEAST_Z,
    FeatureDrift,
    _alibi,
    _discoveries,
    _scipy,
    _with_missing_lowest,
    weekly_drift,
)

UNTIL = date(2017, 10, 8)
STORES = 100
FEATURES = ["price", "mailer", "constant"]


def weeks(seed: int, n: int = 30, stores: int = STORES) -> pl.DataFrame:
    """Store-weeks of a chain in which nothing happens."""
    rng = np.random.default_rng(seed)
    size = n * stores
    ends = [UNTIL - timedelta(weeks=k) for k in range(n)]
    return pl.DataFrame(
        {
            "store_id": [f"s{s}" for s in range(stores)] * n,
            "week": [w for w in ends for _ in range(stores)],
            "price": rng.normal(0, 0.05, size),
            "mailer": rng.gamma(2, 1, size),
            "constant": np.ones(size),
        }
    )


def shifted(rows: pl.DataFrame, ago: Sequence[int], value: pl.Expr) -> pl.DataFrame:
    """Rows with `value` in some weeks, counted back from the newest."""
    hit = pl.col("week").is_in([UNTIL - timedelta(weeks=k) for k in ago])
    name = value.meta.output_name()
    return rows.with_columns(pl.when(hit).then(value).otherwise(pl.col(name)).alias(name))


def drift(rows: pl.DataFrame, **options: object) -> dict[str, FeatureDrift]:
    given_ = {"until": UNTIL, "statistics": "scipy", **options}
    return {f.feature: f for f in weekly_drift(rows, FEATURES, **given_)}  # type: ignore[arg-type]


def drifted(found: dict[str, FeatureDrift]) -> set[str]:
    return {name for name, f in found.items() if f.drifted}


@pytest.mark.parametrize("stores", [20, 100])
def test_alibi_detect_and_scipy_agree(stores: int) -> None:
    rows = shifted(weeks(1, stores=stores), [0, 1], pl.col("price") + 0.1)
    ours, theirs = drift(rows), drift(rows, statistics="alibi")
    assert drifted(ours) == drifted(theirs) == {"price"}
    for name in ours:
        assert theirs[name].p_value == pytest.approx(ours[name].p_value, abs=1e-6)
        assert theirs[name].distance == pytest.approx(ours[name].distance, abs=1e-6)
        assert theirs[name].z == pytest.approx(ours[name].z, abs=1e-4)


def test_distance_is_the_largest_gap_between_distribution_functions() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, (60, 1)), rng.poisson(1, (80, 1)).astype(float)
    for measure in (_scipy, _alibi):
        (distance,), _ = measure(a, b)
        gaps = [abs((a <= x).mean() - (b <= x).mean()) for x in [*a, *b]]
        assert distance == pytest.approx(max(gaps))


def test_it_takes_two_of_three_weeks() -> None:
    higher = pl.col("price") + 0.1
    assert drifted(drift(shifted(weeks(1), [0], higher))) == set()
    assert drift(shifted(weeks(1), [0], higher))["price"].moved == 1
    assert drifted(drift(shifted(weeks(1), [0, 1], higher))) == {"price"}
    assert drifted(drift(shifted(weeks(1), [0, 2], higher))) == {"price"}
    assert drifted(drift(shifted(weeks(1), [20, 21], higher))) == set()


def test_nothing_happens_in_most_clean_weeks() -> None:
    alarms = [drifted(drift(weeks(s))) for s in range(40)]
    assert sum(map(bool, alarms)) <= 1


def test_what_moves_that_far_every_few_weeks_is_not_drift() -> None:
    restless = shifted(weeks(1), range(3, 30, 2), pl.col("price") + 0.1)
    assert drifted(drift(shifted(restless, [0, 1], pl.col("price") + 0.1))) == set()


@pytest.mark.parametrize("gap", [None, nan, inf, -inf])
def test_values_that_go_missing_are_drift_and_counted(gap: float | None) -> None:
    rows = shifted(weeks(1), [0, 1], pl.lit(gap, pl.Float64).alias("price"))
    found = drift(rows)
    assert drifted(found) == {"price"}
    assert (found["price"].distance, found["price"].missing) == (1, 1)
    assert found["mailer"].missing == 0


def test_what_is_significant_by_luck_among_many_features_is_not_drift() -> None:
    many = [f"c{k}" for k in range(39)]
    rows = shifted(weeks(4, stores=20), [0, 1], pl.col("price") + 0.05)
    rows = rows.with_columns(pl.lit(1.0).alias(name) for name in many)
    (alone,) = weekly_drift(rows, ["price"], until=UNTIL, statistics="scipy")
    among = weekly_drift(rows, ["price", *many], until=UNTIL, statistics="scipy")[0]
    assert alone.p_value == among.p_value < 0.05
    assert (alone.drifted, among.drifted) == (True, False)


def test_a_small_shift_is_not_drift_however_unusual_and_significant_it_is() -> None:
    found = drift(shifted(weeks(3, stores=400), [0, 1], pl.col("price") + 0.018))["price"]
    assert found.p_value < 1e-6 and found.z > 2 * LEAST_Z
    assert found.distance < LEAST_DISTANCE and not found.drifted


def test_what_comes_back_every_year_is_no_drift_once_a_year_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wave = shifted(weeks(1, n=60, stores=400), [0, 1, 51, 52, 53, 54], pl.col("price") + 0.04)
    assert drifted(drift(wave)) == set()
    monkeypatch.setattr(rules, "SEASON_WEEKS", ())
    assert drifted(drift(wave)) == {"price"}


def test_a_muted_week_is_neither_tested_nor_compared_with() -> None:
    rows = shifted(weeks(1), [0, 1], pl.col("price") + 0.1)
    assert drift(rows, muted={UNTIL}) == {}
    assert drift(rows, muted={UNTIL - timedelta(weeks=1)})["price"].moved == 1


def test_without_a_past_nothing_is_unusual() -> None:
    assert drift(weeks(1, n=LEAST_NULL_WEEKS)) == {}
    assert drift(weeks(1, stores=19)) == {}
    assert drift(weeks(1), until=UNTIL + timedelta(days=1)) == {}
    assert weekly_drift(weeks(1), [], until=UNTIL, statistics="scipy") == []
    with pytest.raises(ValueError, match="no column display to test for drift"):
        weekly_drift(weeks(1), ["display"], until=UNTIL, statistics="scipy")


def test_a_missing_value_ranks_lowest_in_both_samples() -> None:
    before, after = _with_missing_lowest(np.array([[3.0], [nan]]), np.array([[inf], [1.0]]))
    assert before.tolist() == [[2], [0]]
    assert after.tolist() == [[0], [1]]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.5))
def test_discoveries_are_those_of_benjamini_and_hochberg(p: list[float], rate: float) -> None:
    ranked = sorted(p)
    limit = max((v for k, v in enumerate(ranked, 1) if v <= rate * k / len(p)), default=-1)
    assert _discoveries(np.array(p), rate).tolist() == [v <= limit for v in p]
