"""The gates decide by the table, say why with numbers, and never promote on missing evidence."""

import json
from itertools import pairwise
from math import inf, nan
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import gates
from checks.gates import Outcome, decide_promotion, decide_retrain

HEALTHY: dict[str, Any] = {
    "failed_checks": [],
    "drifted": [],
    "n_features": 4,
    "muted": "",
    "matured_days": 28,
    "loss_cusum": 0.1,
    "bias_cusum": -0.05,
    "loss_ratio": 1.0,
    "naive_ratio": 0.7,
    "naive_weeks": 0,
    "coverage_80": 0.8,
    "coverage_low": 0.78,
    "coverage_high": 0.82,
    "model_age_days": 28,
    "days_since_training": 28,
    "recent_trainings": 1,
}
BETTER: dict[str, Any] = {
    "ratio": 0.97,
    "ratio_upper": 0.99,
    "origins": 6,
    "refitted_origins": 0,
    "slices": {"department MEAT": (1.04, 1.01), "promoted yes": (1.2, 0.9)},
    "paired_bias": 0.03,
    "champion_bias": -0.02,
    "moved": 0.1,
    "coverage_80": 0.8,
    "bias": -0.02,
    "naive_ratio": 0.7,
    "has_champion": True,
    "champion_repeats": False,
    "champion_refused": "",
}

COUNTED = ("origins", "refitted_origins", "slices", "champion_repeats", "champion_refused")
MEASURED = sorted(set(BETTER) - {"has_champion", *COUNTED})


BAD_DATA = {"failed_checks": ["store is missing", "rows"]}
DRIFT = {"drifted": ["price"]}
DECAY = {"loss_cusum": gates.LOSS_CUSUM + 0.01}
WORSE_THAN_NAIVE = {"naive_weeks": 2, "naive_ratio": 1.2, **DECAY}
FEW = {"matured_days": 27}
COOLDOWN = {"days_since_training": 6}


def expected_outcome(has: set[str]) -> str:
    """The decision table, in the order in which its rows apply."""
    if "bad" in has:
        return "hold"
    if "few" in has:
        return "insufficient"
    if "naive" in has:
        return "fall_back"
    if "decay" in has:
        return "alert" if "cooldown" in has else "retrain"
    return "alert" if "drift" in has and "muted" not in has else "pass"


CASES = {
    "bad": BAD_DATA,
    "few": FEW,
    "naive": WORSE_THAN_NAIVE,
    "decay": DECAY,
    "drift": DRIFT,
    "muted": {"muted": "2017-11-23", "drifted": [], "n_features": 0},
    "cooldown": COOLDOWN,
}


@pytest.mark.score("monitoring", 4)
@pytest.mark.parametrize("mask", range(2 ** len(CASES)))
def test_every_row_of_the_decision_table(mask: int) -> None:
    has = {name for bit, name in enumerate(CASES) if mask >> bit & 1}
    decision = decide_retrain(**HEALTHY | {k: v for n in has for k, v in CASES[n].items()})
    if "muted" in has and "drift" in has:  # what is muted isn't tested
        decision = decide_retrain(
            **HEALTHY | {k: v for n in has - {"drift"} for k, v in CASES[n].items()}
        )
    assert decision.outcome == expected_outcome(has)
    wants = decision.outcome in ("alert", "retrain", "fall_back")
    assert decision.train == (wants and "cooldown" not in has)
    if wants and "cooldown" in has:
        assert "no training now: the last training was 6 days ago" in decision.reasons[-1]


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({}, "pass", "none of 4 features drifted; loss is 1.00 times the backtest's"),
        (DRIFT, "alert", "1 of 4 features drifted: price; forecasts haven't decayed: loss is 1.00"),
        ({"loss_cusum": gates.LOSS_CUSUM}, "pass", "none"),
        (DECAY, "retrain", "loss is 1.00 times the backtest's; cumulative sum"),
        ({"bias_cusum": -gates.BIAS_CUSUM - 0.01}, "retrain", "too little was forecast"),
        ({"bias_cusum": gates.BIAS_CUSUM + 0.01}, "retrain", "too much was forecast"),
        ({"coverage_80": 0.71, "coverage_low": 0.7, "coverage_high": 0.73}, "pass", "none"),
        (
            {"coverage_80": 0.6, "coverage_low": 0.58, "coverage_high": 0.62},
            "retrain",
            "the 80 % interval holds 60% of the sales, outside 72% to 88%; 58.0% to 62.0%",
        ),
        (
            {"coverage_80": 0.9, "coverage_low": 0.89, "coverage_high": 0.91},
            "retrain",
            "the 80 % interval holds 90%",
        ),
        ({"model_age_days": 29}, "retrain", "the model is 29 days old, more than 28"),
        ({**DECAY, **DRIFT}, "retrain", "loss is"),
        ({"naive_weeks": 1}, "pass", "none"),
        (
            WORSE_THAN_NAIVE | DRIFT,
            "fall_back",
            "2 weeks in a row no better than seasonal naive; 1 of 4 features drifted: price",
        ),
        (
            {"muted": "2017-11-23", "n_features": 0},
            "pass",
            "drift isn't judged in the week of the holiday 2017-11-23; loss is 1.00",
        ),
        (FEW, "insufficient", "forecasts for 27 days have met their sales; a decision takes 28"),
        (
            {"loss_cusum": None, "coverage_low": nan},
            "insufficient",
            "not measured: loss_cusum, coverage_low",
        ),
        ({"naive_ratio": inf}, "insufficient", "not measured: naive_ratio"),
        ({"loss_ratio": -0.5}, "insufficient", "not measured: loss_ratio"),
        ({"bias_cusum": None}, "insufficient", "not measured: bias_cusum"),
        ({"model_age_days": None}, "insufficient", "not measured: model_age_days"),
        ({"n_features": 0}, "insufficient", "no feature was tested for drift"),
        (BAD_DATA | FEW, "hold", "the data failed store is missing, rows"),
    ],
)
def test_retrain_gate_says_why(changes: dict[str, Any], outcome: str, reason: str) -> None:
    decision = decide_retrain(**HEALTHY | changes)
    assert (decision.gate, decision.outcome) == ("retrain", outcome)
    assert "; ".join(decision.reasons).startswith(reason)


@pytest.mark.parametrize(
    ("days", "recent", "trains"),
    [(None, 0, True), (7, 1, True), (6, 1, False), (0, 1, False), (7, 3, True), (7, 4, False)],
)
def test_cooldown_and_cap_keep_trainings_apart(days: int | None, recent: int, trains: bool) -> None:
    history = {"days_since_training": days, "recent_trainings": recent}
    decided = decide_retrain(**HEALTHY | DECAY | history)
    assert decided.train == trains
    assert decided.outcome == ("retrain" if trains else "alert")
    assert decide_retrain(**HEALTHY | WORSE_THAN_NAIVE | history).outcome == "fall_back"


def test_trainings_triggered_every_day_by_lasting_drift_do_not_loop() -> None:
    trained: list[int] = []
    for day in range(100):
        recent = [d for d in trained if d > day - gates.TRAININGS_DAYS]
        since = day - trained[-1] if trained else None
        history = {"days_since_training": since, "recent_trainings": len(recent)}
        if decide_retrain(**HEALTHY | DRIFT | history).train:
            trained.append(day)
    assert all(b - a >= gates.COOLDOWN_DAYS for a, b in pairwise(trained))
    for day in range(100):
        assert sum(day - gates.TRAININGS_DAYS < d <= day for d in trained) <= gates.TRAININGS
    assert len(trained) >= 12


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({}, "pass", "the challenger is better than the champion: loss is 0.970 times"),
        (
            {"ratio": 0.999, "ratio_upper": 1.005},
            "hold",
            "loss may be 1.005 times the champion's (95 % bound), limit 1.0",
        ),
        (
            {"ratio": 0.999, "ratio_upper": 1.005, "by_age": True},
            "pass",
            "the challenger is at most 1 % worse than the champion: loss is 0.999 times the "
            "champion's, at most 1.005 with 95 % confidence; age alone asked for it",
        ),
        (
            {"ratio_upper": 1.01, "by_age": True},
            "hold",
            "loss may be 1.010 times the champion's (95 % bound), limit 1.01",
        ),
        ({"bias": 0.11}, "hold", "forecasts are 11.0% too much in sum, limit 10%"),
        ({"bias": -0.11}, "hold", "forecasts are 11.0% too little in sum, limit 10%"),
        ({"bias": -0.10, "coverage_80": 0.88}, "pass", "the challenger is better"),
        ({"coverage_80": 0.6}, "hold", "the 80 % interval holds 60% of the sales"),
        (
            {"ratio_upper": 1.2, "bias": 0.3, "coverage_80": 0.89},
            "hold",
            "loss may be 1.200 times the champion's (95 % bound), limit 1.0; forecasts are 30.0%",
        ),
        ({"slices": {"promoted yes": (1.06, 1.01)}}, "hold", "worse in promoted yes: 1.06"),
        ({"slices": {"promoted yes": (nan, nan)}}, "hold", "worse in promoted yes"),
        ({"slices": {}}, "insufficient", "not measured: slices"),
        ({"paired_bias": -0.05}, "hold", "bias is 3.0% further from zero than the champion's"),
        ({"moved": 0.4}, "hold", "forecasts of the same days would move by 40%"),
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


def test_who_follows_a_model_that_repeats_the_last_week_may_move_forecasts() -> None:
    far = BETTER | {"moved": 0.6}
    assert decide_promotion(**far).outcome == "hold"
    repeats = {"champion_repeats": True}
    decision = decide_promotion(**far | repeats)
    assert decision.outcome == "pass"
    assert (decision.measurements["moved"], decision.measurements["champion_repeats"]) == (0.6, 1)
    assert decide_promotion(**far | repeats | {"moved": None}).outcome != "pass"


numbers = st.one_of(st.none(), st.floats(), st.floats(0, 2))
unmeasured = st.sampled_from([None, nan, inf, -inf])


@given(
    st.fixed_dictionaries(
        {
            "failed_checks": st.lists(st.text(max_size=5), max_size=2),
            "drifted": st.lists(st.text(max_size=5), max_size=2),
            "n_features": st.integers(0, 40),
            "muted": st.sampled_from(["", "2017-11-23"]),
            "matured_days": st.integers(-5, 90),
            "naive_weeks": st.integers(0, 8),
            "model_age_days": st.one_of(st.none(), st.integers(-5, 100)),
            "days_since_training": st.one_of(st.none(), st.integers(0, 60)),
            "recent_trainings": st.integers(0, 6),
            **{name: numbers for name in (*gates.POSITIVE, "bias_cusum")},
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
    if decision.train:
        assert measured["days_since_training"] is None or measured["days_since_training"] >= 7
        assert measured["recent_trainings"] < 4


@pytest.mark.score("infrastructure", 4)
@given(
    st.fixed_dictionaries(
        {name: numbers for name in MEASURED}
        | {name: st.just(BETTER[name]) for name in COUNTED}
        | {"has_champion": st.booleans(), "by_age": st.booleans()}
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
            assert measured["by_age"] or measured["ratio_upper"] < 1
            assert abs(measured["bias"]) <= 0.10
            assert 0.72 <= measured["coverage_80"] <= 0.88


@given(st.sampled_from(MEASURED), unmeasured)
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


@given(st.sampled_from([*gates.POSITIVE, "bias_cusum"]), unmeasured)
def test_one_missing_measurement_is_never_a_pass(name: str, value: float | None) -> None:
    assert decide_retrain(**HEALTHY | {name: value}).outcome == "insufficient"


def test_only_a_training_for_nothing_but_age_is_judged_by_non_inferiority() -> None:
    assert decide_retrain(**HEALTHY | {"model_age_days": 29}).by_age
    assert not decide_retrain(**HEALTHY | {"model_age_days": 29} | DECAY).by_age
    assert not decide_retrain(**HEALTHY | DECAY).by_age
    measured = decide_promotion(**BETTER, by_age=True).measurements
    assert measured["rule"] == "non-inferiority, by age"
    assert decide_promotion(**BETTER).measurements["rule"] == "superiority"


@pytest.mark.parametrize("matured", [0, 28])
def test_a_champion_that_only_repeats_asks_for_a_training_until_a_model_is_better(
    matured: int,
) -> None:
    repeats = HEALTHY | {"champion_repeats": True, "matured_days": matured}
    decision = decide_retrain(**repeats)
    assert (decision.outcome, decision.train, decision.by_age) == ("fall_back", True, False)
    assert decision.measurements["champion_repeats"] == 1
    assert decide_retrain(**repeats | {"failed_checks": ["rows"]}).outcome == "hold"
    assert not decide_retrain(**repeats | {"days_since_training": 3}).train
