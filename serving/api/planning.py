"""Explanations, order quantities and overrides over the wire."""

from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from serving.api.series import (
    BORROWED,
    FORBID,
    MAX_HORIZON,
    MAX_SERIES,
    Id,
    Provenance,
    Series,
    Share,
)

Units = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]
Cause = Literal["new actuals", "revised data", "changed plan", "new model"]


class ExplanationRequest(Series):
    """Which forecast to explain: one day, or the sum of all days when ds is left out."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"store_id": "367", "item_id": "GROCERY", "ds": "2017-09-12"}]
        },
    )

    ds: date | None = Field(default=None, description="Day of the forecast.")


class Driver(BaseModel):
    """How many units a group of inputs adds to the forecast, or takes from it."""

    name: str = Field(description="In words.", examples=["recent sales"])
    units: float
    inputs: dict[str, float] = Field(description="Units by input of the model; they sum to units.")


class ChangePart(BaseModel):
    """How many units of the change since the last run one cause makes."""

    cause: Cause
    units: float


class Changed(BaseModel):
    """Why the forecast of the same days is another than in the run before; parts sum to units."""

    since: date = Field(description="First day that both runs have.")
    until: date = Field(description="Last day that both runs have.")
    previous_version: str
    previous_snapshot_id: str
    previous_cutoff: date
    previous: float = Field(description="What the run before forecast for the same days, units.")
    current: float = Field(description="What is forecast now for them.")
    units: float = Field(description="current - previous.")
    parts: list[ChangePart]


class Explanation(Provenance):
    """Drivers of a forecast: base and drivers sum to y_hat."""

    store_id: str
    item_id: str
    since: date = Field(description="First day that is explained.")
    until: date = Field(description="Last day that is explained.")
    y_hat: float = Field(description="The forecast, units.")
    base: float = Field(description="What the model expects of an average series and day, units.")
    drivers: list[Driver] = Field(description="Largest first, whatever the sign.")
    changed: Changed | None = Field(description="Null when there is no run before to compare with.")
    analogues: str | None = Field(
        default=None,
        description="What stood in for the history of a series that has none, and how it was "
        "scaled; the drivers are those of what it was lent.",
        examples=[BORROWED],
    )


class Stock(Series):
    """A series and what there is of it."""

    on_hand: Units = Field(default=0, description="Units on hand and on order.")


class OrderRequest(BaseModel):
    """What to order now, so that it lasts until the delivery after the next.

    In weekly data the days are rounded up to whole weeks.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "series": [{"store_id": "367", "item_id": "GROCERY", "on_hand": 40}],
                    "lead_time_days": 2,
                    "review_days": 7,
                    "service_level": 0.95,
                }
            ]
        },
    )

    series: list[Stock] = Field(
        min_length=1,
        max_length=MAX_SERIES,
        fail_fast=True,
        description="Series to order for, each once.",
    )
    lead_time_days: int = Field(
        default=0,
        strict=True,
        ge=0,
        le=MAX_HORIZON - 1,
        description="Days from the order to its delivery.",
    )
    review_days: int = Field(
        default=7, strict=True, ge=1, le=MAX_HORIZON, description="Days between two orders."
    )
    service_level: Share | None = Field(
        default=None,
        description="Probability that the stock lasts; without it the two costs decide.",
    )
    shortage_cost: Units | None = Field(
        default=None, description="Cost of a unit that is missing, such as the margin lost."
    )
    leftover_cost: Units | None = Field(
        default=None, description="Cost of a unit that is left over, such as waste or capital."
    )

    @model_validator(mode="after")
    def _level_or_costs(self) -> Self:
        costs = (self.shortage_cost, self.leftover_cost)
        if self.service_level is None and costs == (None, None):
            raise ValueError("give service_level, or shortage_cost and leftover_cost, or all three")
        if costs != (None, None) and not all(costs):
            raise ValueError("shortage_cost and leftover_cost are both needed, above 0")
        if self.lead_time_days + self.review_days > MAX_HORIZON:
            raise ValueError(f"lead_time_days + review_days is at most {MAX_HORIZON}")
        if len({(s.store_id, s.item_id) for s in self.series}) < len(self.series):
            raise ValueError("a series is there twice")
        return self


class Order(BaseModel):
    """What to order of one series."""

    store_id: str
    item_id: str
    on_hand: float
    order_up_to: float = Field(description="Stock that is enough with the wanted probability.")
    order_quantity: float = Field(description="Whole units to order now.")
    expected_demand: float = Field(description="Expected units sold until the stock must last.")
    expected_shortage: float = Field(description="Expected units missing, when this is ordered.")
    expected_leftover: float = Field(description="Expected units left, when this is ordered.")
    expected_cost: float | None = Field(description="Of both, when unit costs are given.")
    days_of_cover: float | None = Field(
        description="Days that the stock lasts on average; null when nothing is expected to sell."
    )
    method: str | None = Field(
        default=None,
        description="What stood in for the history of a series that has none.",
        examples=[BORROWED],
    )


class Orders(Provenance):
    """Order quantities, in the order of the series."""

    since: date = Field(description="First day that the stock must last for.")
    until: date = Field(description="Last day that the stock must last for.")
    service_level: float = Field(description="Probability used: given, or from the two costs.")
    orders: list[Order]


class OverrideRequest(Series):
    """A forecast that a person sets, for a time and with a reason."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "store_id": "367",
                    "item_id": "GROCERY",
                    "since": "2017-09-11",
                    "until": "2017-09-13",
                    "units": 55,
                    "reason": "Street festival in front of the store",
                    "expires_at": "2017-09-14T00:00:00Z",
                }
            ]
        },
    )

    since: date = Field(description="First day.")
    until: date = Field(description="Last day.")
    units: Units = Field(description="Units that are expected on each day, or in each week.")
    reason: Reason = Field(description="Why.")
    expires_at: datetime = Field(
        description="When it stops to count, with a time zone; at most 730 days after until."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until < self.since:
            raise ValueError("until is not since or a day after it")
        if self.expires_at.tzinfo is None:
            raise ValueError("expires_at needs a time zone, such as 2017-09-14T00:00:00Z")
        return self


class Override(OverrideRequest):
    """An override that was taken down."""

    reason: str = Field(description="Why.")
    override_id: str
    author: str = Field(description="Name of the API key; local when none is needed.")
    created_at: datetime
    baseline: float | None = Field(description="Units that the model forecast for the same days.")


class OverridesQuery(BaseModel):
    """Which overrides to return."""

    model_config = FORBID

    store_id: Id | None = Field(default=None, description="Only of this store.")
    item_id: Id | None = Field(default=None, description="Only of this item.")


class ScoredOverride(Override):
    """An override with what was sold, once its days are over."""

    active: bool = Field(description="Whether it counts now: it has not expired.")
    actual: float | None = Field(description="Units sold on its days; null until they are over.")
    value_added: float | None = Field(
        description="How many units nearer than the model's forecast it came; below 0 is farther."
    )


class Overrides(BaseModel):
    """Overrides, newest first, those of the last publication and those taken since."""

    published_at: datetime
    overrides: list[ScoredOverride]
