"""Scores forecasts whose days are over and tests quality, drift and performance."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event

from checks import contracts, monitoring
from checks.evidence import Evidence
from checks.gates import TRAININGS_DAYS
from checks.monitoring import Monitoring
from data import ledger
from data.settings import Settings
from data.snapshots import read_snapshot
from data.warehouse import connect, plan_as_of
from flows.materialize import take_snapshot
from flows.publication import publish_tables
from flows.slots import clock, done, writing
from models import registry
from models.forecaster import Forecaster
from models.performance import Performance

DRIFT_EVENT = "shelfcast.drift.detected"


@task
def score_matured(settings: Settings, snapshot: Path, champion: Forecaster) -> Performance:
    """Scores the ledger against the sales that are known now and keeps the scores."""
    cutoff = read_snapshot(snapshot).cutoff
    whole = settings.steps.after(cutoff, -settings.horizon)  # weeks reach beyond what is scored
    since = min(whole, monitoring.scored_since(cutoff))
    with connect(settings) as con:
        issued = ledger.issued_forecasts(con, since)
        performance = monitoring.score_issued(settings, snapshot, champion, issued)
        stamped = performance.scores.with_columns(scored_at=pl.lit(clock(settings, con)[1]))
        ledger.append(con, "scores", stamped)
    return performance


@task
def measure(settings: Settings, snapshot: Path, champion: Forecaster) -> Monitoring:
    """Measures quality, drift and performance of the newest day; keeps the checks of quality."""
    taken = read_snapshot(snapshot)
    cutoff = taken.cutoff
    first_day: date = taken.sales()["ds"].min()  # type: ignore[assignment]
    with connect(settings) as con:
        now = clock(settings, con)[1]
        issued = ledger.issued_forecasts(con, monitoring.scored_since(cutoff))
        plan = plan_as_of(con, now, first_day, cutoff)
        seen = monitoring.measure(settings, snapshot, champion, issued=issued, plan=plan)
        kept = contracts.rows(seen.quality, f"The week to {cutoff}", now)
        ledger.append(con, "contract_results", kept)
        failed = ledger.failed_checks(con, now - timedelta(days=1))
        trainings = ledger.trainings(con, now - timedelta(days=TRAININGS_DAYS))
    return monitoring.monitoring(
        champion,
        seen,
        failed_checks=failed,
        trainings=trainings,
        now=now,
        timezone=settings.timezone,
    )


def announce(seen: Evidence) -> None:
    """Publishes an event when a feature has drifted; the deployment `retrain` runs on it."""
    if drifted := [d.feature for d in seen.drift if d.drifted]:
        emit_event(
            DRIFT_EVENT,
            resource={
                "prefect.resource.id": f"shelfcast.model.{seen.version}",
                "prefect.resource.name": f"Forecast model, version {seen.version}",
            },
            payload={"features": ", ".join(drifted), "until": str(seen.until)},
        )


def show(settings: Settings, seen: Evidence, performance: Performance) -> None:
    """Puts the measurements into the Prefect UI."""
    ahead, since = f"{settings.horizon} {settings.steps.unit}s", performance.cutoff
    whole = f"The {ahead} after {since}" if since else f"No forecast has seen all its {ahead} yet"
    table = performance.table.pivot(on="model", index="metric", values="value")
    create_table_artifact(key="matured-forecasts", table=table.to_dicts(), description=whole)
    weeks = seen.decay.weeks.with_columns(pl.col("week").cast(pl.String))
    create_table_artifact(
        key="decay", table=weeks.to_dicts(), description="Loss of matured forecasts, by week"
    )
    muted = f"not judged: {seen.muted} is a holiday" if seen.muted else f"The week to {seen.until}"
    create_table_artifact(key="drift", table=[vars(d) for d in seen.drift], description=muted)
    create_table_artifact(
        key="quality", table=[vars(r) for r in seen.quality.results], description="The last week"
    )


@flow(flow_run_name="monitor")
def monitor(publish: bool = True) -> Monitoring:
    """Scores matured forecasts, tests the last week's quality and drift, and says if it drifted.

    Args:
        publish: off publishes no event of drift, so that nothing starts by it.
    """
    settings = Settings()
    champion = registry.load(settings)
    with writing():
        snapshot = take_snapshot(settings)
        performance = score_matured(settings, snapshot, champion)
        state = measure(settings, snapshot, champion)
        publish_tables(settings, snapshot)
    seen = state.evidence
    show(settings, seen, performance)
    if publish:
        announce(seen)
    drifted = [d.feature for d in seen.drift if d.drifted]
    return done(
        message=f"{seen.decay.matured_days} matured days, drift in {len(drifted)} of "
        f"{len(seen.drift)} features{': ' + ', '.join(drifted) if drifted else ''}",
        data=state,
    )
