"""Retrain? Promote? Measurements go in, one decision with its reasons comes out. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

if TYPE_CHECKING:  # its module loads MLflow
    from models.promotion import Evidence

Outcome = Literal["hold", "insufficient", "pass", "alert", "retrain", "fall_back"]
Measurements = dict[str, float | int | str | None]

# Every threshold, and the data that it was tuned on: docs/gates.md.
MATURED_DAYS = 28  # one whole horizon, and every weekday four times
NAIVE_RATIO = 1.0  # from here on seasonal naive, which costs nothing, does as well
NAIVE_WEEKS = 2  # one week may be lost to naive by chance
LOSS_SLACK = 0.15  # of the logarithm of a week's loss ratio: what clean weeks lose now and then
LOSS_CUSUM = 0.35  # above every clean world, see docs/gates.md
BIAS_SLACK = 0.10  # of a week's bias; the first week of a month sells a tenth more
BIAS_CUSUM = 0.25  # likewise
NEAR_HOLIDAY = 1  # days before a public holiday, and one after, that say nothing about decay
COVERAGE_80 = (0.72, 0.88)  # around every clean world
MODEL_AGE_DAYS = 28  # studies of daily retail data find no gain in retraining more often
COOLDOWN_DAYS = 7  # a new model has to meet its first sales
TRAININGS = 4  # at most in TRAININGS_DAYS
TRAININGS_DAYS = 30
RATIO_UPPER = 1.0  # better by the 95 % bound, not only on average
NON_INFERIOR = 1.01  # a fresher model that is worse by less than this is no loss to a planner
SLICE_RATIO = 1.05  # no store, department or volume may pay for the gain of the others
BIAS_WORSE = 0.02  # further from zero than the champion's; several times what seeds differ by
MOVED = 0.30  # of the units; far above what two configurations differ by
BIAS = 0.10  # ordering a tenth too much or too little, whatever the loss says


@dataclass(frozen=True)
class GateDecision:
    """What a gate decided, why in words, and the numbers that it saw (None: not measured).

    `train` says whether a training is to follow; a retrain gate asks for none within the cooldown.
    `by_age` says that it follows from nothing but the champion's age.
    """

    gate: Literal["retrain", "promote"]
    outcome: Outcome
    reasons: tuple[str, ...]
    measurements: Mapping[str, float | int | str | None]
    train: bool = False
    by_age: bool = False


class DecidedOn(TypedDict):
    """What checks.evidence measures for the retrain gate.

    `drifted` are features that drifted of `n_features` tested; `muted` the holiday for which drift
    isn't judged, or empty. `loss_ratio` is the loss of four matured weeks over the backtest's,
    `naive_ratio` over that of seasonal naive on the same days, `naive_weeks` how many of the newest
    weeks in a row were no better than it. `loss_cusum` and `bias_cusum` are cumulative sums of
    weeks (models.decay.cusum), the latter with its sign. `coverage_80` is what the 80 % interval
    holds, sales at its ends in part, from `coverage_low` to `coverage_high` with 95 % confidence.
    """

    drifted: Sequence[str]
    n_features: int
    muted: str
    matured_days: int
    loss_cusum: float | None
    bias_cusum: float | None
    loss_ratio: float | None
    naive_ratio: float | None
    naive_weeks: int
    coverage_80: float | None
    coverage_low: float | None
    coverage_high: float | None


# A row of a decision table: whether it applies, what it decides, and why.
Row = tuple[bool, Outcome, Sequence[str]]


def _first_that_applies(rows: Sequence[Row]) -> tuple[Outcome, Sequence[str]]:
    return next((outcome, reasons) for applies, outcome, reasons in rows if applies)


def decide_retrain(
    *,
    failed_checks: Sequence[str],
    model_age_days: int | None,
    days_since_training: int | None,
    recent_trainings: int,
    champion_repeats: bool = False,
    **seen: Unpack[DecidedOn],
) -> GateDecision:
    """Whether to retrain. The first that applies decides: bad data (hold), a champion that has
    learnt nothing and only repeats what sold (fall_back), too little evidence (insufficient), no
    better than seasonal naive (fall_back), decay or age (retrain), drift (alert).

    `failed_checks` are those of contracts and of the source's own history. A training follows
    fall_back, retrain and, in shadow, alert; not within COOLDOWN_DAYS of the last one
    (`days_since_training`, None: there was none), nor after TRAININGS in TRAININGS_DAYS
    (`recent_trainings`): then decay is an alert that says so. What is None, NaN or infinite counts
    as not measured, and so does what can't be negative and is.
    """
    needed = {
        **{k: _positive(seen[k]) for k in POSITIVE},  # type: ignore[literal-required]
        "bias_cusum": _number(seen["bias_cusum"]),
        "model_age_days": _positive(model_age_days),
    }
    measurements: Measurements = {
        "failed_checks": ", ".join(failed_checks),
        "drifted": ", ".join(seen["drifted"]),
        "n_features": seen["n_features"],
        "muted": seen["muted"],
        "matured_days": seen["matured_days"],
        "naive_weeks": seen["naive_weeks"],
        **_kept(needed),
        "days_since_training": days_since_training,
        "recent_trainings": recent_trainings,
        **({"champion_repeats": 1} if champion_repeats else {}),
    }
    decay = _decay(needed)
    table = _retrain_table(failed_checks, champion_repeats, needed, decay, seen)
    outcome, reasons = _first_that_applies(table)
    by_age = outcome == "retrain" and len(decay) == 1 and needed["model_age_days"] > MODEL_AGE_DAYS
    wait = _too_soon(days_since_training, recent_trainings)
    wanted = outcome in ("alert", "retrain", "fall_back")
    if wanted and wait:
        outcome, reasons = "alert" if outcome == "retrain" else outcome, (*reasons, wait)
    train = wanted and not wait
    return GateDecision("retrain", outcome, tuple(reasons), measurements, train, by_age)


def _retrain_table(
    failed_checks: Sequence[str],
    champion_repeats: bool,
    needed: Mapping[str, float],
    decay: Sequence[str],
    seen: DecidedOn,
) -> list[Row]:
    """The decision table of docs/gates.md, in its order."""
    few = f"forecasts for {seen['matured_days']} days have met their sales"
    unknown = _unknown(needed)
    weeks = f"{seen['naive_weeks']} weeks in a row no better than seasonal naive"
    drifted, n = seen["drifted"], seen["n_features"]
    drift = f"{len(drifted)} of {n} features drifted: {', '.join(drifted)}"
    suspects = [drift] if drifted else []
    health = f"loss is {needed['loss_ratio']:.2f} times the backtest's; {_sums(needed)}"
    holiday = f"drift isn't judged in the week of the holiday {seen['muted']}"
    repeats = "what serves repeats the last week until a model is better"
    return [
        (bool(failed_checks), "hold", [f"the data failed {', '.join(failed_checks)}"]),
        (champion_repeats, "fall_back", [repeats]),
        (
            seen["matured_days"] < MATURED_DAYS,
            "insufficient",
            [f"{few}; a decision takes {MATURED_DAYS} days"],
        ),
        (bool(unknown), "insufficient", [unknown]),
        (seen["naive_weeks"] >= NAIVE_WEEKS, "fall_back", [weeks, *suspects]),
        (bool(decay), "retrain", [*decay, *suspects]),
        (bool(drifted), "alert", [drift, f"forecasts haven't decayed: {health}"]),
        (bool(seen["muted"]), "pass", [holiday, health]),
        (n < 1, "insufficient", ["no feature was tested for drift"]),
        (True, "pass", [f"none of {n} features drifted", health]),
    ]


POSITIVE = (
    *("loss_cusum", "loss_ratio", "naive_ratio"),
    *("coverage_80", "coverage_low", "coverage_high"),
)


def _too_soon(days_since_training: int | None, recent_trainings: int) -> str:
    """Why no training may follow now; empty if one may."""
    if days_since_training is not None and days_since_training < COOLDOWN_DAYS:
        ago = f"the last training was {days_since_training} days ago"
        return f"no training now: {ago}, the next may follow after {COOLDOWN_DAYS}"
    if recent_trainings >= TRAININGS:
        count = f"{recent_trainings} trainings in {TRAININGS_DAYS} days"
        return f"no training now: {count}, limit {TRAININGS}"
    return ""


def _sums(seen: Mapping[str, float]) -> str:
    loss, bias = seen["loss_cusum"], seen["bias_cusum"]
    limits = f"limits {LOSS_CUSUM:.2f} and {BIAS_CUSUM:.2f}"
    return f"cumulative sums are {loss:.2f} of loss and {bias:+.2f} of bias, {limits}"


def _decay(seen: Mapping[str, float]) -> list[str]:
    """Reasons to retrain."""
    low, high = COVERAGE_80
    reasons = []
    if seen["loss_cusum"] > LOSS_CUSUM:
        sums = f"cumulative sum {seen['loss_cusum']:.2f}, limit {LOSS_CUSUM:.2f}"
        reasons.append(f"loss is {seen['loss_ratio']:.2f} times the backtest's; {sums}")
    if abs(seen["bias_cusum"]) > BIAS_CUSUM:
        direction = "too much" if seen["bias_cusum"] > 0 else "too little"
        sums = f"cumulative sum {abs(seen['bias_cusum']):.2f}, limit {BIAS_CUSUM:.2f}"
        reasons.append(f"{direction} was forecast; {sums}")
    if seen["coverage_high"] < low or seen["coverage_low"] > high:
        bounds = f"{seen['coverage_low']:.1%} to {seen['coverage_high']:.1%} with 95 % confidence"
        reasons.append(f"{_coverage(seen['coverage_80'])}; {bounds}")
    if seen["model_age_days"] > MODEL_AGE_DAYS:
        age = f"the model is {seen['model_age_days']:.0f} days old"
        reasons.append(f"{age}, more than {MODEL_AGE_DAYS}")
    return reasons


def decide_promotion(*, by_age: bool = False, **seen: "Unpack[Evidence]") -> GateDecision:
    """Whether a challenger may serve: pass promotes it, hold keeps what serves now, insufficient
    says that evidence is missing.

    The arguments are models.promotion.Evidence; without a champion those that compare with it are
    not used. The challenger has to be better (superiority); `by_age`, when nothing but the age of
    the champion made the training, it only must not be worse by more than 1 % (non-inferiority).
    How far forecasts move is not held against one that follows a model that repeats the last week.
    A champion that can't be loaded (`champion_refused` says why) is none, and every decision names
    it. What is None, NaN or infinite is not measured and never promotes.
    """
    has_champion, slices = seen["has_champion"], seen["slices"]
    repeats, refused = seen["champion_repeats"], seen["champion_refused"]
    paired = {
        "ratio": _positive(seen["ratio"]),
        "ratio_upper": _positive(seen["ratio_upper"]),
        "paired_bias": _number(seen["paired_bias"]),
        "champion_bias": _number(seen["champion_bias"]),
        "moved": _positive(seen["moved"]),
    }
    needed = {
        **(paired if has_champion else {}),
        "coverage_80": _positive(seen["coverage_80"]),
        "bias": _number(seen["bias"]),
        "naive_ratio": _positive(seen["naive_ratio"]),
    }
    limit = NON_INFERIOR if by_age else RATIO_UPPER
    worse = [f"{k}: {r:.2f}" for k, (r, low) in slices.items() if not _bearable(r, low)]
    measurements: Measurements = {
        **_kept(needed),
        "has_champion": int(has_champion),
        **({"champion_repeats": 1} if repeats else {}),
        "rule": "non-inferiority, by age" if by_age else "superiority",
        "limit": limit,
        "origins": seen["origins"],
        "refitted_origins": seen["refitted_origins"],
        "slices": len(slices),
        "worse_slices": ", ".join(worse),
    }
    if has_champion:
        faults = _faults(needed, limit, inf if repeats else MOVED)
        table = _over_champion(needed, [*faults, *(f"worse in {s}" for s in worse)], slices, by_age)
    else:
        table = _first_model(needed, refused)
    outcome, reasons = _first_that_applies(table)
    said = (*reasons, refused.rstrip(".")) if refused else tuple(reasons)
    return GateDecision("promote", outcome, said, measurements)


def _first_model(needed: Mapping[str, float], refused: str) -> list[Row]:
    """The decision table where no champion can be compared with."""
    none = "no champion to compare with" if refused else "no model serves yet"
    return [*_alone(needed), (True, "pass", [f"{none}; {_against_naive(needed['naive_ratio'])}"])]


def _over_champion(
    needed: Mapping[str, float], faults: Sequence[str], slices: Collection[str], by_age: bool
) -> list[Row]:
    """The decision table of a challenger beside its champion."""
    ratio, upper = needed["ratio"], needed["ratio_upper"]
    below = f"the upper bound {upper:.3f} is below the ratio {ratio:.3f}"
    verdict = "better than" if upper < RATIO_UPPER else "at most 1 % worse than"
    found = f"loss is {ratio:.3f} times the champion's, at most {upper:.3f} with 95 % confidence"
    rule = "; age alone asked for it, so no better is good enough" if by_age else ""
    return [
        *_alone(needed),
        (upper < ratio, "insufficient", [below]),
        (not slices, "insufficient", ["not measured: slices"]),
        (bool(faults), "hold", faults),
        (True, "pass", [f"the challenger is {verdict} the champion: {found}{rule}"]),
    ]


def _alone(needed: Mapping[str, float]) -> list[Row]:
    """What keeps any model from serving, whatever it is compared with."""
    unknown, naive = _unknown(needed), needed["naive_ratio"]
    return [
        (bool(unknown), "insufficient", [unknown]),
        (naive >= NAIVE_RATIO, "hold", [_against_naive(naive)]),
    ]


def _bearable(ratio: float, lower: float) -> bool:
    """Whether a slice is not surely worse by more than SLICE_RATIO; NaN is not."""
    return ratio <= SLICE_RATIO or lower <= 1


def _faults(seen: Mapping[str, float], limit: float, most_moved: float) -> list[str]:
    """Reasons to keep the champion."""
    low, high = COVERAGE_80
    bias, upper = seen["bias"], seen["ratio_upper"]
    reasons = []
    if upper >= limit:
        reasons.append(f"loss may be {upper:.3f} times the champion's (95 % bound), limit {limit}")
    if abs(bias) > BIAS:
        direction = "too much" if bias > 0 else "too little"
        reasons.append(f"forecasts are {abs(bias):.1%} {direction} in sum, limit {BIAS:.0%}")
    more = abs(seen["paired_bias"]) - abs(seen["champion_bias"])
    if more > BIAS_WORSE:
        reasons.append(f"bias is {more:.1%} further from zero than the champion's")
    if seen["moved"] > most_moved:
        reasons.append(f"forecasts of the same days would move by {seen['moved']:.0%}")
    if not low <= seen["coverage_80"] <= high:
        reasons.append(_coverage(seen["coverage_80"]))
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
