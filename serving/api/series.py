"""What names a series or a node of a level on the wire, and the list of series."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_SERIES = 1000
MAX_HORIZON = 28
FORBID = ConfigDict(extra="forbid")

Id = Annotated[str, Field(min_length=1, max_length=128)]
Share = Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
Level = Literal["total", "store", "department", "store x department", "item", "series"]

BORROWED = "analogues: GROCERY in stores 330, 401, times 0.8 to 1.2 for the size of store 367"

# The allowed range of each field in words; validation problems quote it.
EXPECTED = {
    "series": f"a list of 1 to {MAX_SERIES} different series, each with store_id and item_id",
    "horizon": f"an integer from 1 to {MAX_HORIZON}",
    "quantiles": "a list of different levels of the model, such as [0.1, 0.5, 0.9]",
    "store_id": "a text of 1 to 128 characters",
    "item_id": "a text of 1 to 128 characters",
    "limit": "an integer from 1 to 1000",
    "cursor": "the next_cursor of the previous page",
    "level": "one of total, store, department, store x department, item, series",
    "what_if": "a list of up to 2000 changes, each with ds and display, mailer or price",
    "ds": "a day such as 2017-09-11",
    "display": "a number of products from 0 to 10000",
    "mailer": "a number of products from 0 to 10000",
    "price": "a price a unit above 0 and up to 1000000",
    "days": "an integer from 1 to 1100",
    "lead": f"an integer from 1 to {MAX_HORIZON}",
    "on_hand": "a number of units from 0 to 1000000000",
    "lead_time_days": "an integer from 0 to 27",
    "review_days": f"an integer from 1 to {MAX_HORIZON}",
    "service_level": "a share above 0 and below 1, such as 0.95",
    "units": "a number of units a day from 0 to 1000000000",
    "reason": "a text of 3 to 500 characters",
    "sheets": "a list of 1 to 20 tables, each with name, columns and rows",
    "columns": "a list of 1 to 100 names",
    "rows": "a list of up to 10000 rows of numbers and texts, a cell a column at most",
}


class Series(BaseModel):
    """One demand series: an item in a store."""

    model_config = FORBID

    store_id: Id = Field(description="Store.", examples=["367"])
    item_id: Id = Field(description="Item: a department or a category.", examples=["GROCERY"])


class Node(BaseModel):
    """What a figure is of: those of the three that its level has, null where it sums over all."""

    store_id: str | None = Field(default=None, description="Store.", examples=["367"])
    item_id: str | None = Field(
        default=None, description="Item: a department or a category.", examples=["GROCERY"]
    )
    department: str | None = Field(
        default=None, description="Department of the items, where items are categories."
    )


class SeriesQuery(BaseModel):
    """Filter and page of the list of series."""

    model_config = FORBID

    store_id: Id | None = Field(default=None, description="Only series of this store.")
    search: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="Only series with this text in store_id or item_id, any case."
    )
    limit: int = Field(default=100, ge=1, le=1000, description="Series per page.")
    cursor: str | None = Field(
        default=None, max_length=2000, description="next_cursor of the previous page."
    )


class SeriesPage(BaseModel):
    """Series that can be forecast, ordered by store_id and item_id."""

    snapshot_id: str = Field(description="Data snapshot that the list is of.")
    count: int = Field(description="Series that match the filter, on all pages.")
    series: list[Series]
    cold: list[Series] = Field(
        description="Those of them that the model did not learn, because they sell seldom or are "
        "new: they are forecast from what is like them and from their own days, as `method` of a "
        "forecast says."
    )
    next_cursor: str | None = Field(description="Asks for the next page; null on the last one.")


class Provenance(BaseModel):
    """What every answer with forecasts says of where it comes from."""

    model_version: str = Field(description="Version that made every forecast here.", examples=["7"])
    method: str = Field(
        description="How that version forecasts: lightgbm, or seasonal naive (naive in weekly "
        "data), which repeats the last week known and takes no account of plans or prices.",
        examples=["lightgbm"],
    )
    feature_service: str = Field(description="Feast feature service.", examples=["demand_v1"])
    snapshot_id: str = Field(description="Newest data snapshot among the forecasts.")
    cutoff: date = Field(description="Newest cutoff among the forecasts.", examples=["2017-09-10"])
    degraded: bool = Field(
        default=False,
        description="Whether the features are the last good ones because a part is down.",
    )
    degraded_reason: str | None = Field(default=None, description="Which part is down, and since.")
