"""Forecasts over the wire: the request, its what-if, and the answer."""

from collections import Counter
from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from serving.api.series import (
    BORROWED,
    FORBID,
    MAX_HORIZON,
    MAX_SERIES,
    Id,
    Level,
    Node,
    Provenance,
    Series,
)
from serving.api.series import Share as Quantile

DEFAULT_QUANTILES = (0.1, 0.5, 0.9)
MAX_CHANGES = 2000

# Lists are checked up to their first wrong entry (fail_fast): to tell each of thousands to be wrong
# takes seconds, in which nobody else is answered.
Listed = Annotated[list[Series], Field(min_length=1, max_length=MAX_SERIES, fail_fast=True)]
Products = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]


class Change(BaseModel):
    """A what-if of one day: what is left out stays as planned."""

    model_config = FORBID

    store_id: Id | None = Field(default=None, description="Only this store; all when left out.")
    item_id: Id | None = Field(default=None, description="Only this item; all when left out.")
    ds: date = Field(description="Day of the change.", examples=["2017-09-12"])
    display: Products | None = Field(
        default=None, description="Products of the item on display in the store on that day."
    )
    mailer: Products | None = Field(
        default=None, description="Products of the item in the mailer of that day."
    )
    price: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] | None = Field(
        default=None, description="Mean price a unit on that day, in the currency of the sales."
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.display is None and self.mailer is None and self.price is None:
            raise ValueError("a change needs display, mailer or price")
        return self


EXAMPLE: dict[str, Any] = {
    "series": [{"store_id": "367", "item_id": "GROCERY"}],
    "horizon": 7,
    "quantiles": [0.1, 0.5, 0.9],
}
WHAT_IF_EXAMPLE: dict[str, Any] = {**EXAMPLE, "what_if": [{"ds": "2017-09-12", "display": 3}]}
LEVEL_EXAMPLE: dict[str, Any] = {**EXAMPLE, "level": "store"}


class ForecastRequest(BaseModel):
    """Which series to forecast, how far and with which quantiles."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [EXAMPLE, WHAT_IF_EXAMPLE, LEVEL_EXAMPLE]},
    )

    series: Listed | None = Field(
        default=None,
        description="Series to forecast, each once; GET /v1/series lists those that can be. "
        "May be left out with a level above series: then it is all that the model learnt; "
        "one that it did not, listed under `cold`, can't be named with such a level.",
    )
    level: Level = Field(
        default="series",
        description="What the forecasts are of: each series, or sums over the series. Means of "
        "levels add up; quantiles of sums come from joint sample paths, they don't add up.",
    )
    horizon: int = Field(
        default=MAX_HORIZON,
        strict=True,
        ge=1,
        le=MAX_HORIZON,
        description="Days, or weeks of weekly data, counted from the cutoff. When left out: "
        "as many as the model reaches.",
    )
    quantiles: list[Quantile] = Field(
        default=list(DEFAULT_QUANTILES),
        max_length=99,
        description="Quantile levels to return, of those that GET /v1/model lists; may be empty.",
    )
    what_if: list[Change] = Field(
        default=[],
        max_length=MAX_CHANGES,
        fail_fast=True,
        description="Changes of promotion or price, by day; the answer then holds the forecast "
        "with them and, as `baseline`, the one without. An association, not a proven cause.",
    )

    @field_validator("series")
    @classmethod
    def _series_once(cls, series: list[Series] | None) -> list[Series] | None:
        counts = Counter((s.store_id, s.item_id) for s in series or [])
        for (store_id, item_id), count in counts.most_common(1):
            if count > 1:
                said = f"store_id={store_id!a}, item_id={item_id!a} is there {count} times"
                raise ValueError(said)
        return series

    @field_validator("quantiles")
    @classmethod
    def _levels_once(cls, levels: list[float]) -> list[float]:
        if len(set(levels)) < len(levels):
            raise ValueError("a level is there twice")
        return levels

    @model_validator(mode="after")
    def _series_named(self) -> Self:
        if self.series is None and self.level == "series":
            raise ValueError("series is required, unless a level above series is asked for")
        return self


class ForecastDay(BaseModel):
    """The forecast of one day."""

    ds: date = Field(description="Business day that is forecast.", examples=["2017-09-11"])
    y_hat: float = Field(
        ge=0, allow_inf_nan=False, description="Expected units sold on that day.", examples=[41.7]
    )
    quantiles: dict[str, float] = Field(
        description="Units sold per day that are not exceeded with that probability, by level.",
        examples=[{"0.1": 28.0, "0.5": 41.0, "0.9": 57.5}],
    )


class NodeForecast(Node):
    """The forecast of one series, or of a sum of series, and what it was made from."""

    snapshot_id: str = Field(description="Data snapshot of the features.")
    cutoff: date = Field(
        description="Last day of sales in the features; the first forecast day follows.",
        examples=["2017-09-10"],
    )
    days: list[ForecastDay] = Field(description="One entry per day, in order.")
    baseline: list[ForecastDay] | None = Field(
        default=None, description="The forecast as planned, when what_if changes it."
    )
    method: str | None = Field(
        default=None,
        description="What stood in for the history of a series that has none.",
        examples=[BORROWED],
    )


class ForecastResponse(Provenance):
    """Forecasts of the requested series, in their order, in units sold per day."""

    level: Level = Field(description="What the forecasts are of.")
    generated_at: datetime = Field(description="When the answer was made, UTC.")
    warnings: list[str] = Field(
        default=[], description="What to keep in mind, such as a what-if that was never seen."
    )
    forecasts: list[NodeForecast]


class SeriesForecastQuery(BaseModel):
    """How far and with which quantiles one series is forecast."""

    model_config = FORBID

    horizon: int = Field(default=MAX_HORIZON, ge=1, le=MAX_HORIZON, description="Steps ahead.")
    quantiles: str = Field(
        default="0.1,0.5,0.9",
        max_length=500,
        pattern=r"^$|^0?\.\d{1,6}(,0?\.\d{1,6})*$",
        description="Quantile levels, with commas between them; may be empty.",
    )
