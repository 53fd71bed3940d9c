"""Exports the champion, swaps it into the running forecast API, and watches it."""

from datetime import UTC, datetime
from typing import NoReturn

from prefect import flow, task

from checks.rollout import Tried
from data.settings import Settings
from flows.materialize import take_snapshot
from flows.slots import changing, done, writing
from flows.train import try_golden
from models import registry
from serving import rollout
from serving.deploy import (
    DeployFailed,
    KeyRefused,
    RayUnreachable,
    current_version,
    previous_version,
    swap,
)
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


def watched(settings: Settings, version: str, before: Tried | None, since: datetime) -> Tried:
    """What the watch saw; one that fails is a fault of the version, for nobody has watched it."""
    try:
        return watch(settings, version, before, since)
    except Exception as error:  # the task's log has its trace
        said = f"the watch failed: {type(error).__name__}: {error}"
        return Tried(0, (said,), 0.0, None, 0.0, None)


def require_golden(settings: Settings, version: str) -> None:
    """Golden requests to a version that no training has just tried. Raises DeployFailed."""
    with writing():
        snapshot = take_snapshot(settings)
    if faults := try_golden(settings, version, snapshot.name).problems():
        said = "; ".join(faults)
        raise DeployFailed(f"Version {version} is not deployed, golden requests say why: {said}.")


def swap_or_stay(settings: Settings, version: str) -> Tried | None:
    """Serves a version and returns what was answered before; if it does not, raises DeployFailed.

    Then `champion` names what serves on. The alias of a promoted version has moved already:
    forecasts and monitoring would go on with a model that answers nobody. Nothing is held against
    a version that Ray never heard of, or that only an API could tell of that refuses the key.
    """
    serves = current_version(settings)
    try:
        before = rollout.observe(settings)
        serve(settings, version)
    except DeployFailed as error:
        try:
            taken_back = take_alias_back(settings, version, serves, error)
        except registry.RegistryUnreachable as down:
            said = f"{error} The alias champion may still name version {version}: {down}"
            raise type(error)(said) from error
        if not taken_back:
            raise
        said = f"{error} The alias champion names version {serves} again"
        if isinstance(error, RayUnreachable | KeyRefused):
            said += f"; then run the deploy deployment with version={version}"
        raise type(error)(f"{said}.") from error
    return before


def take_alias_back(
    settings: Settings, version: str, serves: str | None, error: DeployFailed
) -> bool:
    """Moves `champion` from a version that failed its swap to what serves; whether it had to."""
    champion = registry.version_of(settings, registry.CHAMPION)
    if champion != version or serves in (None, version):
        return False
    why = f"version {version} was promoted and did not come to serve: {error}"
    if not isinstance(error, RayUnreachable | KeyRefused):
        registry.hold_against(settings, version, why)
    before, now = previous_version(settings), datetime.now(UTC)
    registry.take_back(settings, str(serves), before=before, at=now, why=why)
    return True


def go_back(settings: Settings, version: str, why: str) -> NoReturn:
    """Rolls back a version that failed its watch, if one served before; DeployFailed says so."""
    served = previous_version(settings)
    if served is None:
        said = f"Version {version} failed its watch, and none served before it: {why}"
        raise DeployFailed(f"{said}; look into the API's log, then deploy again.")
    try:
        back = roll_back(settings, at=datetime.now(UTC), why=why, version=served)
    except DeployFailed as error:
        raise DeployFailed(f"Version {version} failed its watch: {why}. {error}") from error
    raise DeployFailed(f"Version {version} was rolled back to {back}: {why}.")


def take_over(settings: Settings, version: str, *, why: str | None) -> str:
    """Swaps the API to an exported version and watches it; the caller has the turn.

    With `why`, the alias `champion` moves for that reason. Where nothing answered before, faults
    after the swap alone count: there is no time to compare with, and those before are what it ends.
    Raises DeployFailed when it does not come to serve, or is rolled back, and RegistryUnreachable
    when it serves and passed its watch, but the alias of one that was named was not moved.
    """
    began, before = datetime.now(UTC), swap_or_stay(settings, version)
    since = began if before else datetime.now(UTC)
    unmoved: registry.RegistryUnreachable | None = None
    if why is not None:
        try:
            registry.promote(settings, version, at=began, why=why)
        except registry.RegistryUnreachable as error:
            unmoved = error  # nobody has watched the version yet
    seen = watched(settings, version, before, since)
    if problems := seen.problems() if before else seen.faults:
        go_back(settings, version, "; ".join(problems))
    if unmoved:
        said = f"Version {version} serves, but the alias champion was not moved: {unmoved}"
        then = f"; run the deploy deployment with version={version}."
        raise registry.RegistryUnreachable(said.rstrip(".") + then) from unmoved
    return f"version {version} serves; {seen.requests} requests watched, p95 {seen.p95_ms:.0f} ms"


@flow(flow_run_name="deploy")
def deploy(version: int | None = None, reason: str = "deployed by its number") -> str:
    """Serves a registered model without dropping a request; one that fails there is taken back.

    Args:
        version: a registered version, tried by golden requests first; empty takes the champion.
        reason: why that version; kept in the history of the champion.
    """
    settings = Settings()
    if version:
        require_golden(settings, export(settings, str(version)))
    with changing(settings, "the deployment deploy"):
        exported = str(version) if version else export(settings, None)
        message = take_over(settings, exported, why=reason if version else None)
    return done(message=message, data=exported)
