"""What was sold, how good forecasts were and what needs a look: answers from published Parquet."""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from serving.api.series import FORBID, MAX_HORIZON, Id, Level, Node

Kind = Literal["miss", "bias", "coverage", "stock-out", "promotion", "new"]
Outcome = Literal["hold", "insufficient", "pass", "alert", "retrain", "fall_back"]


class HistoryQuery(BaseModel):
    """How much of the past to return."""

    model_config = FORBID

    days: int = Field(default=180, ge=1, le=1100, description="Days of sales up to the cutoff.")
    lead: int = Field(
        default=7,
        ge=1,
        le=MAX_HORIZON,
        description="Past forecasts are the newest ones made at least so many days ahead.",
    )


class SoldDay(BaseModel):
    """What was sold on one day, as known now."""

    ds: date = Field(examples=["2017-09-10"])
    y: float | None = Field(description="Units sold; null on a day that every store was closed.")
    price: float | None = Field(description="Mean price a unit; null when nothing was sold.")
    display: float = Field(description="Products of the item on display.")
    mailer: float = Field(description="Products of the item in the mailer.")


class PlannedDay(BaseModel):
    """The promotion plan of one coming day; days without a promotion are left out."""

    ds: date = Field(examples=["2017-09-12"])
    display: float = Field(description="Products of the item on display.")
    mailer: float = Field(description="Products of the item in the mailer.")


class PastForecast(BaseModel):
    """A forecast that was issued for a day."""

    ds: date = Field(examples=["2017-09-10"])
    cutoff: date = Field(description="Last day of sales that it knew.", examples=["2017-09-03"])
    model: str = Field(description="Model version that made it.")
    y_hat: float
    likely: tuple[float, float] | None = Field(description="80 % likely range: quantiles .1, .9.")
    very_likely: tuple[float, float] | None = Field(
        description="95 % likely range: quantiles .025, .975."
    )


class History(BaseModel):
    """Sales of one series and what had been forecast for them."""

    store_id: str
    item_id: str
    snapshot_id: str
    cutoff: date = Field(description="Last day of sales.")
    days: list[SoldDay] = Field(
        description="One entry per day since the first sale, in order; none before it."
    )
    planned: list[PlannedDay] = Field(description="Promotions of the coming days, in order.")
    lead: int
    forecasts: list[PastForecast] = Field(description="At most one per day, in order.")


class AccuracyQuery(BaseModel):
    """Which level's accuracy to return."""

    model_config = FORBID

    level: Level = Field(default="total", description="What a row is of.")
    store_id: Id | None = Field(default=None, description="Only rows of this store.")
    item_id: Id | None = Field(default=None, description="Only rows of this item.")


class AccuracyRow(Node):
    """Accuracy of matured forecasts of one node, on sums of whole weeks, beside the naive one."""

    model: str = Field(description="Model version, or the name of a baseline.")
    weeks: int = Field(description="Weeks compared: cutoffs times weeks ahead.")
    units: float = Field(description="Units sold in them.")
    value: float = Field(description="Their value at the mean price, in the currency of sales.")
    wape: float | None = Field(
        description="Absolute error over units sold; null when nothing was sold."
    )
    bias: float | None = Field(
        description="Forecast minus sold, over sold: above 0 is too much forecast."
    )
    coverage_80: float | None = Field(
        description="Share of days within the 80 % likely range; null at sums of series."
    )
    value_added: float | None = Field(
        description="WAPE of the seasonal naive forecast minus this WAPE, over the same weeks."
    )


class Figure(BaseModel):
    """One figure of the newest cutoff whose whole horizon is over."""

    model: str
    metric: str = Field(examples=["wrmsse mean"])
    value: float


class Accuracy(BaseModel):
    """Accuracy of forecasts whose days are over."""

    published_at: datetime
    since: date | None = Field(description="First day that is compared; null when none is over.")
    until: date | None = Field(description="Last day that is compared.")
    cutoff: date | None = Field(description="Cutoff of `figures`.")
    figures: list[Figure] = Field(
        description="WRMSSE by level, pinball loss, coverage and bias of all series."
    )
    rows: list[AccuracyRow] = Field(description="Largest value first.")


class DecisionsQuery(BaseModel):
    """Which gate decisions to return."""

    model_config = FORBID

    gate: str | None = Field(
        default=None, max_length=64, description="Only of this gate, such as retrain."
    )
    limit: int = Field(default=100, ge=1, le=1000, description="At most so many, newest first.")


class Decision(BaseModel):
    """What a gate decided, and on what."""

    decided_at: datetime
    gate: str = Field(examples=["retrain"])
    outcome: str = Field(description="Such as pass, retrain, hold.", examples=["pass"])
    reasons: list[str]
    measurements: dict[str, Any] = Field(description="What was measured, by name.")


class Decisions(BaseModel):
    """Gate decisions, newest first."""

    published_at: datetime
    decisions: list[Decision]


class ExceptionsQuery(BaseModel):
    """Which exceptions to return."""

    model_config = FORBID

    kind: Kind | None = Field(default=None, description="Only of this kind.")
    store_id: Id | None = Field(default=None, description="Only of this store.")
    limit: int = Field(default=100, ge=1, le=1000, description="At most so many.")


class PlanningException(BaseModel):
    """A series that a planner should look at, and why."""

    store_id: str = Field(examples=["367"])
    item_id: str = Field(examples=["GROCERY"])
    kind: Kind
    reason: str = Field(description="In words, with the figures.")
    value: float = Field(
        description="What is at stake, in the currency of sales: units times the mean price."
    )
    since: date = Field(description="First day that it is about.")
    until: date = Field(description="Last day that it is about.")


class Exceptions(BaseModel):
    """What needs a look, most money first."""

    published_at: datetime
    count: int = Field(description="Exceptions that match the filter.")
    exceptions: list[PlanningException]
