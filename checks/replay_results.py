"""What a replay found: accuracy, stability, cost and false retrains of every policy."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.judgement import FIGURES, Band, jackknifed, losses, moved, paired, sample_of
from checks.policies import Policy, Standing, recommend
from checks.replay import Replay, fit, seconds_of
from checks.replay_decisions import Decision, decide, serving


@dataclass(frozen=True)
class Results:
    """Everything that the report shows; `hashes` cover what a second run has to repeat."""

    since: date
    until: date
    series: int
    cpu_hour_price: float
    clocks: tuple[str, ...]
    policies: list[dict[str, Any]]
    weeks: list[dict[str, Any]]
    retrains: list[dict[str, Any]]
    decisions: list[Decision]
    recommended: str
    sentence: str
    hashes: dict[str, str]


def results(replay: Replay) -> Results:
    """Compares the policies over the range, once every day of it was walked."""
    issues = {p.name: _issues(replay, p) for p in replay.policies}
    mean = {name: _mean(replay, made) for name, made in issues.items()}
    best = min(mean, key=lambda name: float(mean[name][0]))
    decisions = [d for p in replay.policies for d in _decisions(replay, p)]
    retrains = [row for p in replay.policies for row in _retrains(replay, p)]
    weeks = [row for name, made in issues.items() for row in _weeks(replay, name, made)]
    table = []
    for policy in replay.policies:
        moves = [w["moved"] for w in weeks if w["policy"] == policy.name]
        mine, ratio = mean[policy.name], jackknifed(list(mean[policy.name] / mean[best]))
        table.append(
            {
                "policy": policy.name,
                **_accuracy(replay, issues[policy.name], jackknifed(list(mine)), ratio),
                "moved": _mean_of(moves),
                **_cost(replay, policy),
                **_false(retrains, policy.name),
            }
        )
    recommended, sentence = recommend(
        [Standing(**{f.name: row[f.name] for f in fields(Standing)}) for row in table]
    )
    found: dict[str, Any] = {"policies": table, "weeks": weeks, "retrains": retrains}
    return Results(
        since=replay.since,
        until=replay.until,
        series=sample_of(replay).group.height,
        cpu_hour_price=replay.settings.cpu_hour_price,
        clocks=tuple(p.name for p in replay.policies if not p.gated),
        **found,
        decisions=decisions,
        recommended=recommended,
        sentence=sentence,
        hashes=_hashes(replay, issues, found, decisions),
    )


def _issues(replay: Replay, policy: Policy) -> list[tuple[date, str]]:
    """Cutoff and version of every issue of a policy."""
    return [(c, serving(replay, policy, c)) for c in replay.days if c <= replay.until]


def _mean(replay: Replay, issues: list[tuple[date, str]]) -> NDArray[np.float64]:
    """Mean loss of issues, whole and without each group."""
    weekly = np.array([losses(replay, *one)["week"] for one in issues], dtype=np.float64)
    return np.asarray(weekly.mean(axis=0), dtype=np.float64)


def _weeks(replay: Replay, name: str, issues: list[tuple[date, str]]) -> list[dict[str, Any]]:
    rows = []
    for k in range(replay.weeks):
        since = replay.since + timedelta(weeks=k)
        made = [i for i in issues if since <= i[0] < since + timedelta(weeks=1)]
        if not made:  # sales of that week had not come on any of its mornings
            continue
        moves = [moved(replay, old, new) for old, new in pairwise(issues) if new in made]
        band = asdict(jackknifed(list(_mean(replay, made))))
        week = {"policy": name, "week": since + timedelta(days=1)}
        rows.append({**week, **band, "moved": _mean_of(moves)})
    return rows


def _mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of those that are there; None when none is."""
    there = [v for v in values if v is not None]
    return float(np.mean(there)) if there else None


def _decisions(replay: Replay, policy: Policy) -> list[Decision]:
    return [decide(replay, policy, c) for c in replay.days if replay.asks(c)]


def _retrains(replay: Replay, policy: Policy) -> list[dict[str, Any]]:
    """Each fit that came into service beside the model that it replaced."""
    rows = []
    kept = fit(replay, replay.since)
    for decision in _decisions(replay, policy):
        if decision.serves != kept:
            pair = paired(replay, decision.cutoff, decision.serves, kept)
            rows.append({"policy": policy.name, "cutoff": decision.cutoff, **pair})
        kept = decision.serves
    return rows


def _accuracy(
    replay: Replay, issues: list[tuple[date, str]], loss: Band, ratio: Band
) -> dict[str, Any]:
    whole = [f for f in (losses(replay, *one)["figures"] for one in issues) if f]
    horizon = {
        f"horizon {name}": float(np.mean([f[name] for f in whole])) if whole else None
        for name in FIGURES
    }
    return {
        "loss": loss.value,
        "loss_low": loss.low,
        "loss_high": loss.high,
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        **horizon,
    }


def _cost(replay: Replay, policy: Policy) -> dict[str, Any]:
    """CPU seconds; a fit that several policies used is charged to each of them."""
    decisions = _decisions(replay, policy)
    trained = [d.trained for d in decisions if d.trained]
    fits = sum(seconds_of(replay, f"fits/{v}") for v in trained)
    asking = sum(d.cpu_seconds for d in decisions)
    daily = sum(seconds_of(replay, f"days/{c}") for c in replay.days if c <= replay.until)
    daily += sum(
        seconds_of(replay, f"issued/{c}/{version}") for c, version in _issues(replay, policy)
    )
    return {
        "trainings": len(trained),
        "training_seconds": fits + asking,
        "daily_seconds": daily,
        "cost": (fits + asking) / 3600 * replay.settings.cpu_hour_price,
    }


def _false(retrains: list[dict[str, Any]], name: str) -> dict[str, int]:
    mine = [row for row in retrains if row["policy"] == name]
    return {"retrains": len(mine), "false_retrains": sum(row["false"] for row in mine)}


def _hashes(
    replay: Replay,
    issues: dict[str, list[tuple[date, str]]],
    found: dict[str, Any],
    decisions: list[Decision],
) -> dict[str, str]:
    """SHA-256 of what a second run has to repeat to the last bit; times and costs are left out."""
    timed = {"training_seconds", "daily_seconds", "cost"}
    scores = [
        {k: v for k, v in row.items() if k not in timed} for rows in found.values() for row in rows
    ]
    content = {
        "forecasts": [
            (name, str(c), v, losses(replay, c, v)["digest"])
            for name, made in issues.items()
            for c, v in made
        ],
        "scores": scores,
        "decisions": [
            {k: v for k, v in asdict(d).items() if k != "cpu_seconds"} for d in decisions
        ],
    }
    return {
        name: hashlib.sha256(json.dumps(part, default=str, sort_keys=True).encode()).hexdigest()
        for name, part in content.items()
    }
