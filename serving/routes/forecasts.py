"""Routes of forecasts and of the series that can be forecast."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json

from serving.api.forecasts import ForecastRequest, ForecastResponse
from serving.api.series import SeriesPage, SeriesQuery
from serving.problems import request_id
from serving.routes.answers import BODY, QUERY, problems
from serving.service import ForecastService


def routes(service: ForecastService, clock: Callable[[], datetime]) -> APIRouter:
    """Plain functions run in threads: while one request reads and forecasts a thousand series,
    the event loop goes on answering others and the health checks.
    """
    router = APIRouter(tags=["forecasts"])

    @router.post(
        "/v1/forecasts",
        summary="Forecast series",
        response_description="The forecasts.",
        response_model=ForecastResponse,
        responses=problems(*BODY),
    )
    def forecasts(request: ForecastRequest, http: Request) -> Response:
        """Forecasts of 1 to 1000 series, from the day after their cutoff."""
        # Written straight from the frame: a second validation of up to 28,000 days costs more
        # than the forecast. A test holds the answer to ForecastResponse.
        content = to_json(service.forecast(request, clock(), request_id(http.scope)))
        return Response(content, media_type="application/json")

    @router.get(
        "/v1/series",
        summary="List the series that can be forecast",
        response_description="A page of series.",
        responses=problems(*QUERY),
    )
    def series(query: Annotated[SeriesQuery, Query()]) -> SeriesPage:
        """Series that can be forecast now, ordered by store and item, in pages."""
        try:
            return service.series(query)
        except ValueError as error:
            found = {"loc": ("query", "cursor"), "msg": str(error), "type": "value_error"}
            raise RequestValidationError([{**found, "input": query.cursor}]) from error

    return router
