"""Publishes what replicas and pages read, since the warehouse is open to its writer alone."""

from pathlib import Path

from prefect import task

from checks.publishing import publish
from data.settings import Settings
from data.warehouse import connect
from flows.slots import clock


@task
def publish_tables(settings: Settings, snapshot: Path) -> dict[str, int]:
    """Writes the published Parquet as of a snapshot; the caller holds the writer's slot."""
    with connect(settings) as con:
        return publish(con, settings, snapshot, clock(settings, con)[1])
