"""The daily cycle over a range of history, and what each policy of retraining decides in it.

All policies walk through the days together, so that deliveries, features and fits are shared.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import polars as pl

from checks import monitoring
from checks.fall_back import choose
from checks.gates import GateDecision, Outcome, decide_promotion
from checks.monitoring import Monitoring
from checks.policies import Policy
from checks.replay import (
    Replay,
    calibrate_last_week,
    day,
    fit,
    issue,
    issued,
    load,
    snapshot_of,
    spent,
    train,
    write_json,
)
from data.schema import KEYS
from data.snapshots import read_snapshot
from data.warehouse import connect, known_at_morning, plan_as_of
from models.baselines import PUBLISHED
from models.forecaster import Forecaster
from models.promotion import evidence_against

FELL_BACK = "fell back to"  # among the measurements: what serves until a training is promoted
DIGITS = 6  # of measurements that are kept: groups are summed in any order, the last bits differ


@dataclass(frozen=True)
class Decision:
    """What a policy decided on the morning after a cutoff: `trained` is the version that was
    fitted, if any, `serves` the one that forecasts from then on."""

    policy: str
    cutoff: date
    outcome: str
    reasons: tuple[str, ...]
    measurements: dict[str, Any]
    trained: str | None
    serves: str
    cpu_seconds: float


def walk(replay: Replay, since: date, until: date) -> None:
    """Runs the days after `since` up to `until`, or goes on with them; they follow on each other.

    Raises ContractBreach where a deployment would, and SourceError.
    """
    for cutoff in (d for d in replay.days if since < d <= until):
        day(replay, cutoff)
        if cutoff <= replay.until:
            issue(replay, cutoff, {serving(replay, p, cutoff) for p in replay.policies})
        if replay.asks(cutoff):
            for policy in replay.policies:
                decide(replay, policy, cutoff)


def serving(replay: Replay, policy: Policy, cutoff: date) -> str:
    """The version that issues a policy's forecasts from a cutoff.

    A decision is made after that morning's forecasts: it counts from the next cutoff on.
    """
    made = [d for d in replay.days if replay.asks(d) and d < cutoff]
    return decide(replay, policy, made[-1]).serves if made else fit(replay, replay.since)


def decide(replay: Replay, policy: Policy, cutoff: date) -> Decision:
    """What a policy decides on the morning after a cutoff, and what it trains.

    A clock puts every fit into service, as schedulers do. The gate decides as in production, and
    so does the promotion gate about its fit; an alert's fit stays in shadow, and a fall back serves
    what flows.fall_back would.
    """
    path = replay.folder / "decisions" / policy.name / f"{cutoff}.json"
    if not path.exists():
        write_json(path, asdict(_decided(replay, policy, cutoff)))
    found = json.loads(path.read_text())
    return Decision(**found | {"cutoff": cutoff, "reasons": tuple(found["reasons"])})


def _decided(replay: Replay, policy: Policy, cutoff: date) -> Decision:
    start = spent(replay)
    champion = load(replay, serving(replay, policy, cutoff))
    fell_back: dict[str, Any] = {}
    if policy.gated:
        seen = _seen(replay, policy, champion, cutoff)
        gate = monitoring.decide(seen)
        if gate.outcome == "fall_back":
            champion = _fall_back(replay, policy, champion, cutoff, seen.evidence.decay.lost)
            fell_back = {FELL_BACK: champion.version}
    else:
        gate = _clock(policy, (cutoff - champion.trained_cutoff).days)
    seconds = spent(replay) - start
    reasons, measured = list(gate.reasons), dict(gate.measurements) | fell_back
    trained, serves = None, champion.version
    if gate.train:
        trained = serves = fit(replay, cutoff)
    if trained and policy.gated:
        train(replay, cutoff)  # is charged as a fit
        start = spent(replay)
        promotion = _promotion(replay, champion, cutoff, gate.by_age)
        seconds += spent(replay) - start
        reasons += [f"promotion {promotion.outcome}: {reason}" for reason in promotion.reasons]
        measured |= {f"promotion {k}": v for k, v in promotion.measurements.items()}
        if gate.outcome == "alert" or promotion.outcome != "pass":
            serves = champion.version
    rounded = {k: round(v, DIGITS) if isinstance(v, float) else v for k, v in measured.items()}
    return Decision(
        policy=policy.name,
        cutoff=cutoff,
        outcome=gate.outcome,
        reasons=tuple(reasons),
        measurements=rounded,
        trained=trained,
        serves=serves,
        cpu_seconds=seconds,
    )


def _clock(policy: Policy, age: int) -> GateDecision:
    due, reason = policy.is_due(age), f"the model is {age} days old: {policy.name}"
    outcome: Outcome = "retrain" if due else "pass"
    return GateDecision("retrain", outcome, (reason,), {"model_age_days": age}, train=due)


def _seen(replay: Replay, policy: Policy, champion: Forecaster, cutoff: date) -> Monitoring:
    """What monitoring measures that morning."""
    settings, snapshot = replay.settings, snapshot_of(replay, cutoff)
    now = known_at_morning(cutoff, settings.timezone)
    first_day: date = read_snapshot(snapshot).sales()["ds"].min()  # type: ignore[assignment]
    with connect(settings) as con:
        plan = plan_as_of(con, now, first_day, cutoff)
    seen = monitoring.measure(
        settings, snapshot, champion, issued=ledger_of(replay, policy, cutoff), plan=plan
    )
    trained = [d.cutoff for d in _asked(replay, policy, cutoff) if d.trained]
    return monitoring.monitoring(
        champion,
        seen,
        failed_checks=day(replay, cutoff).failed_checks,
        trainings=[known_at_morning(d, settings.timezone) for d in (replay.since, *trained)],
        now=now,
        timezone=settings.timezone,
    )


def _asked(replay: Replay, policy: Policy, cutoff: date) -> list[Decision]:
    """The decisions before a cutoff, oldest first."""
    return [decide(replay, policy, d) for d in replay.days if replay.asks(d) and d < cutoff]


def _fall_back(
    replay: Replay, policy: Policy, champion: Forecaster, cutoff: date, lost: Sequence[date]
) -> Forecaster:
    """What serves after a fall back, chosen as flows.fall_back does."""

    def beats_naive(model: Forecaster) -> bool:
        return monitoring.would_have_helped(
            replay.settings,
            snapshot_of(replay, cutoff),
            model,
            instead_of=champion.version,
            lost=lost,
            issued=ledger_of(replay, policy, cutoff),
        )

    before = previous(fit(replay, replay.since), _asked(replay, policy, cutoff))
    return choose(
        champion,
        before=None if before is None else load(replay, before),
        last_week=lambda: load(replay, calibrate_last_week(replay, cutoff)),
        lost=lost,
        beats_naive=beats_naive,
    )


def previous(first: str, decisions: Sequence[Decision]) -> str | None:
    """What the alias `previous` would name after decisions, oldest first; `first` served at first.

    A version that was gone back to leaves none: the one before it is the one that failed.
    """
    serves, before = first, None
    for decision in decisions:
        for version in (decision.measurements.get(FELL_BACK, serves), decision.serves):
            if version != serves:
                serves, before = version, (None if version == before else serves)
    return before


def ledger_of(replay: Replay, policy: Policy, cutoff: date) -> pl.DataFrame:
    """What the ledger would hold for monitoring: a policy's own forecasts and the baselines'."""
    frames = [
        issued(replay, past, model).with_columns(snapshot_id=pl.lit(day(replay, past).snapshot))
        for past in replay.days
        if monitoring.scored_since(cutoff) <= past <= cutoff
        for model in (serving(replay, policy, past), *PUBLISHED)
    ]
    return pl.concat(frames, how="diagonal").sort("model", "cutoff", *KEYS, "ds")


def _promotion(replay: Replay, champion: Forecaster, cutoff: date, by_age: bool) -> GateDecision:
    training, data = train(replay, cutoff)
    found = evidence_against(
        champion, training, data, seed=replay.settings.seed, parameters=training.parameters
    )
    return decide_promotion(**found, by_age=by_age)
