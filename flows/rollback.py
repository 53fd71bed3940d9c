"""Serves the model before the present one again."""

from datetime import UTC, datetime

from prefect import flow

from data.settings import Settings
from flows.slots import changing, done
from serving.rollback import roll_back


@flow(flow_run_name="rollback")
def rollback(reason: str = "by hand", version: int | None = None) -> str:
    """Goes back to the version that served before; the alias follows.

    It takes seconds once nobody else changes what serves. While another run deploys, it waits until
    that is over and acts on what serves then.

    Args:
        reason: why; kept in the history of the champion.
        version: a version to go back to; empty takes the one that served before.
    """
    asked, settings = str(version) if version else None, Settings()
    with changing(settings, "the deployment rollback"):
        served = roll_back(settings, at=datetime.now(UTC), why=reason, version=asked)
    return done(message=f"version {served} serves again: {reason}", data=served)
