"""Serves what did better when the model is no better than seasonal naive."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from prefect import flow, get_run_logger, task

from checks import monitoring
from checks.fall_back import choose
from data import ledger
from data.settings import Settings
from data.warehouse import connect
from feature_repo.store import StaleFeatures
from flows.deploy import deploy
from flows.materialize import take_snapshot
from flows.slots import changing, done, writing
from flows.train import collect, promote_over, register, rehearse
from models import registry
from models.backtest import TrainingData
from models.forecaster import Forecaster, NoChampion, Unusable
from models.training import Training, last_week
from serving.deploy import DeployFailed, current_version
from serving.rollback import roll_back


@task
def before_that_loads(settings: Settings) -> Forecaster | None:
    """The version before; one that can't be loaded is none, and the log says why."""
    version = registry.version_of(settings, registry.PREVIOUS)
    try:
        return None if version is None else registry.load(settings, version)
    except (NoChampion, Unusable) as error:
        get_run_logger().warning("Version %s can't be asked: %s", version, error)
        return None


@task
def beats_naive(
    settings: Settings, snapshot: Path, model: Forecaster, champion: str, lost: Sequence[date]
) -> bool:
    """Whether a model beats seasonal naive in the weeks that a champion lost.

    It does not where features of those weeks are gone: something safe has to serve.
    """
    with writing():
        with connect(settings) as con:
            issued = ledger.issued_forecasts(con, monitoring.scored_since(max(lost)))
        try:
            return monitoring.would_have_helped(
                settings, snapshot, model, instead_of=champion, lost=lost, issued=issued
            )
        except StaleFeatures as error:
            get_run_logger().warning("Nothing can be said of those weeks: %s", error)
            return False


@task
def calibrate(settings: Settings, snapshot: Path) -> tuple[Training, TrainingData]:
    """Makes the model that repeats the last week, with intervals of its own."""
    with writing():
        data = collect(settings, snapshot)
    return last_week(data), data


@flow(flow_run_name="fall back")
def fall_back(reason: str = "by hand", lost: Sequence[date] = ()) -> str:
    """Serves the version before if it would have beaten seasonal naive, else what sold last week.

    That is a version like any other: registered, rehearsed, deployed and watched. In daily data it
    is seasonal naive; in weekly data, where that repeats last year, it serves only if it would have
    beaten it too (checks.fall_back). Nothing changes where it serves already; where it is champion
    and the API does not serve it, as after a run that was killed, it is deployed.

    Args:
        reason: why; kept in the history of the champion.
        lost: last days of the weeks that seasonal naive did not lose; empty asks no version before.
    """
    settings = Settings()
    champion = registry.load(settings)
    if champion.repeats:
        if current_version(settings) != champion.version:  # killed before its swap
            deploy()
        message = f"version {champion.version}, {champion.method}, serves already"
        return done(message=message, data=champion.version)
    with writing():
        snapshot = take_snapshot(settings)
    made: list[tuple[Training, TrainingData]] = []

    def repeating() -> Forecaster:
        made.append(calibrate(settings, snapshot))
        return Forecaster(None, made[0][0].manifest)

    chosen = choose(
        champion,
        before=before_that_loads(settings) if lost else None,
        last_week=repeating,
        lost=lost,
        beats_naive=lambda model: beats_naive(settings, snapshot, model, champion.version, lost),
    )
    if chosen is champion:
        message = f"version {champion.version} serves on: nothing else would have won those weeks"
        return done(message=message, data=champion.version)
    if not chosen.repeats:
        return serve_before(settings, champion.version, chosen.version, reason)
    return serve_last_week(settings, champion.version, *made[0], reason)


def serve_before(settings: Settings, champion: str, version: str, reason: str) -> str:
    """Goes back to the version before, unless another champion than the one that lost serves."""
    with changing(settings, f"the fall back to version {version}"):
        now = registry.version_of(settings, registry.CHAMPION)
        if now == champion:
            roll_back(settings, at=datetime.now(UTC), why=reason, version=version)
            return done(message=f"version {version} serves again: {reason}", data=version)
    message = f"version {now} has become champion meanwhile, in place of {champion}"
    return done(message=message, data=str(now))


def serve_last_week(
    settings: Settings, champion: str, training: Training, data: TrainingData, reason: str
) -> str:
    """Registers, rehearses, promotes and deploys the model that repeats the last week.

    It does not take over from another champion than the one that lost.
    """
    method, version = training.manifest.method, register(settings, training, data)
    if faults := rehearse(settings, version, data.snapshot_id).faults:
        raise DeployFailed(f"Version {version}, {method}, does not serve: {'; '.join(faults)}.")
    why = f"fall back to {method}: {reason}"
    if (now := promote_over(settings, champion, version, why)) != version:
        message = f"version {now} has become champion meanwhile, in place of {champion}"
        return done(message=message, data=str(now))
    deploy()
    return done(message=f"version {version}, {method}, serves: {reason}", data=version)
