"""Routes of what was sold, how good forecasts were, and what needs a look."""

from typing import Annotated

from fastapi import Query

from serving.api.insight import (
    Accuracy,
    AccuracyQuery,
    Decisions,
    DecisionsQuery,
    Exceptions,
    ExceptionsQuery,
    History,
    HistoryQuery,
)
from serving.routes.answers import QUERY, SERIES, PathSeries, Router, problems
from serving.service import ForecastService


def routes(service: ForecastService) -> Router:
    """Answers from the published Parquet; the warehouse is never opened."""
    router = Router(tags=["insight"])

    @router.get(
        "/v1/series/{store_id}/{item_id:path}/history",
        summary="Sales and past forecasts of a series",
        response_description="The history.",
        responses=problems(*SERIES),
    )
    def history(series: PathSeries, query: Annotated[HistoryQuery, Query()]) -> History:
        """Sales by day as known now, promotions past and planned, and what had been forecast."""
        return service.published().history(series, query)

    @router.get(
        "/v1/accuracy",
        summary="Accuracy of forecasts whose days are over",
        response_description="The accuracy.",
        responses=problems(*QUERY),
    )
    def accuracy(query: Annotated[AccuracyQuery, Query()]) -> Accuracy:
        """Error and bias by node of a level, of the models and of simple methods beside them."""
        return service.published().accuracy(query)

    @router.get(
        "/v1/decisions",
        summary="Gate decisions",
        response_description="The decisions.",
        responses=problems(*QUERY),
    )
    def decisions(query: Annotated[DecisionsQuery, Query()]) -> Decisions:
        """What the gates decided (retrain? promote?), why, and what was measured."""
        return service.published().decisions(query)

    @router.get(
        "/v1/exceptions",
        summary="Series that need a look",
        response_description="The exceptions.",
        responses=problems(*QUERY),
    )
    def exceptions(query: Annotated[ExceptionsQuery, Query()]) -> Exceptions:
        """Misses, bias, broken ranges, stock-outs, promotions ahead and new series, by money."""
        return service.published().exceptions(query)

    return router
