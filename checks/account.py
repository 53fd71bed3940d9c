"""A gate's decision in words and figures that need no knowledge of statistics."""

from collections.abc import Mapping

from checks import gates, rollout
from checks.alerts import guide
from checks.gates import GateDecision, Outcome

MEANING: dict[Outcome, str] = {
    "hold": "The data can't be trusted. Nothing is trained; what serves now goes on serving.",
    "insufficient": "Too little is known yet to decide. Nothing is trained.",
    "pass": "The model does what it promised. Nothing is trained.",
    "alert": "Something moved. A challenger may be trained beside the model; it doesn't serve.",
    "retrain": "The forecasts got worse, or the model is old. A new model is trained, and serves "
    "only if it is better.",
    "fall_back": "The forecasts are no better than sales of a season ago. The model before serves "
    "again if it did better, else last week's sales unless they did worse, until a new model is "
    "better.",
}
HELD_OR_MOVED = ("retrain hold", "retrain alert", "promote hold")  # somebody has to look at it
Row = tuple[str, str, str]


def account(decision: GateDecision, subject: str) -> str:
    """Markdown: the outcome, what it means, its reasons, and each measurement with its limit.

    What somebody has to look at names its owner and the part of the runbook.
    """
    reasons = "\n".join(f"- {reason}" for reason in decision.reasons)
    head = f"# {decision.outcome}: {subject}\n\n"
    if (kind := f"{decision.gate} {decision.outcome}") in HELD_OR_MOVED:
        owner, next_step = guide(kind)
        head += f"For: {owner}. What to do: {next_step}\n\n"
    if decision.gate != "retrain":
        seen = decision.measurements
        measured = "\n".join(f"| {k} | {_text(v)} | {_limit(k, seen)} |" for k, v in seen.items())
        return f"{head}{reasons}\n\n| measured | value | limit |\n|---|---|---|\n{measured}\n"
    rows = "\n".join(f"| {a} | {b} | {c} |" for a, b, c in _rows(decision.measurements))
    follows = "A training follows." if decision.train else "No training follows."
    return (
        f"{head}{MEANING[decision.outcome]} {follows}\n\n{reasons}\n\n"
        f"| question | found | limit |\n|---|---|---|\n{rows}\n"
    )


def _rows(seen: Mapping[str, float | int | str | None]) -> list[Row]:
    low, high = gates.COVERAGE_80
    tested = f"{_text(seen['drifted'], 'none')} of {seen['n_features']} features"
    muted = f"not judged, {seen['muted']} is a holiday" if seen["muted"] else tested
    bounds = f"{_text(seen['coverage_low'])} to {_text(seen['coverage_high'])}"
    age = f"{gates.MODEL_AGE_DAYS} days"
    cap = f"{gates.COOLDOWN_DAYS} days apart, {gates.TRAININGS} in {gates.TRAININGS_DAYS} days"
    last = f"{_text(seen['days_since_training'], 'none')}; {seen['recent_trainings']}"
    return [
        ("Can the data be trusted? Checks that failed", _text(seen["failed_checks"], "none"), ""),
        ("Did the conditions of trade move? Drifted", muted, ""),
        (
            "Days of forecasts that met their sales",
            f"{seen['matured_days']}",
            f"at least {gates.MATURED_DAYS}",
        ),
        ("Loss over that of seasonal naive, four weeks", _text(seen["naive_ratio"]), ""),
        (
            "Weeks in a row no better than naive",
            f"{seen['naive_weeks']}",
            f"below {gates.NAIVE_WEEKS}",
        ),
        ("Loss over the backtest's, four weeks", _text(seen["loss_ratio"]), ""),
        ("Loss that piled up over the weeks", _text(seen["loss_cusum"]), f"{gates.LOSS_CUSUM:g}"),
        ("Bias that piled up, + is too much", _text(seen["bias_cusum"]), f"± {gates.BIAS_CUSUM:g}"),
        (
            "Sales that the 80 % band holds, with 95 % bounds",
            f"{_text(seen['coverage_80'])} ({bounds})",
            f"{low:g} to {high:g}",
        ),
        ("Age of the model, days", _text(seen["model_age_days"]), age),
        ("Days since the last training; trainings of late", last, cap),
    ]


def _limit(name: str, seen: Mapping[str, float | int | str | None]) -> str:
    """What a measurement of the promotion gate or of a rehearsal is held to; empty if nothing."""
    low, high = gates.COVERAGE_80
    repeats = bool(seen.get("champion_repeats"))
    plausible = rollout.PLAUSIBLE_AFTER_REPEATS if repeats else rollout.PLAUSIBLE
    limits = {
        "ratio_upper": f"below {_text(seen.get('limit'))}",
        "paired_bias": f"{gates.BIAS_WORSE:g} further from zero than champion_bias",
        "moved": "" if repeats else f"{gates.MOVED:g}",
        "coverage_80": f"{low:g} to {high:g}",
        "bias": f"± {gates.BIAS:g}",
        "naive_ratio": f"below {gates.NAIVE_RATIO:g}",
        "worse_slices": f"none surely above {gates.SLICE_RATIO:g}",
        "p95_ms": f"{rollout.FAST_MS:g}, or {rollout.SLOWER:g} times champion_p95_ms",
        "heavier_mb": f"{rollout.HEAVIER_MB:g}",
        "units": f"{plausible[0]:g} to {plausible[1]:g} times champion_units",
    }
    return limits.get(name.removeprefix("golden requests ").removeprefix("shadow "), "")


def _text(value: float | int | str | None, empty: str = "not measured") -> str:
    if value is None or value == "":
        return empty
    return f"{value:.3g}" if isinstance(value, float) else str(value)
