"""Answers what to order: demand of the period that the stock must last, and the level to fill."""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from data.schema import KEYS, quantile_column
from models.orders import GRID, critical_ratio, order_up_to
from serving import cold
from serving.api.planning import Order, OrderRequest, Orders
from serving.problems import OutOfRange
from serving.snapshots import Key
from serving.source import Model, Read, Source, provenance


def orders(model: Model, source: Source, request: OrderRequest) -> Orders:
    """Order quantities, in the order of the series.

    Raises OutOfRange, UnknownSeries or StaleFeatures.
    """
    # Weeks can't be divided: stock for nine days is stock for two weeks.
    steps = source.settings.steps
    ahead = math.ceil((request.lead_time_days + request.review_days) / steps.days)
    costs = (request.shortage_cost, request.leftover_cost)
    service = request.service_level
    if service is None:
        service = critical_ratio(*(float(c or 0) for c in costs))
    if ahead > model.horizon:
        raise OutOfRange(
            "/review_days",
            f"lead_time_days + review_days is at most {model.horizon * steps.days}, as far as "
            f"model {model.version} forecasts, got {request.lead_time_days + request.review_days}.",
        )
    # A column's name has six digits of its level: one that has the name of another is that one.
    named = quantile_column(service)
    level = next((q for q in GRID if quantile_column(q) == named), service)
    read, sums = _sums(model, source, request, ahead, sorted({*GRID, level}))
    demand: dict[Key, Mapping[str, Any]] = {
        (row["store_id"], row["item_id"]): row for row in sums.to_dicts()
    }
    found = []
    for series in request.series:
        row = demand[series.store_id, series.item_id]
        quantiles = [row[quantile_column(q)] for q in GRID]
        best = order_up_to(row[named], quantiles, series.on_hand)
        cost = None
        if None not in costs:
            cost = costs[0] * best.expected_shortage + costs[1] * best.expected_leftover  # type: ignore[operator]
        a_day = row["y_hat"] / (ahead * steps.days)
        stock = series.on_hand + best.order_quantity
        found.append(
            Order(
                **{k: getattr(series, k) for k in (*KEYS, "on_hand")},
                **vars(best),
                expected_demand=row["y_hat"],
                expected_cost=cost,
                days_of_cover=stock / a_day if a_day > 0 else None,
                method=read.analogues.get((series.store_id, series.item_id)),
            )
        )
    return Orders(
        **provenance(model, read),
        since=read.cutoff + timedelta(days=1),
        until=steps.after(read.cutoff, ahead),
        service_level=service,
        orders=found,
    )


def _sums(
    model: Model, source: Source, request: OrderRequest, ahead: int, levels: Sequence[float]
) -> tuple[Read, pl.DataFrame]:
    """Features, and mean and quantiles of the units of `ahead` steps.

    Raises UnknownSeries or StaleFeatures.
    """
    read = cold.read(source, [(s.store_id, s.item_id) for s in request.series])
    plan = source.snapshots.plan(read.features, ahead)
    made = cold.rows(
        read,
        make=lambda features: model.sum_quantiles(features, plan, ahead, levels),
        guess=lambda known, features: model.cold_sum_quantiles(
            known, features, plan, ahead, levels
        ),
    )
    return read, made
