"""Goes back to the model that served before: `python -m serving.rollback [REASON]`."""

import sys
from datetime import UTC, datetime

from data.settings import Settings, command_settings
from models import registry
from serving.deploy import (
    DeployFailed,
    current_version,
    forget_previous,
    previous_version,
    served_model,
    swap,
)
from serving.turn import turn


class NothingToRollBackTo(LookupError):
    """No other model has served before the present one."""


def roll_back(settings: Settings, *, at: datetime, why: str, version: str | None = None) -> str:
    """Serves the previous version (or `version`) again and moves `champion` back to it.

    The caller has the turn (serving.turn). The swap comes first and needs no MLflow. A version that
    was promoted and waits for its swap is taken back alone: what serves, serves on. Raises
    NothingToRollBackTo, DeployFailed when the version does not serve, and RegistryUnreachable when
    it serves but the alias was not moved: the same version asked for again moves it.
    """
    current = current_version(settings)
    target = version or _before(settings, current)
    if target is None:
        raise NothingToRollBackTo(
            f"No version served before {current!r}: there is nothing to roll "
            "back to; run the train deployment, or deploy a version by its number."
        )
    swap(settings, target, timeout_seconds=20)
    if version or target != current:
        forget_previous(settings)
    try:
        registry.roll_back(settings, target, at=at, why=why)
    except registry.RegistryUnreachable as error:
        said = f"Version {target} serves again ({why}), but the alias `champion` was not moved."
        then = f"Then run the rollback deployment with version={target}."
        raise registry.RegistryUnreachable(f"{said} {error} {then}") from error
    return target


def _before(settings: Settings, current: str | None) -> str | None:
    """The version to go back to when nobody names one."""
    previous, served = previous_version(settings), (served_model(settings) or {}).get("version")
    # A swap that was killed once it served has not been written down: what it replaced is current.
    # A rollback that was killed then serves the previous one already.
    if current is not None and served not in (None, current, previous):
        return current
    try:
        champion = registry.version_of(settings, registry.CHAMPION)
    except registry.RegistryUnreachable:
        return previous  # a rollback needs no registry
    waits = current is not None and champion not in (None, current, previous)
    return current if waits else previous


def main(why: str) -> int:
    """Rolls back and prints what serves; 1 when that failed, with the reason printed."""
    settings = command_settings()
    try:
        with turn(settings, "make rollback", lambda said: print(said, flush=True)):
            version = roll_back(settings, at=datetime.now(UTC), why=why)
    except (
        NothingToRollBackTo,
        DeployFailed,
        registry.RegistryUnreachable,
        TimeoutError,
    ) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"version {version} serves")
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:]) or "by hand"))
