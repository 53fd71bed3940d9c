"""MLflow runs that hold reports instead of models."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import mlflow

from data.settings import Settings
from models.registry import connected


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

    Raises models.registry.RegistryUnreachable when the MLflow server does not answer.
    """
    with connected(settings):
        found = mlflow.set_experiment(experiment)
        with mlflow.start_run(experiment_id=found.experiment_id, run_name=name) as run:
            mlflow.log_params(dict(params))
            mlflow.log_metrics(dict(metrics))
            for file in files:
                mlflow.log_artifact(str(file))
    return f"{settings.mlflow_url}/#/experiments/{found.experiment_id}/runs/{run.info.run_id}"
