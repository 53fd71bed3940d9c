"""The alternative to the API by MLflow: the same forecasts as a model for `mlflow models serve`.

Models from code: MLflow keeps this file and runs it again where it serves; nothing is pickled.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.types.schema import ColSpec, Schema

from data.settings import Settings
from serving.api.forecasts import ForecastRequest
from serving.service import ForecastService

KEYS = ("store_id", "item_id")
ASKED = [*(ColSpec("string", key) for key in KEYS), ColSpec("long", "horizon")]


class Forecasts(PythonModel):  # type: ignore[misc]
    """Forecasts of the series that are named by their keys, out of the same online store."""

    def load_context(self, context: PythonModelContext) -> None:
        self._service = ForecastService()
        self._service.configure(json.loads(Path(context.artifacts["served"]).read_text()))

    def predict(self, model_input: pd.DataFrame) -> dict[str, Any]:
        """The answer of the API to the series of the rows."""
        asked = model_input.to_dict(orient="records")
        series = [{key: row[key] for key in KEYS} for row in asked]
        request = ForecastRequest.model_validate(
            {"series": series, "horizon": int(asked[0]["horizon"])}
        )
        return self._service.forecast(request, datetime.now(UTC))


def logged(settings: Settings, version: str, folder: Path) -> Path:
    """The served version as such a model, in a folder."""
    served, path = folder / "served.json", folder / "forecasts"
    champion = settings.champions_dir.resolve() / version
    state = {"state_dir": str(settings.state_dir.resolve()), "version": version}
    served.write_text(json.dumps({**state, "champion": str(champion)}))
    mlflow.pyfunc.save_model(
        path,
        python_model=__file__,
        artifacts={"served": str(served)},
        signature=ModelSignature(inputs=Schema(ASKED)),
        pip_requirements=["mlflow"],
    )
    return path


set_model(Forecasts())
