"""What monitoring measures on a day, and what the retrain gate makes of it."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from checks.drift import FeatureDrift, feature_drift
from checks.gates import GateDecision, decide_retrain
from data.settings import Settings
from feature_repo import store
from feature_repo.transforms import SCALE_FREE, drift_samples
from models.assembly import features_as_known, read_snapshot
from models.forecaster import Forecaster
from models.performance import Performance, score

SCORED_DAYS = 84  # cutoffs of the last twelve weeks are scored


@dataclass(frozen=True)
class Monitoring:
    """What the retrain gate is told."""

    cutoff: date
    version: str
    failed_checks: list[str]
    drift: list[FeatureDrift]
    performance: Performance
    backtest_ratio: float
    model_age_days: int


def scored_since(cutoff: date) -> date:
    """The oldest cutoff whose forecasts are scored when sales reach `cutoff`."""
    return cutoff - timedelta(days=SCORED_DAYS)


def score_issued(
    settings: Settings, snapshot: Path, version: str, issued: pl.DataFrame
) -> Performance:
    """Scores forecasts, those issued since `scored_since`, against the snapshot's sales."""
    _, cutoff, sales, _ = read_snapshot(snapshot)
    return score(
        issued,
        sales,
        version=version,
        horizon=settings.horizon,
        until=cutoff,
        closed_days=settings.closed_days,
    )


def measure_drift(settings: Settings, snapshot: Path, trained: date) -> list[FeatureDrift]:
    """Compares the newest features with those of the eight weeks before the training."""
    _, cutoff, _, series = read_snapshot(snapshot)
    known = store.offline_cutoffs(settings)
    window = [c for c in known if trained - timedelta(days=56) < c <= trained]
    features = features_as_known(settings, series, sorted({*window, cutoff}))
    reference, current = drift_samples(features, window, cutoff, seed=settings.seed)
    return feature_drift(
        reference, current, SCALE_FREE, statistics=settings.drift_statistics, seed=settings.seed
    )


def monitoring(
    champion: Forecaster,
    cutoff: date,
    *,
    failed_checks: list[str],
    drift: list[FeatureDrift],
    performance: Performance,
) -> Monitoring:
    """The measurements of a day's cutoff beside what is known of the champion."""
    return Monitoring(
        cutoff=cutoff,
        version=champion.version,
        failed_checks=failed_checks,
        drift=drift,
        performance=performance,
        backtest_ratio=champion.manifest.backtest["naive ratio"],
        model_age_days=(cutoff - champion.trained_cutoff).days,
    )


def decide(seen: Monitoring) -> GateDecision:
    """Hands the measurements to the retrain gate."""
    performance = seen.performance
    naive = performance.naive_ratio
    return decide_retrain(
        failed_checks=seen.failed_checks,
        drifted=[d.feature for d in seen.drift if d.drifted],
        n_features=len(seen.drift),
        matured_days=performance.matured_days,
        loss_ratio=None if naive is None else naive / seen.backtest_ratio,
        naive_ratio=naive,
        coverage_80=performance.coverage_80,
        model_age_days=seen.model_age_days,
    )
