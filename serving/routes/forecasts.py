"""Routes of forecasts and of the series that can be forecast."""

import re
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json

from serving.api.forecasts import ForecastRequest, ForecastResponse, SeriesForecastQuery
from serving.api.series import Series, SeriesPage, SeriesQuery
from serving.forecasting import to_csv
from serving.problems import request_id
from serving.routes.answers import (
    BODY,
    LARGE,
    QUERY,
    SERIES,
    SMALL,
    PathSeries,
    Router,
    on,
    problems,
)
from serving.service import ForecastService
from serving.snapshots import Key

FRESH_SECONDS = 60
FEW = 8  # series; their forecast takes hardly longer than that of one
ETAG = {
    "headers": {
        "ETag": {
            "description": "Stays until model, data, plan or format change.",
            "schema": {"type": "string"},
        }
    }
}
CSV: dict[str, Any] = {"content": {"text/csv": {"schema": {"type": "string"}}}}


def routes(service: ForecastService, clock: Callable[[], datetime]) -> Router:
    """A few series have a lane of their own: they do not wait for a forecast of thousands."""
    router = Router(tags=["forecasts"])

    @router.post(
        "/v1/forecasts",
        summary="Forecast series",
        response_description="The forecasts.",
        response_model=ForecastResponse,
        responses={**problems(*BODY), 200: CSV},
    )
    async def forecasts(request: ForecastRequest, http: Request) -> Response:
        """Forecasts of 1 to 1000 series, from the day after their cutoff."""

        def answer() -> Response:
            return _in_format(service.forecast(request, clock(), request_id(http.scope)), http)

        return await on(SMALL if _is_small(request) else LARGE, answer)

    @router.get(
        "/v1/forecasts/{store_id}/{item_id:path}",
        summary="Forecast one series",
        response_description="The forecast.",
        response_model=ForecastResponse,
        responses={
            **problems(*SERIES),
            200: CSV | ETAG,
            304: {"description": "It is the one you have."} | ETAG,
        },
    )
    async def forecast(
        series: PathSeries, query: Annotated[SeriesForecastQuery, Query()], http: Request
    ) -> Response:
        """The forecast of one series; If-None-Match with its ETag asks whether it changed."""
        return await on(SMALL, one, series, query, http)

    def one(series: Key, query: SeriesForecastQuery, http: Request) -> Response:
        asked = query.model_dump(exclude_unset=True)
        if "quantiles" in asked:
            asked["quantiles"] = [float(q) for q in query.quantiles.split(",") if q]
        named = Series.model_construct(store_id=series[0], item_id=series[1])
        request = _request({"series": [named.model_dump()], **asked})
        answer = service.forecast(request, clock(), request_id(http.scope))
        content = _in_format(answer, http)
        told = {k: v for k, v in answer.items() if k != "generated_at"}
        told["format"] = content.media_type
        tag = f'W/"{blake2b(to_json(told), digest_size=12).hexdigest()}"'
        headers = {"ETag": tag, "Cache-Control": f"private, max-age={FRESH_SECONDS}"}
        if tag in [t.strip() for t in http.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers={**headers, "Vary": "Accept"})
        content.headers.update(headers)
        return content

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


def _is_small(request: ForecastRequest) -> bool:
    asked_of_few = request.series is not None and len(request.series) <= FEW
    return asked_of_few and request.level == "series" and not request.what_if


def _request(body: dict[str, Any]) -> ForecastRequest:
    """The request that a query stands for, with the query's own names in its problems."""
    try:
        return ForecastRequest.model_validate(body)
    except ValidationError as error:
        found = [{**e, "loc": ("query", *e["loc"])} for e in error.errors(include_url=False)]
        raise RequestValidationError(found) from error


def _in_format(answer: dict[str, Any], http: Request) -> Response:
    """JSON, or CSV when the client prefers it."""
    # Written straight from the frame: a second validation of up to 28,000 days costs more
    # than the forecast. A test holds the answer to ForecastResponse.
    if _weight("text/csv", http) > _weight("application/json", http):
        name = {"Content-Disposition": 'attachment; filename="forecasts.csv"', "Vary": "Accept"}
        return Response(to_csv(answer), media_type="text/csv", headers=name)
    return Response(to_json(answer), media_type="application/json", headers={"Vary": "Accept"})


def _weight(media_type: str, http: Request) -> float:
    """How much a client wants what it names in Accept (RFC 9110, 12.5.1); 0 for what it doesn't."""
    for part in http.headers.get("accept", "").lower().split(","):
        name, *parameters = (p.strip() for p in part.split(";"))
        if name == media_type:
            said = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            return float(said) if re.fullmatch(r"[01](\.\d{0,3})?", said) else 0.0
    return 0.0
