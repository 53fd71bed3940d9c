"""Routes of the model and of the service's health."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import Path
from fastapi.responses import PlainTextResponse

from serving.api.system import (
    Health,
    ModelInfo,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    Status,
)
from serving.metrics import Metrics
from serving.routes.answers import PROBES, Router, on, problems
from serving.service import ForecastService

ModelName = Annotated[str, Path(min_length=1, max_length=64, examples=["demand"])]


def routes(service: ForecastService, metrics: Metrics, clock: Callable[[], datetime]) -> Router:
    """What machines ask before they send work, and people before they trust an answer."""
    router = Router()

    @router.get(
        "/v1/model",
        summary="The served model",
        response_description="The model, or nulls.",
        tags=["model"],
    )
    async def model() -> ModelInfo:
        """Which model answers, what it can do, and why a newer one did not load."""
        return service.info()

    @router.get(
        "/v1/status",
        summary="How fresh model and data are",
        response_description="The status.",
        tags=["model"],
    )
    def status() -> Status:
        """Model, snapshot, publication, whether sales are late or a part is down, where to look."""
        return service.status(clock())

    @router.get(
        "/v1/health/live", summary="Liveness", response_description="It lives.", tags=["health"]
    )
    async def live() -> Health:
        """The process answers."""
        return Health(status="alive")

    @router.get(
        "/v1/health/ready",
        summary="Readiness",
        response_description="It is ready.",
        responses=problems(503),
        tags=["health"],
    )
    async def ready() -> Health:
        """Forecasts can be made: a model is loaded and the feature store answers."""
        return await on(PROBES, service.ready)

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_description="The metrics.",
        response_class=PlainTextResponse,
        tags=["health"],
    )
    async def measured() -> PlainTextResponse:
        """Requests, times, refusals, served versions, last good features: of all replicas."""
        metrics.note()
        text = await on(PROBES, metrics.text)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    _open_inference(router, service)
    return router


def _open_inference(router: Router, service: ForecastService) -> None:
    """Health and metadata as the Open Inference Protocol (v2) names them."""

    @router.get(
        "/v2/health/live",
        summary="Liveness (Open Inference Protocol)",
        response_description="It lives.",
        tags=["open inference protocol"],
    )
    async def server_live() -> ServerLive:
        """The process answers."""
        return ServerLive(live=True)

    @router.get(
        "/v2/health/ready",
        summary="Readiness (Open Inference Protocol)",
        response_description="It is ready.",
        responses=problems(503),
        tags=["open inference protocol"],
    )
    async def server_ready() -> ServerReady:
        """Forecasts can be made."""
        await on(PROBES, service.ready)
        return ServerReady(ready=True)

    @router.get(
        "/v2",
        summary="What the server is (Open Inference Protocol)",
        response_description="The server.",
        tags=["open inference protocol"],
    )
    async def server() -> ServerMetadata:
        """Name and version; forecasts are asked for at POST /v1/forecasts."""
        return ServerMetadata(name="shelfcast", version="1", extensions=[])

    @router.get(
        "/v2/models/{model}",
        summary="What the model takes and gives (Open Inference Protocol)",
        response_description="The model.",
        responses=problems(404, 422, 503),
        tags=["open inference protocol"],
    )
    async def model_metadata(model: ModelName) -> ModelMetadata:
        """The served model, named demand."""
        return service.metadata(model, None)

    @router.get(
        "/v2/models/{model}/versions/{version}",
        summary="What a version takes and gives (Open Inference Protocol)",
        response_description="The model.",
        responses=problems(404, 422, 503),
        tags=["open inference protocol"],
    )
    async def version_metadata(model: ModelName, version: ModelName) -> ModelMetadata:
        """The served version; others are not loaded."""
        return service.metadata(model, version)

    @router.get(
        "/v2/models/{model}/ready",
        summary="Readiness of the model (Open Inference Protocol)",
        response_description="It is ready.",
        responses=problems(404, 422, 503),
        tags=["open inference protocol"],
    )
    async def model_ready(model: ModelName) -> ModelReady:
        """Forecasts can be made with the served model, named demand."""
        return await on(PROBES, service.model_ready, model, None)

    @router.get(
        "/v2/models/{model}/versions/{version}/ready",
        summary="Readiness of a version (Open Inference Protocol)",
        response_description="It is ready.",
        responses=problems(404, 422, 503),
        tags=["open inference protocol"],
    )
    async def version_ready(model: ModelName, version: ModelName) -> ModelReady:
        """Forecasts can be made with this version."""
        return await on(PROBES, service.model_ready, model, version)
