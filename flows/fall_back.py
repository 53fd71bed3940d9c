"""Serves what did better when the model is no better than seasonal naive."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from prefect import flow, get_run_logger, task

from checks import monitoring
from data import ledger
from data.settings import Settings
from data.warehouse import connect
from feature_repo.store import StaleFeatures
from flows.deploy import deploy
from flows.materialize import take_snapshot
from flows.rollback import rollback
from flows.slots import done, writing
from flows.train import collect, register, rehearse
from models import registry
from models.backtest import TrainingData
from models.baselines import SEASONAL_NAIVE
from models.forecaster import Forecaster, NoChampion, Unusable
from models.lagged import METHODS
from models.training import Training, last_week
from serving.deploy import DeployFailed, current_version


@task
def better_before(settings: Settings, snapshot: Path, lost: Sequence[date]) -> str | None:
    """The version before, if it beats seasonal naive in the weeks that the champion lost.

    One that can't be asked is none, and the log says why: something safe has to serve.
    """
    version = registry.version_of(settings, registry.PREVIOUS)
    if version is None or not lost:
        return None
    try:
        before = registry.load(settings, version)
        helps = before.method not in METHODS and _helps(settings, snapshot, before, lost)
    except (NoChampion, Unusable) as error:
        get_run_logger().warning("Version %s can't be asked: %s", version, error)
        return None
    return version if helps else None


def _helps(settings: Settings, snapshot: Path, model: Forecaster, lost: Sequence[date]) -> bool:
    """Whether a model beats seasonal naive in those weeks; no without the features of then."""
    champion = registry.load(settings)
    with connect(settings) as con:
        issued = ledger.issued_forecasts(con, monitoring.scored_since(max(lost)))
    try:
        return monitoring.would_have_helped(
            settings, snapshot, model, instead_of=champion.version, lost=lost, issued=issued
        )
    except StaleFeatures as error:
        get_run_logger().warning("Nothing can be said of those weeks: %s", error)
        return False


@task
def calibrate(data: TrainingData) -> Training:
    """Makes the model that repeats the last week, with intervals of its own."""
    return last_week(data)


@task
def may_serve(settings: Settings, snapshot: Path, training: Training, lost: Sequence[date]) -> bool:
    """Whether the model that repeats the last week did no worse than what won those weeks.

    Seasonal naive is what won them. In weekly data that repeats the week of a year ago, and the
    model the last one (models.lagged): then it has to beat it there.
    """
    model = Forecaster(None, training.manifest)
    return not lost or model.method == SEASONAL_NAIVE or _helps(settings, snapshot, model, lost)


@flow(flow_run_name="fall back")
def fall_back(reason: str = "by hand", lost: Sequence[date] = ()) -> str:
    """Serves the version before if it would have beaten seasonal naive, else what sold last week.

    That is a version like any other: registered, rehearsed, deployed and watched. In daily data it
    is seasonal naive; in weekly data, where that repeats last year, it serves only if it would have
    beaten it too. Nothing changes where it serves already; where it is champion and the API does
    not serve it, it is deployed.

    Args:
        reason: why; kept in the history of the champion.
        lost: last days of the weeks that seasonal naive did not lose; empty asks no version before.
    """
    settings = Settings()
    champion = registry.load(settings)
    if champion.method in METHODS:
        if current_version(settings) != champion.version:  # a swap to it failed
            deploy()
        message = f"version {champion.version}, {champion.method}, serves already"
        return done(message=message, data=champion.version)
    with writing():
        snapshot = take_snapshot(settings)
        before = better_before(settings, snapshot, lost)
    if before:
        return rollback(reason, int(before))
    with writing():
        data = collect(settings, snapshot)
    training = calibrate(data)
    method = training.manifest.method
    with writing():
        helps = may_serve(settings, snapshot, training, lost)
    if not helps:
        message = f"version {champion.version} serves on: {method} would have lost those weeks too"
        return done(message=message, data=champion.version)
    version = register(settings, training, data)
    if faults := rehearse(settings, version, data.snapshot_id):
        raise DeployFailed(f"Version {version}, {method}, does not serve: {'; '.join(faults)}.")
    why = f"fall back to {method}: {reason}"
    registry.promote(settings, version, at=datetime.now(UTC), why=why)
    deploy()
    return done(message=f"version {version}, {method}, serves: {reason}", data=version)
