"""What goes over the wire: requests, answers and problems, as pydantic types."""

from collections import Counter
from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_SERIES = 1000
MAX_HORIZON = 28
DEFAULT_QUANTILES = (0.1, 0.5, 0.9)

# The allowed range of each field in words; validation problems quote it.
EXPECTED = {
    "series": f"a list of 1 to {MAX_SERIES} different series, each with store_id and item_id",
    "horizon": f"an integer from 1 to {MAX_HORIZON}",
    "quantiles": "a list of different levels of the model, such as [0.1, 0.5, 0.9]",
    "store_id": "a text of 1 to 128 characters",
    "limit": "an integer from 1 to 1000",
    "cursor": "the next_cursor of the previous page",
}

Id = Annotated[str, Field(min_length=1, max_length=128)]
Level = Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
FORBID = ConfigDict(extra="forbid")


class Series(BaseModel):
    """One demand series: an item in a store."""

    model_config = FORBID

    store_id: Id = Field(description="Store.", examples=["367"])
    item_id: Id = Field(description="Item: a department or a category.", examples=["GROCERY"])


class ForecastRequest(BaseModel):
    """Which series to forecast, how far and with which quantiles."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "series": [{"store_id": "367", "item_id": "GROCERY"}],
                    "horizon": 7,
                    "quantiles": [0.1, 0.5, 0.9],
                }
            ]
        },
    )

    series: list[Series] = Field(
        min_length=1,
        max_length=MAX_SERIES,
        description="Series to forecast, each once; GET /v1/series lists those that can be.",
    )
    horizon: int = Field(
        default=MAX_HORIZON,
        strict=True,
        ge=1,
        le=MAX_HORIZON,
        description="Days to forecast, counted from the day after the cutoff. When left out: "
        "as many as the model reaches.",
    )
    quantiles: list[Level] = Field(
        default=list(DEFAULT_QUANTILES),
        max_length=99,
        description="Quantile levels to return, of those that GET /v1/model lists; may be empty.",
    )

    @field_validator("series")
    @classmethod
    def _series_once(cls, series: list[Series]) -> list[Series]:
        counts = Counter((s.store_id, s.item_id) for s in series)
        (store_id, item_id), count = counts.most_common(1)[0]
        if count > 1:
            raise ValueError(f"store_id={store_id!a}, item_id={item_id!a} is there {count} times")
        return series

    @field_validator("quantiles")
    @classmethod
    def _levels_once(cls, levels: list[float]) -> list[float]:
        if len(set(levels)) < len(levels):
            raise ValueError("a level is there twice")
        return levels


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


class SeriesForecast(BaseModel):
    """The forecast of one series and the state of data that it was made from."""

    store_id: str = Field(description="Store.", examples=["367"])
    item_id: str = Field(description="Item: a department or a category.", examples=["GROCERY"])
    snapshot_id: str = Field(description="Data snapshot of this series' features.")
    cutoff: date = Field(
        description="Last day of sales in this series' features; the first forecast day follows.",
        examples=["2017-09-10"],
    )
    days: list[ForecastDay] = Field(description="One entry per day, in order.")


class ForecastResponse(BaseModel):
    """Forecasts of the requested series, in their order, in units sold per day."""

    model_version: str = Field(description="Version that made every forecast here.", examples=["7"])
    feature_service: str = Field(description="Feast feature service.", examples=["demand_v1"])
    snapshot_id: str = Field(description="Newest data snapshot among the forecasts.")
    cutoff: date = Field(description="Newest cutoff among the forecasts.", examples=["2017-09-10"])
    generated_at: datetime = Field(description="When the answer was made, UTC.")
    forecasts: list[SeriesForecast]


class SeriesQuery(BaseModel):
    """Filter and page of the list of series."""

    model_config = FORBID

    store_id: Id | None = Field(default=None, description="Only series of this store.")
    limit: int = Field(default=100, ge=1, le=1000, description="Series per page.")
    cursor: str | None = Field(
        default=None, max_length=2000, description="next_cursor of the previous page."
    )


class SeriesPage(BaseModel):
    """Series that can be forecast, ordered by store_id and item_id."""

    snapshot_id: str = Field(description="Data snapshot that the list is of.")
    count: int = Field(description="Series that match the filter, on all pages.")
    series: list[Series]
    next_cursor: str | None = Field(description="Asks for the next page; null on the last one.")


class LoadError(BaseModel):
    """A model version that was configured but did not load; the one before it serves on."""

    version: str | None
    error: str


class ModelInfo(BaseModel):
    """The model that answers; its fields are null while there is none."""

    version: str | None = Field(default=None, examples=["7"])
    trained_cutoff: date | None = Field(
        default=None, description="Last day of sales that its training saw."
    )
    horizon: int | None = Field(default=None, description="Days ahead that it forecasts.")
    quantiles: list[float] | None = Field(
        default=None, description="Quantile levels that it gives."
    )
    feature_service: str | None = Field(
        default=None, description="Feast feature service that it reads."
    )
    snapshot_id: str | None = Field(
        default=None, description="Data snapshot that it was trained on."
    )
    load_error: LoadError | None = Field(
        default=None, description="Why the version configured last is not the one that serves."
    )


class Health(BaseModel):
    """State of the service."""

    status: str = Field(examples=["ready"])
    model_version: str | None = None
    snapshot_id: str | None = None


class FieldError(BaseModel):
    """What is wrong with one field."""

    path: str = Field(
        description="JSON pointer into the body, or the query parameter.", examples=["/horizon"]
    )
    detail: str = Field(description="What was expected and what was got.")


class Problem(BaseModel):
    """An error, as RFC 9457 describes it (application/problem+json)."""

    type: str = Field(
        description="Kind of problem.", examples=["urn:shelfcast:problem:unknown-series"]
    )
    title: str
    status: int
    detail: str = Field(description="What was wrong, what was got and what to do.")
    instance: str = Field(description="Path that was asked for.")
    request_id: str = Field(description="Also in the X-Request-ID header and in the logs.")
    errors: list[FieldError] | None = Field(default=None, description="Fields that are not valid.")
