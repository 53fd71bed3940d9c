"""Serves the model before the present one again."""

from datetime import UTC, datetime

from prefect import flow

from data.settings import Settings
from flows.slots import done
from serving.rollback import roll_back


@flow(flow_run_name="rollback")
def rollback(reason: str = "by hand", version: int | None = None) -> str:
    """Goes back to the version that served before, within seconds; the alias follows.

    Args:
        reason: why; kept in the history of the champion.
        version: a version to go back to; empty takes the one that served before.
    """
    asked = str(version) if version else None
    served = roll_back(Settings(), at=datetime.now(UTC), why=reason, version=asked)
    return done(message=f"version {served} serves again: {reason}", data=served)
