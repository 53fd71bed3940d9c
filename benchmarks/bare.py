"""The alternative to Ray Serve: one uvicorn process with the same predictor and online store."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response
from pydantic_core import to_json

from data.settings import Settings
from serving.api.forecasts import ForecastRequest
from serving.service import ForecastService


def create(settings: Settings, version: str) -> FastAPI:
    """A FastAPI application with the one route that is compared, and nothing around it."""
    service = ForecastService()
    folder = str(settings.champions_dir / version)
    service.configure(
        {"state_dir": str(settings.state_dir), "version": version, "champion": folder}
    )
    api = FastAPI()

    @api.post("/v1/forecasts")
    def forecasts(request: ForecastRequest) -> Response:
        content = to_json(service.forecast(request, datetime.now(UTC)))
        return Response(content, media_type="application/json")

    return api


if __name__ == "__main__":
    port, state_dir, chosen = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    app = create(Settings(state_dir=state_dir), chosen)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
