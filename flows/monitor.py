"""Scores forecasts whose days are over and tests the features for drift."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_table_artifact

from checks.drift import FeatureDrift, feature_drift
from data import ledger
from data.settings import Settings
from data.warehouse import connect
from feature_repo import store
from feature_repo.transforms import SCALE_FREE, drift_samples
from flows.materialize import take_snapshot
from flows.slots import clock, done, writing
from models import registry
from models.assembly import features_as_known, read_snapshot
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


@task
def score_matured(settings: Settings, snapshot: Path, version: str) -> Performance:
    """Scores the ledger against the sales that are known now and keeps the scores."""
    _, cutoff, sales, _ = read_snapshot(snapshot)
    with connect(settings) as con:
        issued = ledger.issued_forecasts(con, cutoff - timedelta(days=SCORED_DAYS))
        performance = score(
            issued,
            sales,
            version=version,
            horizon=settings.horizon,
            until=cutoff,
            closed_days=settings.closed_days,
        )
        stamped = performance.scores.with_columns(scored_at=pl.lit(clock(settings, con)[1]))
        ledger.append(con, "scores", stamped)
    return performance


@task
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


@task
def failures(settings: Settings) -> list[str]:
    """Contract checks that failed in their newest verification."""
    with connect(settings) as con:
        return ledger.failed_checks(con, clock(settings, con)[1] - timedelta(days=1))


@flow(flow_run_name="monitor")
def monitor() -> Monitoring:
    """Scores matured forecasts by lead time and tests for drift against the training window."""
    settings = Settings()
    champion = registry.load(settings)
    with writing():
        snapshot = take_snapshot(settings)
        failed = failures(settings)
        performance = score_matured(settings, snapshot, champion.version)
    _, cutoff, _, _ = read_snapshot(snapshot)
    drift = measure_drift(settings, snapshot, champion.trained_cutoff)
    table = performance.table.pivot(on="model", index="metric", values="value")
    create_table_artifact(
        key="matured-forecasts",
        table=table.to_dicts(),
        description=f"{performance.cutoff}, 28 days",
    )
    create_table_artifact(key="drift", table=[vars(d) for d in drift])
    seen = Monitoring(
        cutoff=cutoff,
        version=champion.version,
        failed_checks=failed,
        drift=drift,
        performance=performance,
        backtest_ratio=champion.manifest.backtest["naive ratio"],
        model_age_days=(cutoff - champion.trained_cutoff).days,
    )
    drifted = [d.feature for d in drift if d.drifted]
    return done(
        message=f"{performance.matured_days} matured days, drift in {len(drifted)} of {len(drift)} "
        f"features{': ' + ', '.join(drifted) if drifted else ''}",
        data=seen,
    )
