"""The REST API as one ASGI application: its routes, its edge and its documentation."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.api.system import Problem
from serving.edge import Edge, is_open, scope_of
from serving.metrics import Metrics
from serving.problems import install
from serving.routes import files, forecasts, insight, planning, system
from serving.routes.answers import problems
from serving.service import ForecastService

DESCRIPTION = (
    "Daily demand forecasts per store and item, with quantiles, from the served model and the "
    "newest features of the online store. Quantities are units sold per day. Every error is an "
    "RFC 9457 problem (application/problem+json) that says what was wrong and what to do."
)


def create_api(
    service: ForecastService,
    *,
    metrics: Metrics | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    echo_request_id: bool = True,
) -> FastAPI:
    """The ASGI application that answers with `service`; nothing of Ray is needed for it.

    `metrics` are those that replicas share; without them they are of this application alone.
    """
    api = FastAPI(
        title="Shelfcast forecasts",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
    )
    metrics = metrics or Metrics(service.state)
    api.add_middleware(
        Edge,
        settings=lambda: service.settings,
        record=service.record,
        metrics=metrics,
        clock=clock,
        echo_request_id=echo_request_id,
    )
    install(api)
    api.include_router(forecasts.routes(service, clock))
    api.include_router(insight.routes(service))
    api.include_router(planning.routes(service, clock))
    api.include_router(system.routes(service, metrics, clock))
    api.include_router(files.routes())
    _document(api)
    return api


def _document(api: FastAPI) -> None:
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
            api.openapi_schema = _with_edge(schema)
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _header(description: str, type_: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": type_}}


REQUEST_ID_HEADER = {"X-Request-ID": _header("The request's id, also in the logs.")}
RETRY_AFTER_HEADER = {"Retry-After": _header("Seconds until it is worth asking again.", "integer")}


def _with_edge(schema: dict[str, Any]) -> dict[str, Any]:
    """The document with what stands before the routes: the edge, and HAProxy, which answers 503
    on all of them while no replica is there.
    """
    bearer = {"type": "http", "scheme": "bearer", "description": "Needed once a key was created."}
    schema["components"]["securitySchemes"] = {"key": bearer}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            statuses = [503]
            if not is_open(path):
                statuses += [401, 429, *([408] if method == "post" else [])]
                statuses += [403] if scope_of(method.upper(), path) == "admin" else []
                operation["security"] = [{"key": []}]
            added = {str(s): answer for s, answer in problems(*statuses).items()}
            operation["responses"] = dict(sorted({**operation["responses"], **added}.items()))
            _with_headers(operation)
    return schema


def _with_headers(operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        added = REQUEST_ID_HEADER | (RETRY_AFTER_HEADER if status in ("429", "503") else {})
        answer["headers"] = answer.get("headers", {}) | added
