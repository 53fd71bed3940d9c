"""The REST API: its routes and how they are documented."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic_core import to_json

from serving.api import (
    ForecastRequest,
    ForecastResponse,
    Health,
    ModelInfo,
    Problem,
    SeriesPage,
    SeriesQuery,
)
from serving.problems import MEDIA_TYPE, Edge, install, request_id
from serving.service import ForecastService

DOCS = Path(__file__).parent / "web" / "docs.html"
DESCRIPTION = (
    "Daily demand forecasts per store and item, with quantiles, from the served model and the "
    "newest features of the online store. Quantities are units sold per day. Every error is an "
    "RFC 9457 problem (application/problem+json) that says what was wrong and what to do."
)
CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)
PROBLEMS = {
    400: "The body is not JSON.",
    404: "A series is not known.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not declared as JSON.",
    422: "A field is missing, unknown or out of its range.",
    503: "No model is served yet, or the feature store holds no current features.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the problems that a route can answer with."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        s: {"description": PROBLEMS[s], "content": {MEDIA_TYPE: {"schema": schema}}}
        for s in statuses
    }


def create_api(
    service: ForecastService,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    echo_request_id: bool = True,
) -> FastAPI:
    """The ASGI application that answers with `service`; nothing of Ray is needed for it."""
    api = FastAPI(
        title="Shelfcast forecasts",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
    )
    api.add_middleware(Edge, record=service.record, clock=clock, echo_request_id=echo_request_id)
    install(api)
    _add_forecasts(api, service, clock)
    _add_model(api, service)
    _add_docs(api)
    return api


def _add_forecasts(api: FastAPI, service: ForecastService, clock: Callable[[], datetime]) -> None:
    # Plain functions run in threads: while one request reads and forecasts a thousand series,
    # the event loop goes on answering others and the health checks.
    @api.post(
        "/v1/forecasts",
        summary="Forecast series",
        response_description="The forecasts.",
        response_model=ForecastResponse,
        responses=problems(400, 404, 413, 415, 422, 503),
        tags=["forecasts"],
    )
    def forecasts(request: ForecastRequest, http: Request) -> Response:
        """Forecasts of 1 to 1000 series, from the day after their cutoff."""
        # Written straight from the frame: a second validation of up to 28,000 days costs more
        # than the forecast. A test holds the answer to ForecastResponse.
        content = to_json(service.forecast(request, clock(), request_id(http.scope)))
        return Response(content, media_type="application/json")

    @api.get(
        "/v1/series",
        summary="List the series that can be forecast",
        response_description="A page of series.",
        responses=problems(422, 503),
        tags=["forecasts"],
    )
    def series(query: Annotated[SeriesQuery, Query()]) -> SeriesPage:
        """Series that can be forecast now, ordered by store and item, in pages."""
        try:
            return service.series(query.store_id, query.limit, query.cursor)
        except ValueError as error:
            found = {"loc": ("query", "cursor"), "msg": str(error), "type": "value_error"}
            raise RequestValidationError([{**found, "input": query.cursor}]) from error


def _add_model(api: FastAPI, service: ForecastService) -> None:
    @api.get(
        "/v1/model",
        summary="The served model",
        response_description="The model, or nulls.",
        tags=["model"],
    )
    async def model() -> ModelInfo:
        """Which model answers, what it can do, and why a newer one did not load."""
        return service.info()

    @api.get(
        "/v1/health/live", summary="Liveness", response_description="It lives.", tags=["health"]
    )
    async def live() -> Health:
        """The process answers."""
        return Health(status="alive")

    @api.get(
        "/v1/health/ready",
        summary="Readiness",
        response_description="It is ready.",
        responses=problems(503),
        tags=["health"],
    )
    def ready() -> Health:
        """Forecasts can be made: a model is loaded and the feature store answers."""
        return service.ready()


def _add_docs(api: FastAPI) -> None:
    page = DOCS.read_text()

    @api.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": CSP})

    @api.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("docs")

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            schema = get_openapi(
                title=api.title,
                version=api.version,
                description=api.description,
                routes=api.routes,
            )
            model = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = schema["components"]["schemas"]
            schemas |= {**model.pop("$defs"), "Problem": model}
            api.openapi_schema = schema
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]
