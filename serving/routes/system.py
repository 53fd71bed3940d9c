"""Routes of the model and of the service's health."""

from fastapi import APIRouter

from serving.api.system import Health, ModelInfo, Status
from serving.routes.answers import problems
from serving.service import ForecastService


def routes(service: ForecastService) -> APIRouter:
    """What machines ask before they send work, and people before they trust an answer."""
    router = APIRouter()

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
        """Model, snapshot, publication, whether a part is down, and where else to look."""
        return service.status()

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
    def ready() -> Health:
        """Forecasts can be made: a model is loaded and the feature store answers."""
        return service.ready()

    return router
