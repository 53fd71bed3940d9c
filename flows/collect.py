"""Takes what replicas spooled, and what went wrong elsewhere, into the ledger."""

from datetime import UTC, datetime

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from checks.alerts import guide
from data import collection, ledger
from data.collection import Collected
from data.settings import Settings
from data.warehouse import connect
from flows.failed_runs import failed_runs
from flows.slots import done, writing


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


@flow(flow_run_name="collect")
def collect() -> Collected:
    """Brings the ledger up to date: answers and errors of the API, failed runs, bad rows."""
    settings = Settings()
    with writing():
        taken = take(settings)
        errors = track(settings)
    create_table_artifact(key="errors", table=errors, description="What went wrong, newest first")
    return done(
        message=f"{taken.records:,} records of {taken.files} files, {taken.torn} torn, "
        f"{taken.lost} lost; {len(errors)} kinds of errors",
        data=taken,
    )
