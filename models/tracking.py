"""MLflow runs that hold reports instead of models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import mlflow

from data.settings import Settings
from models.registry import RegistryUnreachable


def log_report(
    settings: Settings,
    experiment: str,
    name: str,
    *,
    params: Mapping[str, object],
    metrics: Mapping[str, float],
    files: Sequence[Path],
) -> str:
    """Logs figures and files as one run; returns the address of its page.

    Raises RegistryUnreachable when the MLflow server does not answer.
    """
    try:  # asked first: the client would try for minutes
        httpx.get(f"{settings.mlflow_url}/health", timeout=3).raise_for_status()
    except httpx.HTTPError as error:
        raise RegistryUnreachable(
            f"The MLflow server at {settings.mlflow_url} does not answer; start it with `make up`."
        ) from error
    mlflow.set_tracking_uri(settings.mlflow_url)
    found = mlflow.set_experiment(experiment)
    with mlflow.start_run(experiment_id=found.experiment_id, run_name=name) as run:
        mlflow.log_params(dict(params))
        mlflow.log_metrics(dict(metrics))
        for file in files:
            mlflow.log_artifact(str(file))
    return f"{settings.mlflow_url}/#/experiments/{found.experiment_id}/runs/{run.info.run_id}"
