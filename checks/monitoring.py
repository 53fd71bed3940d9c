"""What monitoring measures on a day, and what the retrain gate makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from checks.evidence import Evidence, decay, evidence
from checks.gates import TRAININGS_DAYS, GateDecision, decide_retrain
from data.settings import Settings
from data.snapshots import read_snapshot
from data.warehouse import business_day
from models.baselines import SEASONAL_NAIVE
from models.forecaster import Forecaster
from models.performance import Performance, score
from models.reissue import forecast_as_of

SCORED_DAYS = 84  # cutoffs of the last twelve weeks are scored


@dataclass(frozen=True)
class Monitoring:
    """What the retrain gate is told; trainings are counted within TRAININGS_DAYS."""

    evidence: Evidence
    failed_checks: list[str]
    model_age_days: int
    days_since_training: int | None
    recent_trainings: int
    champion_repeats: bool


def scored_since(cutoff: date) -> date:
    """The oldest cutoff whose forecasts are scored when sales reach `cutoff`."""
    return cutoff - timedelta(days=SCORED_DAYS)


def score_issued(
    settings: Settings, snapshot: Path, champion: Forecaster, issued: pl.DataFrame
) -> Performance:
    """Scores forecasts, those issued since `scored_since`, against the snapshot's sales."""
    taken = read_snapshot(snapshot)
    return score(
        issued,
        taken.sales(),
        version=champion.version,
        calibration=champion.manifest.calibration,
        horizon=settings.horizon,
        until=taken.cutoff,
        steps=settings.steps,
    )


def measure(
    settings: Settings,
    snapshot: Path,
    champion: Forecaster,
    *,
    issued: pl.DataFrame,
    plan: pl.DataFrame,
) -> Evidence:
    """Quality, drift and performance of the snapshot's day.

    `issued` are forecasts of the champion and of seasonal naive, those issued since `scored_since`;
    `plan` (schema PLAN) is that of the snapshot's past days as it was known.
    """
    taken = read_snapshot(snapshot)
    cutoff, sales, series = taken.cutoff, taken.sales(), taken.series()
    return evidence(
        settings,
        issued=issued,
        sales=sales,
        plan=plan,
        series=series,
        model=champion.manifest,
        until=cutoff,
    )


def monitoring(
    champion: Forecaster,
    seen: Evidence,
    *,
    failed_checks: Sequence[str],
    trainings: Sequence[datetime],
    now: datetime,
    timezone: str,
) -> Monitoring:
    """The measurements of a day beside failed contracts, the model's age and past trainings.

    Trainings are as many days ago as dates of the business's `timezone` have passed: one that took
    a few minutes last Monday is a week ago this Monday morning, as it is in a replay. Those of
    more than TRAININGS_DAYS ago are left out.
    """
    unusual = [f"{seen.quality.contract}: {r.check}" for r in seen.quality.failures]
    today = business_day(now, timezone)
    since = now - timedelta(days=TRAININGS_DAYS)
    counted = [t for t in trainings if since <= t <= now]
    days = [(today - business_day(t, timezone)).days for t in counted]
    return Monitoring(
        evidence=seen,
        failed_checks=sorted({*failed_checks, *unusual}),
        model_age_days=(seen.until - champion.trained_cutoff).days,
        days_since_training=min(days, default=None),
        recent_trainings=sum(d < TRAININGS_DAYS for d in days),
        champion_repeats=champion.repeats,
    )


def would_have_helped(
    settings: Settings,
    snapshot: Path,
    before: Forecaster,
    *,
    instead_of: str,
    lost: Sequence[date],
    issued: pl.DataFrame,
) -> bool:
    """Whether `before` beats seasonal naive in each of the weeks (last days) that a version lost.

    It forecasts again from the cutoffs of what that version issued, as it would have then, so that
    both are judged on the same days. `issued` are the ledger's rows, with snapshot_id, of that
    version and of seasonal naive. When a snapshot is gone nothing can be said, which is a no.
    Raises StaleFeatures when the features of a cutoff are.
    """
    taken = read_snapshot(snapshot)
    sales, series = taken.sales(), taken.series()
    days = issued.filter(pl.col("ds").is_between(min(lost) - timedelta(days=6), max(lost)))
    issues = days.filter(pl.col("model") == instead_of).select("cutoff", "snapshot_id").unique()
    asked = [of for of in issues.sort("cutoff").iter_rows() if not before.has_seen(of[0])]
    if not all((settings.snapshots_dir / snapshot_id).exists() for _, snapshot_id in asked):
        return False
    again = [forecast_as_of(settings, before, *of) for of in asked]
    own = [frame.with_columns(model=pl.lit(before.version)) for frame in again]
    both = pl.concat([*own, days.filter(pl.col("model") == SEASONAL_NAIVE)], how="diagonal")
    weeks = decay(settings, both, sales, series, model=before.manifest, until=max(lost)).weeks
    judged = weeks.filter(pl.col("week").is_in(list(lost)))
    return judged.height == len(lost) and bool((judged["loss"] < judged["naive_loss"]).all())


def decide(seen: Monitoring) -> GateDecision:
    """Hands the measurements to the retrain gate."""
    return decide_retrain(
        failed_checks=seen.failed_checks,
        model_age_days=seen.model_age_days,
        days_since_training=seen.days_since_training,
        recent_trainings=seen.recent_trainings,
        champion_repeats=seen.champion_repeats,
        **seen.evidence.measured(),
    )
