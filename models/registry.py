"""MLflow: runs, registered versions and the aliases that say which of them serves."""

import json
import os
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from data.schema import KEYS
from data.settings import ROOT, Settings
from data.warehouse import as_utc
from models import forecaster
from models.backtest import TrainingData
from models.card import card
from models.dataset import INPUTS
from models.forecaster import LIGHTGBM, Forecaster, Manifest, NoChampion, OtherCode
from models.plots import training_figures
from models.search import gain_over_defaults
from models.training import Training

MODEL = "demand"
EXPERIMENT = "demand"
HISTORY = "champion since"  # tags of the registered model, one per move of the alias
UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such alias or version
Move = dict[str, Any]  # of the alias: at, version, why; `moved`: whether the alias followed
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True)
class Served:
    """One move of the alias `champion`."""

    since: datetime
    version: str
    why: str


class RegistryUnreachable(ConnectionError):
    """The MLflow server does not answer, or can't read its database."""


@contextmanager
def connected(settings: Settings) -> Iterator[MlflowClient]:
    """A client of the MLflow server. Raises RegistryUnreachable in one sentence if it is down."""
    # MLflow itself tries for many minutes, which would hold up a rollback.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    mlflow.set_tracking_uri(settings.mlflow_url)
    try:
        yield MlflowClient()
    except MlflowException as error:
        said = str(error)
        if "sqlalche.me" in said:  # in every error of a database, whatever its status
            raise RegistryUnreachable(
                f"The MLflow server at {settings.mlflow_url} can't read its database "
                f"({said.splitlines()[0][:200]}); restore the state from a copy as the runbook "
                "says, then run this again."
            ) from error
        if "API request to" not in said and "Connection" not in said:
            raise
        raise RegistryUnreachable(
            f"The MLflow server at {settings.mlflow_url} does not answer; start it with `make up`."
        ) from error


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id) if found else str(client.create_experiment(EXPERIMENT))


def _commit() -> str:
    """Commit of the code that trains, or `unknown` outside a checkout."""
    asked = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return "unknown"
    return done.stdout.strip() or "unknown"


def register(settings: Settings, training: Training, data: TrainingData) -> str:
    """Logs a training as an MLflow run and registers its model.

    Returns the new version. The run holds the trials, the data set with its snapshot id, the
    feature service, the commit, the holdout's figures, a plot, and the manifest.
    """
    with connected(settings) as client:
        experiment = _experiment(client)
        with (
            mlflow.start_run(experiment_id=experiment, run_name=f"train {data.cutoff}") as run,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", UserWarning)
            _log(settings, training, data)
            version = _add_version(client, run, training, data)
        for key, value in _tags(training).items():
            client.set_model_version_tag(MODEL, version, key, value)
        run_url = f"{settings.mlflow_url}/#/experiments/{experiment}/runs/{run.info.run_id}"
        client.update_model_version(MODEL, version, description=card(training.manifest, run_url))
    return version


def _add_version(
    client: MlflowClient, run: mlflow.ActiveRun, training: Training, data: TrainingData
) -> str:
    """Registers the booster, or without one the active run alone, whose manifest is the model."""
    if training.booster is None:
        uri, run_id = run.info.artifact_uri, run.info.run_id
        return str(client.create_model_version(MODEL, source=uri, run_id=run_id).version)
    example = pl.DataFrame(data.matrix[0][:5], schema=INPUTS).to_pandas()
    logged = mlflow.lightgbm.log_model(
        training.booster,
        name="model",
        signature=infer_signature(example, training.booster.predict(example)),
        input_example=example,
        registered_model_name=MODEL,
        pip_requirements=["lightgbm"],
    )
    return str(logged.registered_model_version)


def _tags(training: Training) -> dict[str, str]:
    manifest = training.manifest
    return {
        "method": manifest.method,
        "trained_cutoff": str(manifest.trained_cutoff),
        "snapshot_id": manifest.snapshot_id,
        "feature_service": manifest.feature_service,
        "git_commit": _commit(),
    }


def _log(settings: Settings, training: Training, data: TrainingData) -> None:
    """Logs everything but the model to the active run."""
    mlflow.set_tags(_tags(training))
    mlflow.log_params(training.parameters)
    for model, metric, value in training.backtest.select("model", "metric", "value").iter_rows():
        mlflow.log_metric(f"holdout/{model}/{metric}".replace("%", ""), value)
    mlflow.log_metric("trials", training.trials.height)
    if training.booster is not None:
        mlflow.log_metric("probable stock-outs left out/steps", data.left_out.height)
        mlflow.log_metric("probable stock-outs left out/series", data.left_out.n_unique(KEYS))
    for which, gain in gain_over_defaults(training.trials).items():
        mlflow.log_metric(f"tuning gain over defaults/{which}", gain)
    mlflow.log_table(training.trials.to_pandas(), "trials.json")
    mlflow.log_table(training.backtest.to_pandas(), "backtest.json")
    mlflow.log_text(training.manifest.to_json(), forecaster.MANIFEST)
    rows = data.features.select("store_id", "item_id", "cutoff", "mean_28")
    sales = settings.snapshots_dir / data.snapshot_id / "sales.parquet"
    dataset = mlflow.data.from_polars(
        rows, source=str(sales), name=f"{data.snapshot_id} {data.cutoff}"
    )
    mlflow.log_input(dataset, context="training")
    for plot, figure in training_figures(training, data).items():
        mlflow.log_figure(figure, f"{plot}.png")


def version_of(settings: Settings, alias: str) -> str | None:
    """The version that an alias names, or None."""
    with connected(settings) as client:
        try:
            return str(client.get_model_version_by_alias(MODEL, alias).version)
        except MlflowException as error:
            if error.error_code in UNKNOWN:
                return None
            raise


def parameters_of(settings: Settings, version: str) -> dict[str, object]:
    """The parameters that a version was fitted with, from its run."""
    with connected(settings) as client:
        run = client.get_run(client.get_model_version(MODEL, version).run_id)
    return {name: _value(text) for name, text in run.data.params.items()}


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def challenge(settings: Settings, version: str) -> None:
    """Makes a version the challenger."""
    with connected(settings) as client:
        client.set_registered_model_alias(MODEL, CHALLENGER, version)


def promote(settings: Settings, version: str, *, at: datetime, why: str) -> None:
    """Moves `champion` to a version and `previous` to the one that it was; the history says why.

    The history comes first: a kill leaves the old champion or the new one with its reason, and the
    same call again does the rest.
    """
    old = version_of(settings, CHAMPION)
    with connected(settings) as client:
        _settle(client, old)
        if old == version:
            return
        move = _remember(client, version, at, why)
        if old:
            client.set_registered_model_alias(MODEL, PREVIOUS, old)
        client.set_registered_model_alias(MODEL, CHAMPION, version)
        _confirm(client, *move)


def roll_back(settings: Settings, version: str, *, at: datetime, why: str) -> None:
    """Moves `champion` back; the one that failed keeps why as a tag, and `previous` is gone."""
    failed = version_of(settings, CHAMPION)
    if failed and failed != version:
        hold_against(settings, failed, why)
    take_back(settings, version, before=None, at=at, why=f"rolled back: {why}")


def take_back(
    settings: Settings, version: str, *, before: str | None, at: datetime, why: str
) -> None:
    """Moves `champion` back to a version and `previous` to `before`, or to nothing.

    Raises RegistryUnreachable.
    """
    with connected(settings) as client:
        _settle(client, version_of(settings, CHAMPION))
        move = _remember(client, version, at, why)
        client.set_registered_model_alias(MODEL, CHAMPION, version)
        if before:
            client.set_registered_model_alias(MODEL, PREVIOUS, before)
        elif version_of(settings, PREVIOUS):
            client.delete_registered_model_alias(MODEL, PREVIOUS)
        _confirm(client, *move)


def hold_against(settings: Settings, version: str, why: str) -> None:
    """Tags a version with why it serves no more, or never did. Raises RegistryUnreachable."""
    with connected(settings) as client:
        client.set_model_version_tag(MODEL, version, "rolled_back", why)


def _remember(client: MlflowClient, version: str, at: datetime, why: str) -> tuple[str, Move]:
    """Writes a move to the history, before the alias; returns the tag's name and its content."""
    stamp = as_utc(at).strftime("%Y-%m-%dT%H.%M.%S.%fZ")  # a tag's name may not hold a colon
    move: Move = {"at": as_utc(at).isoformat(), "version": version, "why": why}
    name = f"{HISTORY} {stamp}"
    client.set_registered_model_tag(MODEL, name, json.dumps({**move, "moved": False}))
    return name, move


def _confirm(client: MlflowClient, name: str, move: Move) -> None:
    """Notes that the alias followed."""
    client.set_registered_model_tag(MODEL, name, json.dumps({**move, "moved": True}))


def _settle(client: MlflowClient, champion: str | None) -> None:
    """Confirms what the alias followed before a kill, and takes away what it didn't."""
    for name, move in _moves(client).items():
        if not move.get("moved", True):
            if move["version"] == champion:
                _confirm(client, name, move)
            else:
                client.delete_registered_model_tag(MODEL, name)


def _moves(client: MlflowClient) -> dict[str, Move]:
    """The history by name of its tag."""
    tags = client.get_registered_model(MODEL).tags
    return {name: json.loads(text) for name, text in tags.items() if name.startswith(HISTORY)}


def alias_history(settings: Settings) -> list[Served]:
    """Every move of `champion`, oldest first: the answer to which version served when, and why."""
    champion = version_of(settings, CHAMPION)
    with connected(settings) as client:
        moves = _moves(client).values()
    found = [
        Served(datetime.fromisoformat(m["at"]), m["version"], m["why"])
        for m in moves
        if m.get("moved", True) or m["version"] == champion
    ]
    return sorted(found, key=lambda served: served.since)


def served_at(history: Sequence[Served], instant: datetime) -> Served | None:
    """The version that served at an instant, since when and why; None before the first one."""
    return next((s for s in reversed(history) if s.since <= as_utc(instant)), None)


@dataclass(frozen=True)
class Exported:
    """A model version as a folder that a server reads without MLflow."""

    version: str
    folder: Path


def export(settings: Settings, version: str | None = None) -> Exported:
    """Writes a version (default: the champion) to `settings.champions_dir/VERSION`.

    Raises NoChampion when there is none, or no such version.
    """
    version = version or version_of(settings, CHAMPION)
    if version is None:
        raise NoChampion("No model has been promoted yet; run the train deployment first.")
    folder = settings.champions_dir / version
    with connected(settings) as client:
        try:
            found = client.get_model_version(MODEL, version)
        except MlflowException as error:
            if error.error_code not in UNKNOWN:
                raise
            raise NoChampion(
                f"The registry at {settings.mlflow_url} has no version {version!r} of {MODEL!r}."
            ) from error
        text = mlflow.artifacts.load_text(f"runs:/{found.run_id}/{forecaster.MANIFEST}")
        manifest = replace(Manifest.from_json(text), version=version)
        booster = None
        if manifest.method == LIGHTGBM:
            booster = mlflow.lightgbm.load_model(f"models:/{MODEL}/{version}").model_to_string()
    forecaster.save(folder, booster, manifest)
    return Exported(version, folder)


def opponent(settings: Settings) -> tuple[Forecaster | None, str]:
    """The champion that a new model is compared with, or None and why there is none.

    Before the first promotion that is empty; a champion that code of another time made counts as
    none too, and is named. Raises Unusable for one whose files are damaged.
    """
    version = version_of(settings, CHAMPION)
    try:
        return (None if version is None else load(settings, version)), ""
    except OtherCode as error:
        return None, str(error)


def load(settings: Settings, version: str | None = None) -> Forecaster:
    """A version (default: the champion) from its exported folder, exported first if need be."""
    version = version or version_of(settings, CHAMPION)
    folder = settings.champions_dir / str(version)
    if version is None or not (folder / forecaster.DIGESTS).exists():
        folder = export(settings, version).folder
    return Forecaster.load(folder)
