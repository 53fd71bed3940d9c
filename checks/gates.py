"""Retrain? Promote? Measurements go in, one decision with its reasons comes out. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Literal

Outcome = Literal["hold", "insufficient", "pass", "alert", "retrain", "fall_back"]
Measurements = dict[str, float | int | str | None]

MATURED_DAYS = 28  # one whole horizon, and every weekday four times
NAIVE_RATIO = 1.0  # from here on seasonal naive, which costs nothing, does as well
LOSS_RATIO = 1.10  # backtest folds of one model lie up to 10 % around their mean, without decay
COVERAGE_80 = (
    0.70,
    0.90,
)  # small counts can't be covered exactly; this far off, orders suffer
MODEL_AGE_DAYS = 28  # studies of daily retail data find no gain in retraining more often
RATIO_UPPER = 1.0  # better by the 95 % bound, not only on average
NON_INFERIOR = 1.01  # a fresher model that is worse by less than this is no loss to a planner
BIAS = 0.10  # ordering a tenth too much or too little, whatever the loss says


@dataclass(frozen=True)
class GateDecision:
    """What a gate decided, why in words, and the numbers that it saw (None: not measured)."""

    gate: Literal["retrain", "promote"]
    outcome: Outcome
    reasons: tuple[str, ...]
    measurements: Mapping[str, float | int | str | None]


def decide_retrain(
    *,
    failed_checks: Sequence[str],
    drifted: Sequence[str],
    n_features: int,
    matured_days: int,
    loss_ratio: float | None,
    naive_ratio: float | None,
    coverage_80: float | None,
    model_age_days: int | None,
) -> GateDecision:
    """Whether to retrain. The first that applies decides: bad data, too little evidence, no better
    than seasonal naive, decay or age, drift.

    `loss_ratio` is the loss of matured forecasts over that of the backtest, `naive_ratio` over
    that of seasonal naive on the same days, `coverage_80` the share of sales inside the 80 %
    interval. What is None, NaN, infinite or negative counts as not measured.
    """
    seen = {
        "loss_ratio": _positive(loss_ratio),
        "naive_ratio": _positive(naive_ratio),
        "coverage_80": _positive(coverage_80),
        "model_age_days": _positive(model_age_days),
    }
    loss, naive, coverage, age = seen.values()
    measurements: Measurements = {
        "failed_checks": ", ".join(failed_checks),
        "drifted": ", ".join(drifted),
        "n_features": n_features,
        "matured_days": matured_days,
        **_kept(seen),
    }

    def decided(outcome: Outcome, *reasons: str) -> GateDecision:
        return GateDecision("retrain", outcome, reasons, measurements)

    drift = f"{len(drifted)} of {n_features} features drifted: {', '.join(drifted)}"
    suspects = (drift,) if drifted else ()
    if failed_checks:
        return decided("hold", f"the data failed {', '.join(failed_checks)}")
    if matured_days < MATURED_DAYS:
        found = f"forecasts for {matured_days} days have met their sales"
        return decided("insufficient", f"{found}; a decision takes {MATURED_DAYS} days")
    if unknown := _unknown(seen):
        return decided("insufficient", unknown)
    if naive >= NAIVE_RATIO:
        return decided("fall_back", _against_naive(naive), *suspects)
    if decay := _decay(loss, coverage, age):
        return decided("retrain", *decay, *suspects)
    health = f"loss is {loss:.2f} times the backtest's, limit {LOSS_RATIO:.2f}"
    if drifted:
        return decided("alert", drift, f"forecasts haven't decayed: {health}")
    if n_features < 1:
        return decided("insufficient", "no feature was tested for drift")
    return decided("pass", f"none of {n_features} features drifted", health)


def _decay(loss: float, coverage: float, age: float) -> list[str]:
    """Reasons to retrain."""
    low, high = COVERAGE_80
    reasons = []
    if loss > LOSS_RATIO:
        reasons.append(f"loss is {loss:.2f} times the backtest's, above {LOSS_RATIO:.2f}")
    if not low <= coverage <= high:
        reasons.append(_coverage(coverage))
    if age > MODEL_AGE_DAYS:
        reasons.append(f"the model is {age:.0f} days old, more than {MODEL_AGE_DAYS}")
    return reasons


def decide_promotion(
    *,
    ratio: float | None,
    ratio_upper: float | None,
    coverage_80: float | None,
    bias: float | None,
    naive_ratio: float | None,
    has_champion: bool,
) -> GateDecision:
    """Whether a challenger may serve: pass promotes it, hold keeps what serves now, insufficient
    says that evidence is missing.

    `ratio` is the challenger's loss over the champion's on the same rows, `ratio_upper` its 95 %
    upper bound; without a champion neither is used. `bias` is the sum of errors over the sum of
    sales, positive for too much. What is None, NaN or infinite is not measured and never promotes.
    """
    seen = {
        "ratio": _positive(ratio),
        "ratio_upper": _positive(ratio_upper),
        "coverage_80": _positive(coverage_80),
        "bias": _number(bias),
        "naive_ratio": _positive(naive_ratio),
    }
    better, upper, coverage, lean, naive = seen.values()
    measurements: Measurements = {**_kept(seen), "has_champion": int(has_champion)}

    def decided(outcome: Outcome, *reasons: str) -> GateDecision:
        return GateDecision("promote", outcome, reasons, measurements)

    unused = () if has_champion else ("ratio", "ratio_upper")
    if unknown := _unknown({name: value for name, value in seen.items() if name not in unused}):
        return decided("insufficient", unknown)
    if naive >= NAIVE_RATIO:
        return decided("hold", _against_naive(naive))
    if not has_champion:
        return decided("pass", f"no model serves yet; {_against_naive(naive)}")
    if upper < better:
        return decided(
            "insufficient",
            f"the upper bound {upper:.3f} is below the ratio {better:.3f}",
        )
    if faults := _faults(upper, coverage, lean):
        return decided("hold", *faults)
    verdict = "better than" if upper < RATIO_UPPER else f"at most {NON_INFERIOR - 1:.0%} worse than"
    loss = f"loss is {better:.3f} times the champion's, at most {upper:.3f} with 95 % confidence"
    return decided("pass", f"the challenger is {verdict} the champion: {loss}")


def _faults(upper: float, coverage: float, bias: float) -> list[str]:
    """Reasons to keep the champion."""
    low, high = COVERAGE_80
    reasons = []
    if upper >= NON_INFERIOR:
        reasons.append(
            f"loss may be {upper:.3f} times the champion's (95 % bound), limit {NON_INFERIOR}"
        )
    if abs(bias) > BIAS:
        direction = "too much" if bias > 0 else "too little"
        reasons.append(f"forecasts are {abs(bias):.1%} {direction} in sum, limit {BIAS:.0%}")
    if not low <= coverage <= high:
        reasons.append(_coverage(coverage))
    return reasons


def _against_naive(naive: float) -> str:
    verdict = "no better" if naive >= NAIVE_RATIO else "better"
    return f"loss is {naive:.2f} times that of seasonal naive, {verdict}"


def _coverage(coverage: float) -> str:
    low, high = COVERAGE_80
    return f"the 80 % interval holds {coverage:.0%} of the sales, outside {low:.0%} to {high:.0%}"


def _number(value: float | None) -> float:
    """The value, NaN for one that wasn't measured."""
    return nan if value is None or not isfinite(value) else value


def _positive(value: float | None) -> float:
    """A ratio, share or age: as _number, and what is below zero can't have been measured."""
    number = _number(value)
    return number if number >= 0 else nan


def _kept(seen: Mapping[str, float]) -> Measurements:
    """Measurements as they are stored; NaN has no place in JSON."""
    return {name: value if isfinite(value) else None for name, value in seen.items()}


def _unknown(seen: Mapping[str, float]) -> str:
    names = [name for name, value in seen.items() if not isfinite(value)]
    return f"not measured: {', '.join(names)}" if names else ""
