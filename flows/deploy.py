"""Exports the champion, swaps it into the running forecast API, and watches it."""

from datetime import UTC, datetime

from prefect import flow, task

from checks.rollout import Tried
from data.settings import Settings
from flows.slots import done
from models import registry
from serving import rollout
from serving.deploy import DeployFailed, swap
from serving.rollback import roll_back


@task(retries=2, retry_delay_seconds=5)
def export(settings: Settings, version: str | None) -> str:
    """Writes a version to the folder that servers read; None is the champion."""
    return registry.export(settings, version).version


@task
def serve(settings: Settings, version: str) -> dict[str, object]:
    """Swaps the API to the version; a version that does not load leaves the old one serving."""
    return swap(settings, version)


@task
def watch(settings: Settings, version: str, before: Tried | None, since: datetime) -> Tried:
    """Sends the requests of before the swap again and counts what live requests met."""
    return rollout.watch(settings, version, before, since)


@flow(flow_run_name="deploy")
def deploy(version: int | None = None) -> str:
    """Serves a registered model without dropping a request; one that fails there is taken back.

    Args:
        version: a version of the registered model; empty takes the champion.
    """
    settings, since = Settings(), datetime.now(UTC)
    exported = export(settings, str(version) if version else None)
    before = rollout.observe(settings)
    serve(settings, exported)
    if version:
        registry.promote(settings, exported, at=since, why="deployed by its number")
    seen = watch(settings, exported, before, since)
    if before and (problems := seen.problems()):
        why = "; ".join(problems)
        back = roll_back(settings, at=datetime.now(UTC), why=why)
        raise DeployFailed(f"Version {exported} was rolled back to {back}: {why}.")
    return done(
        message=f"version {exported} serves; {seen.requests} requests watched, "
        f"p95 {seen.p95_ms:.0f} ms",
        data=exported,
    )
