"""Takes what replicas spooled, and what went wrong elsewhere, into the ledger."""

from datetime import UTC, datetime, timedelta

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from checks.alerts import guide
from data import collection, ledger
from data.collection import Collected
from data.settings import Settings
from data.warehouse import connect, plan_as_of, query, sales_as_of
from flows.failed_runs import failed_runs
from flows.slots import clock, done, writing
from models.scores import new_scores, performance, pinned, stability, stamped

SCORED_DAYS = 56  # revisions of older days add no scores


@task
def take(settings: Settings) -> Collected:
    """Takes every closed spool file into the warehouse, each once."""
    with connect(settings) as con:
        return collection.collect(
            con, settings.spool_dir, collected_at=datetime.now(UTC), guide=guide
        )


@task
def track(settings: Settings) -> list[dict[str, str]]:
    """Adds failed flow runs and quarantined rows to the table of errors, and reads it."""
    failures = failed_runs()
    with connect(settings) as con:
        ledger.note_failures(con, [*failures, *ledger.quarantined(con)], guide, whole=True)
        rows = ledger.errors(con).to_dicts()
    return [{name: str(value) for name, value in row.items()} for row in rows]


@task
def score(settings: Settings) -> int:
    """Scores forecasts whose day is over, and again where its sales were revised."""
    with connect(settings) as con:
        day, now = clock(settings, con)
        if day is None:
            return 0
        since = day - timedelta(days=SCORED_DAYS)
        added = new_scores(
            query(con, "forecasts_for", since=since, until=day),
            query(con, "forecast_scores", since=since),
            sales_as_of(con, now),
            plan_as_of(con, now, since, day),
            until=day,
            maturity_days=settings.maturity_days,
            steps=settings.steps,
        )
        return ledger.append(con, "forecast_scores", stamped(added, now)) if len(added) else 0


@task
def report(settings: Settings) -> None:
    """Shows how forecasts have met their sales, by lead, store, department, volume, promotion."""
    with connect(settings) as con:
        day, _ = clock(settings, con)
        if day is None:
            return
        since = day - timedelta(days=SCORED_DAYS)
        figures = performance(pinned(query(con, "forecast_scores", since=since)))
        moved = stability(query(con, "forecasts_for", since=since, until=day))
    create_table_artifact(
        key="performance", table=figures.to_dicts(), description=f"Forecasts for {since} to {day}"
    )
    create_table_artifact(
        key="stability", table=moved.to_dicts(), description="Change from issue to issue"
    )


@flow(flow_run_name="collect")
def collect() -> Collected:
    """Brings the ledger up to date: answers and errors of the API, failed runs, bad rows."""
    settings = Settings()
    with writing():
        taken = take(settings)
        errors = track(settings)
        scored = score(settings)
        report(settings)
    create_table_artifact(key="errors", table=errors, description="What went wrong, newest first")
    return done(
        message=f"{taken.records:,} records of {taken.files} files, {taken.torn} torn, "
        f"{taken.lost} lost; {len(errors)} kinds of errors; {scored:,} scores",
        data=taken,
    )
