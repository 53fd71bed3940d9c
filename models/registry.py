"""MLflow: runs, registered versions and the aliases that say which of them serves."""

import json
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import mlflow
import polars as pl
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from data.settings import ROOT, Settings
from data.warehouse import as_utc
from models import forecaster
from models.backtest import TrainingData
from models.dataset import INPUTS
from models.forecaster import LIGHTGBM, Forecaster, Manifest, NoChampion, OtherCode
from models.plots import training_figures
from models.search import gain_over_defaults
from models.training import Training

MODEL = "demand"
EXPERIMENT = "demand"
HISTORY = "champion since"  # tags of the registered model, one per move of the alias
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True)
class Served:
    """One move of the alias `champion`."""

    since: datetime
    version: str
    why: str


class RegistryUnreachable(ConnectionError):
    """The MLflow server does not answer."""


@contextmanager
def _client(settings: Settings) -> Iterator[MlflowClient]:
    """A client of the MLflow server. Raises RegistryUnreachable in one sentence if it is down."""
    mlflow.set_tracking_uri(settings.mlflow_url)
    try:
        yield MlflowClient()
    except MlflowException as error:
        if "API request to" not in str(error) and "Connection" not in str(error):
            raise
        raise RegistryUnreachable(
            f"The MLflow server at {settings.mlflow_url} does not answer; start it with `make up`."
        ) from error


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id) if found else str(client.create_experiment(EXPERIMENT))


def _commit() -> str:
    """Commit of the code that trains, or `unknown` outside a checkout."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def register(settings: Settings, training: Training, data: TrainingData) -> str:
    """Logs a training as an MLflow run and registers its model.

    Returns the new version. The run holds the trials, the data set with its snapshot id, the
    feature service, the commit, the holdout's figures, a plot, and the manifest.
    """
    with _client(settings) as client:
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
        client.update_model_version(MODEL, version, description=f"Run {run.info.run_id}")
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
    with _client(settings) as client:
        try:
            return str(client.get_model_version_by_alias(MODEL, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def parameters_of(settings: Settings, version: str) -> dict[str, object]:
    """The parameters that a version was fitted with, from its run."""
    with _client(settings) as client:
        run = client.get_run(client.get_model_version(MODEL, version).run_id)
    return {name: _value(text) for name, text in run.data.params.items()}


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def challenge(settings: Settings, version: str) -> None:
    """Makes a version the challenger."""
    with _client(settings) as client:
        client.set_registered_model_alias(MODEL, CHALLENGER, version)


def promote(settings: Settings, version: str, *, at: datetime, why: str) -> None:
    """Moves `champion` to a version and `previous` to the one that it was; the history says why."""
    old = version_of(settings, CHAMPION)
    with _client(settings) as client:
        if old and old != version:
            client.set_registered_model_alias(MODEL, PREVIOUS, old)
        client.set_registered_model_alias(MODEL, CHAMPION, version)
        if old != version:
            _remember(client, version, at, why)


def roll_back(settings: Settings, version: str, *, at: datetime, why: str) -> None:
    """Moves `champion` back to a version; the one that it was keeps the reason as a tag.

    `previous` is gone afterwards: it would name the model that just failed.
    """
    failed = version_of(settings, CHAMPION)
    with _client(settings) as client:
        client.set_registered_model_alias(MODEL, CHAMPION, version)
        if version_of(settings, PREVIOUS):
            client.delete_registered_model_alias(MODEL, PREVIOUS)
        if failed and failed != version:
            client.set_model_version_tag(MODEL, failed, "rolled_back", why)
        _remember(client, version, at, f"rolled back: {why}")


def _remember(client: MlflowClient, version: str, at: datetime, why: str) -> None:
    stamp = as_utc(at).strftime("%Y-%m-%dT%H.%M.%S.%fZ")  # a tag's name may not hold a colon
    entry = json.dumps({"at": as_utc(at).isoformat(), "version": version, "why": why})
    client.set_registered_model_tag(MODEL, f"{HISTORY} {stamp}", entry)


def alias_history(settings: Settings) -> list[Served]:
    """Every move of `champion`, oldest first: the answer to which version served when, and why."""
    with _client(settings) as client:
        tags = client.get_registered_model(MODEL).tags
    moves = [json.loads(text) for name, text in tags.items() if name.startswith(HISTORY)]
    found = [Served(datetime.fromisoformat(m["at"]), m["version"], m["why"]) for m in moves]
    return sorted(found, key=lambda served: served.since)


def served_at(history: Sequence[Served], instant: datetime) -> Served | None:
    """The version that served at an instant, since when and why; None before the first one."""
    moves = [served for served in history if served.since <= as_utc(instant)]
    return moves[-1] if moves else None


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
    with _client(settings) as client:
        try:
            found = client.get_model_version(MODEL, version)
        except MlflowException as error:
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


def backtest_of(settings: Settings, version: str) -> dict[str, float]:
    """The holdout figures that a version was registered with."""
    text = (settings.champions_dir / version / forecaster.MANIFEST).read_text()
    return dict(json.loads(text)["backtest"])
