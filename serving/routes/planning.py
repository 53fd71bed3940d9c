"""Routes for those who order goods: why, how much, and what they know better."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import Query, Request

from serving.api.planning import (
    Explanation,
    ExplanationRequest,
    OrderRequest,
    Orders,
    Override,
    OverrideRequest,
    Overrides,
    OverridesQuery,
)
from serving.routes.answers import BODY, LARGE, QUERY, Router, on, problems
from serving.service import ForecastService


def routes(service: ForecastService, clock: Callable[[], datetime]) -> Router:
    """Explanations, order quantities and overrides."""
    router = Router(tags=["planning"])

    @router.post(
        "/v1/explanations",
        summary="Explain a forecast",
        response_description="The explanation.",
        responses=problems(*BODY),
    )
    async def explanations(request: ExplanationRequest) -> Explanation:
        """What drives a forecast, in units that sum to it, and why it changed since the last run.

        Associations that the model learned, not proven causes.
        """
        return await on(LARGE, service.explain, request)

    @router.post(
        "/v1/orders",
        summary="Order quantities",
        response_description="The orders.",
        responses=problems(*BODY),
    )
    async def orders(request: OrderRequest) -> Orders:
        """What to order now: the quantile of demand until the delivery after the next (newsvendor).

        The quantiles are those of the sum of days, from joint sample paths, not sums of quantiles.
        """
        return await on(LARGE, service.orders, request)

    @router.post(
        "/v1/overrides",
        status_code=201,
        summary="Set a forecast by hand",
        response_description="The override.",
        responses=problems(*BODY),
    )
    def override(request: OverrideRequest, http: Request) -> Override:
        """Takes down what a person knows better, with the reason and when it expires.

        It changes no forecast; once its days are over it is scored against the model's.
        """
        author = http.scope.get("shelfcast.key", "local")
        return service.override(request, author, clock())

    @router.get(
        "/v1/overrides",
        summary="Overrides and how good they were",
        response_description="The overrides.",
        responses=problems(*QUERY),
    )
    def overrides(query: Annotated[OverridesQuery, Query()]) -> Overrides:
        """What people set, newest first, with what was sold and the value added."""
        return service.overrides(query, clock())

    return router
