"""The gates decide by the table, say why with numbers, and never promote on missing evidence."""

import json
from math import inf, nan
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.gates import Outcome, decide_promotion, decide_retrain

HEALTHY: dict[str, Any] = {
    "failed_checks": [],
    "drifted": [],
    "n_features": 6,
    "matured_days": 28,
    "loss_ratio": 1.0,
    "naive_ratio": 0.7,
    "coverage_80": 0.8,
    "model_age_days": 28,
}
BETTER: dict[str, Any] = {
    "ratio": 0.97,
    "ratio_upper": 0.99,
    "coverage_80": 0.8,
    "bias": -0.02,
    "naive_ratio": 0.7,
    "has_champion": True,
}


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({}, "pass", "none of 6 features drifted; loss is 1.00 times the backtest's, limit 1.10"),
        (
            {"drifted": ["level_week"]},
            "alert",
            "1 of 6 features drifted: level_week; forecasts haven't decayed: "
            "loss is 1.00 times the backtest's, limit 1.10",
        ),
        ({"loss_ratio": 1.1}, "pass", "none"),
        ({"loss_ratio": 1.11}, "retrain", "loss is 1.11 times the backtest's, above 1.10"),
        (
            {"loss_ratio": 1.5, "drifted": ["a", "b"]},
            "retrain",
            "loss is 1.50 times the backtest's, above 1.10; 2 of 6 features drifted: a, b",
        ),
        (
            {"coverage_80": 0.69},
            "retrain",
            "the 80 % interval holds 69% of the sales, outside 70% to 90%",
        ),
        ({"coverage_80": 0.91}, "retrain", "the 80 % interval holds 91%"),
        ({"coverage_80": 0.7}, "pass", "none"),
        ({"model_age_days": 29}, "retrain", "the model is 29 days old, more than 28"),
        ({"naive_ratio": 1.0}, "fall_back", "loss is 1.00 times that of seasonal naive, no better"),
        ({"naive_ratio": 1.2, "loss_ratio": 3.0, "drifted": ["a"]}, "fall_back", "loss is 1.20"),
        (
            {"matured_days": 27, "naive_ratio": 2.0},
            "insufficient",
            "forecasts for 27 days have met their sales; a decision takes 28 days",
        ),
        ({"matured_days": 0, "loss_ratio": None}, "insufficient", "forecasts for 0 days"),
        (
            {"loss_ratio": None, "coverage_80": nan},
            "insufficient",
            "not measured: loss_ratio, coverage_80",
        ),
        ({"naive_ratio": inf, "loss_ratio": 9.0}, "insufficient", "not measured: naive_ratio"),
        ({"naive_ratio": -0.5}, "insufficient", "not measured: naive_ratio"),
        ({"model_age_days": None}, "insufficient", "not measured: model_age_days"),
        ({"n_features": 0}, "insufficient", "no feature was tested for drift"),
        (
            {"failed_checks": ["store is missing", "rows"], "matured_days": 0, "naive_ratio": 2.0},
            "hold",
            "the data failed store is missing, rows",
        ),
    ],
)
def test_retrain_gate_decides_by_the_table(
    changes: dict[str, Any], outcome: str, reason: str
) -> None:
    decision = decide_retrain(**HEALTHY | changes)
    assert (decision.gate, decision.outcome) == ("retrain", outcome)
    assert "; ".join(decision.reasons).startswith(reason)


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({}, "pass", "the challenger is better than the champion: loss is 0.970 times"),
        (
            {"ratio": 0.999, "ratio_upper": 1.005},
            "pass",
            "the challenger is at most 1% worse than the champion: loss is 0.999 times the "
            "champion's, at most 1.005 with 95 % confidence",
        ),
        (
            {"ratio_upper": 1.01},
            "hold",
            "loss may be 1.010 times the champion's (95 % bound), limit 1.01",
        ),
        ({"bias": 0.11}, "hold", "forecasts are 11.0% too much in sum, limit 10%"),
        ({"bias": -0.11}, "hold", "forecasts are 11.0% too little in sum, limit 10%"),
        ({"bias": -0.10, "coverage_80": 0.9}, "pass", "the challenger is better"),
        ({"coverage_80": 0.6}, "hold", "the 80 % interval holds 60% of the sales"),
        (
            {"ratio_upper": 1.2, "bias": 0.3, "coverage_80": 0.95},
            "hold",
            "loss may be 1.200 times the champion's (95 % bound), limit 1.01; forecasts are 30.0%",
        ),
        ({"naive_ratio": 1.0}, "hold", "loss is 1.00 times that of seasonal naive, no better"),
        ({"ratio": None, "ratio_upper": None}, "insufficient", "not measured: ratio, ratio_upper"),
        ({"ratio_upper": 0.9}, "insufficient", "the upper bound 0.900 is below the ratio 0.970"),
        ({"ratio": -1.0, "ratio_upper": -0.5}, "insufficient", "not measured: ratio, ratio_upper"),
        (
            {"has_champion": False, "ratio": None, "ratio_upper": None},
            "pass",
            "no model serves yet; loss is 0.70 times that of seasonal naive, better",
        ),
        ({"has_champion": False, "coverage_80": 0.5, "bias": 0.2}, "pass", "no model serves yet"),
        ({"has_champion": False, "naive_ratio": 1.0}, "hold", "loss is 1.00 times"),
        ({"has_champion": False, "naive_ratio": None}, "insufficient", "not measured: naive"),
    ],
)
def test_promotion_gate_decides_by_the_table(
    changes: dict[str, Any], outcome: str, reason: str
) -> None:
    decision = decide_promotion(**BETTER | changes)
    assert (decision.gate, decision.outcome) == ("promote", outcome)
    assert "; ".join(decision.reasons).startswith(reason)


numbers = st.one_of(st.none(), st.floats(), st.floats(0, 2))
unmeasured = st.sampled_from([None, nan, inf, -inf])


@given(
    st.fixed_dictionaries(
        {
            "failed_checks": st.lists(st.text(max_size=5), max_size=2),
            "drifted": st.lists(st.text(max_size=5), max_size=2),
            "n_features": st.integers(0, 40),
            "matured_days": st.integers(-5, 90),
            "loss_ratio": numbers,
            "naive_ratio": numbers,
            "coverage_80": numbers,
            "model_age_days": st.one_of(st.none(), st.integers(-5, 100)),
        }
    )
)
def test_retrain_gate_always_decides_with_reasons_and_storable_numbers(
    measured: dict[str, Any],
) -> None:
    decision = decide_retrain(**measured)
    assert decision.outcome in get_args(Outcome)
    assert all(decision.reasons)
    assert decision.reasons
    json.dumps(dict(decision.measurements), allow_nan=False)
    assert (decision.outcome == "hold") == bool(measured["failed_checks"])
    if decision.outcome == "pass":
        assert measured["matured_days"] >= 28
        assert not measured["drifted"]


@given(
    st.fixed_dictionaries(
        {name: numbers for name in BETTER if name != "has_champion"}
        | {"has_champion": st.booleans()}
    )
)
def test_promotion_gate_promotes_only_on_complete_evidence(measured: dict[str, Any]) -> None:
    decision = decide_promotion(**measured)
    assert decision.outcome in ("pass", "hold", "insufficient")
    assert decision.reasons
    json.dumps(dict(decision.measurements), allow_nan=False)
    if decision.outcome == "pass":
        assert 0 <= measured["naive_ratio"] < 1
        if measured["has_champion"]:
            assert measured["ratio"] <= measured["ratio_upper"] < 1.01
            assert abs(measured["bias"]) <= 0.10
            assert 0.70 <= measured["coverage_80"] <= 0.90


@given(st.sampled_from(sorted(set(BETTER) - {"has_champion"})), unmeasured)
def test_one_missing_measurement_never_promotes_over_a_champion(
    name: str, value: float | None
) -> None:
    assert decide_promotion(**BETTER | {name: value}).outcome == "insufficient"


@given(st.sampled_from(["coverage_80", "bias", "naive_ratio"]), unmeasured)
def test_one_missing_measurement_never_promotes_a_first_model(
    name: str, value: float | None
) -> None:
    first = BETTER | {"has_champion": False, name: value}
    assert decide_promotion(**first).outcome == "insufficient"


@given(st.sampled_from(["loss_ratio", "naive_ratio", "coverage_80"]), unmeasured)
def test_one_missing_measurement_is_never_a_pass(name: str, value: float | None) -> None:
    assert decide_retrain(**HEALTHY | {name: value}).outcome == "insufficient"
