"""The model, the health and the problems of the service, as pydantic types."""

from datetime import date, datetime

from pydantic import BaseModel, Field


class LoadError(BaseModel):
    """A model version that was configured but did not load; the one before it serves on."""

    version: str | None
    error: str


class ModelInfo(BaseModel):
    """The model that answers; its fields are null while there is none."""

    version: str | None = Field(default=None, examples=["7"])
    method: str | None = Field(
        default=None, description="See method of POST /v1/forecasts.", examples=["lightgbm"]
    )
    trained_cutoff: date | None = Field(
        default=None, description="Last day of sales that its training saw."
    )
    horizon: int | None = Field(default=None, description="Steps ahead that it forecasts.")
    quantiles: list[float] | None = Field(
        default=None, description="Quantile levels that it gives."
    )
    feature_service: str | None = Field(
        default=None, description="Feast feature service that it reads."
    )
    snapshot_id: str | None = Field(
        default=None, description="Data snapshot that it was trained on."
    )
    versions: list[str | None] = Field(
        default=[],
        description="What each replica serves; they differ while versions are exchanged.",
        examples=[["7", "7"]],
    )
    load_error: LoadError | None = Field(
        default=None, description="Why the version configured last is not the one that serves."
    )


class Status(BaseModel):
    """How fresh the data is and where else to look; what the head of a page shows."""

    model_version: str | None = Field(examples=["7"])
    method: str | None = Field(
        description="See method of POST /v1/forecasts.", examples=["lightgbm"]
    )
    trained_cutoff: date | None = Field(description="Last day of sales that its training saw.")
    snapshot_id: str | None = Field(description="Data snapshot that forecasts are made from.")
    cutoff: date | None = Field(description="Last day of sales in it.", examples=["2017-09-10"])
    late_days: int | None = Field(
        description=(
            "Days since the sales after the cutoff were due, which is the day after theirs; 0 when "
            "they are not late, null when replayed data plays the calendar."
        )
    )
    published_at: datetime | None = Field(
        description="When history, accuracy, decisions and exceptions were last published, UTC."
    )
    degraded: bool = Field(description="Whether forecasts are made from the last good features.")
    degraded_reason: str | None = Field(default=None, description="Which part is down.")
    currency: str = Field(description="Sign of the currency of values and prices.", examples=["$"])
    prefect_url: str = Field(description="The Prefect UI.")
    mlflow_url: str = Field(description="The MLflow UI.")
    replay_url: str | None = Field(
        description="The report of the last replay, in the Prefect UI; null before the first one."
    )
    replay_result: str | None = Field(
        description="What the last replay recommends, in a sentence; null before the first one."
    )


class Health(BaseModel):
    """State of the service."""

    status: str = Field(examples=["ready"])
    model_version: str | None = None
    snapshot_id: str | None = None
    degraded: bool = Field(default=False, description="See degraded of POST /v1/forecasts.")


class ServerLive(BaseModel):
    """Open Inference Protocol: whether the server lives."""

    live: bool


class ServerReady(BaseModel):
    """Open Inference Protocol: whether the server can answer inference requests."""

    ready: bool


class ModelReady(BaseModel):
    """Open Inference Protocol: whether a model can answer inference requests."""

    name: str = Field(examples=["demand"])
    ready: bool


class ServerMetadata(BaseModel):
    """Open Inference Protocol: what the server is."""

    name: str = Field(examples=["shelfcast"])
    version: str = Field(examples=["1"])
    extensions: list[str]


class TensorMetadata(BaseModel):
    """Open Inference Protocol: one input or output of a model; -1 is any size."""

    name: str
    datatype: str = Field(examples=["FP64"])
    shape: list[int] = Field(examples=[[-1, 28]])


class ModelMetadata(BaseModel):
    """Open Inference Protocol: what a model takes and gives."""

    name: str = Field(examples=["demand"])
    versions: list[str] = Field(examples=[["7"]])
    platform: str = Field(examples=["lightgbm"])
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


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
