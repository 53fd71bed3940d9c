"""Scores forecasts whose days are over and tests the features for drift."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_table_artifact

from checks import monitoring
from checks.drift import FeatureDrift
from checks.monitoring import Monitoring
from data import ledger
from data.settings import Settings
from data.warehouse import connect
from flows.materialize import take_snapshot
from flows.slots import clock, done, writing
from models import registry
from models.assembly import read_snapshot
from models.performance import Performance


@task
def score_matured(settings: Settings, snapshot: Path, version: str) -> Performance:
    """Scores the ledger against the sales that are known now and keeps the scores."""
    since = monitoring.scored_since(read_snapshot(snapshot)[1])
    with connect(settings) as con:
        issued = ledger.issued_forecasts(con, since)
        performance = monitoring.score_issued(settings, snapshot, version, issued)
        stamped = performance.scores.with_columns(scored_at=pl.lit(clock(settings, con)[1]))
        ledger.append(con, "scores", stamped)
    return performance


@task
def measure_drift(settings: Settings, snapshot: Path, trained: date) -> list[FeatureDrift]:
    """Compares the newest features with those of the eight weeks before the training."""
    return monitoring.measure_drift(settings, snapshot, trained)


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
    seen = monitoring.monitoring(
        champion, cutoff, failed_checks=failed, drift=drift, performance=performance
    )
    drifted = [d.feature for d in drift if d.drifted]
    return done(
        message=f"{performance.matured_days} matured days, drift in {len(drifted)} of {len(drift)} "
        f"features{': ' + ', '.join(drifted) if drifted else ''}",
        data=seen,
    )
