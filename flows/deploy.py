"""Exports the champion and swaps it into the running forecast API."""

from prefect import flow, task

from data.settings import Settings
from flows.slots import done
from models import registry
from serving.deploy import swap


@task(retries=2, retry_delay_seconds=5)
def export(settings: Settings, version: str | None) -> str:
    """Writes a version to the folder that servers read; None is the champion."""
    return registry.export(settings, version).version


@task
def serve(settings: Settings, version: str) -> dict[str, object]:
    """Swaps the API to the version; a version that does not load leaves the old one serving."""
    return swap(settings, version)


@flow(flow_run_name="deploy")
def deploy(version: str | None = None) -> str:
    """Serves a registered model without dropping a request.

    Args:
        version: a version of the registered model; empty takes the champion.
    """
    settings = Settings()
    exported = export(settings, version)
    serve(settings, exported)
    return done(message=f"version {exported} serves", data=exported)
