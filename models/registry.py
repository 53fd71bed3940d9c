"""MLflow: runs, registered versions and the aliases that say which of them serves."""

import json
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import polars as pl
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from data.settings import ROOT, Settings
from models import forecaster
from models.backtest import TrainingData
from models.dataset import INPUTS
from models.forecaster import Forecaster, Manifest, NoChampion
from models.plots import forecast_plot
from models.search import gain_over_defaults
from models.training import Training

MODEL = "demand"
EXPERIMENT = "demand"
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


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
    """Logs a training as an MLflow run and registers its booster as alias `challenger`.

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
            example = pl.DataFrame(data.matrix[0][:5], schema=INPUTS).to_pandas()
            logged = mlflow.lightgbm.log_model(
                training.booster,
                name="model",
                signature=infer_signature(example, training.booster.predict(example)),
                input_example=example,
                registered_model_name=MODEL,
                pip_requirements=["lightgbm"],
            )
        version = str(logged.registered_model_version)
        for key, value in _tags(training).items():
            client.set_model_version_tag(MODEL, version, key, value)
        client.update_model_version(MODEL, version, description=f"Run {run.info.run_id}")
        client.set_registered_model_alias(MODEL, CHALLENGER, version)
    return version


def _tags(training: Training) -> dict[str, str]:
    manifest = training.manifest
    return {
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
    mlflow.log_figure(forecast_plot(training.holdout, data.sales), "forecast_against_actuals.png")


def version_of(settings: Settings, alias: str) -> str | None:
    """The version that an alias names, or None."""
    with _client(settings) as client:
        try:
            return str(client.get_model_version_by_alias(MODEL, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def promote(settings: Settings, version: str) -> None:
    """Moves `champion` to a version and `previous` to the one that it was."""
    old = version_of(settings, CHAMPION)
    with _client(settings) as client:
        if old and old != version:
            client.set_registered_model_alias(MODEL, PREVIOUS, old)
        client.set_registered_model_alias(MODEL, CHAMPION, version)


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
        booster = mlflow.lightgbm.load_model(f"models:/{MODEL}/{version}")
        text = mlflow.artifacts.load_text(f"runs:/{found.run_id}/{forecaster.MANIFEST}")
        manifest = replace(Manifest.from_json(text), version=version)
    forecaster.save(folder, booster.model_to_string(), manifest)
    return Exported(version, folder)


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
