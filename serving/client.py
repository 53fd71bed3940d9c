"""The forecast API in Python: thin, typed, polars in and out."""

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Annotated, Any, Literal, Self, get_origin
from urllib.parse import quote

import httpx
import polars as pl
from pydantic import AfterValidator, BaseModel, ValidationError, create_model

from data.settings import Settings
from serving.api.forecasts import Change
from serving.api.insight import AccuracyRow, Decision, PastForecast, PlanningException, SoldDay
from serving.api.planning import Explanation, Order, Orders, Override, ScoredOverride
from serving.api.series import Level, Series
from serving.api.system import ModelInfo, Problem, Status
from serving.keys import operator_headers

SECONDS = 30.0
TRIES = 4
BACKOFF_SECONDS = 0.25  # before the second try, twice as long before each further one
PATIENCE_SECONDS = 10.0  # who is told to wait longer than this is told the problem instead
BUSY = (429, 503)
PROVENANCE = {
    **dict.fromkeys(("model_version", "method", "feature_service"), pl.String),
    "degraded": pl.Boolean,
    "degraded_reason": pl.String,
}

Key = tuple[str, str]


class ApiProblem(RuntimeError):
    """What the API answered instead of a result."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem


class Unreachable(ConnectionError):
    """No forecast API answered, at none of the tries."""


class Client:
    """Asks one forecast API; use it as a context, it keeps its connection.

    Without a URL it is the local stack's. A request that got no answer, 429 or 503 is sent up to
    three times more, after a growing pause that is at least the answer's Retry-After; an override
    is not. Then, and for every other problem, ApiProblem is raised, or Unreachable.
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        settings = Settings()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if url is None:
            headers = headers or operator_headers(settings)
        self._http = httpx.Client(
            base_url=url or settings.serve_url, headers=headers, timeout=SECONDS, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def forecast(
        self,
        series: Sequence[Key] | None = None,
        *,
        level: Level = "series",
        horizon: int | None = None,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        what_if: Sequence[Change] = (),
    ) -> pl.DataFrame:
        """Forecasts of (store_id, item_id) series, or of their sums on a level; None is all.

        One row per node and day: store_id, item_id, department, cutoff, ds, y_hat, a column per
        quantile (`q0.5`), `baseline` (y_hat without the what-if), `analogues` (what stood in for
        a history that is missing), and where it comes from. What the answer warns of is a Python
        warning.
        """
        body: dict[str, Any] = {"level": level, "quantiles": list(quantiles)}
        if series is not None:
            body["series"] = _named(series)
        if horizon is not None:
            body["horizon"] = horizon
        if what_if:
            body["what_if"] = [c.model_dump(mode="json", exclude_none=True) for c in what_if]
        told = self._ask("POST", "/v1/forecasts", json=body)
        for text in told["warnings"]:
            warnings.warn(text, stacklevel=2)
        return _forecast_frame(told, [f"{q:g}" for q in quantiles])

    def series(self, store_id: str | None = None, search: str | None = None) -> pl.DataFrame:
        """The series that can be forecast: store_id, item_id, `cold` if none was learnt of it."""
        asked = {"store_id": store_id, "search": search, "limit": 1000, "cursor": None}
        found, new = list[dict[str, str]](), set[Key]()
        while True:
            page = self._ask("GET", "/v1/series", params=_given(asked))
            found += page["series"]
            new |= {(key["store_id"], key["item_id"]) for key in page["cold"]}
            asked["cursor"] = page["next_cursor"]
            if asked["cursor"] is None:
                keys = [(key["store_id"], key["item_id"]) for key in found]
                cold = pl.Series("cold", [k in new for k in keys], pl.Boolean)
                return _frame(Series, found).with_columns(cold)

    def history(
        self, store_id: str, item_id: str, *, days: int = 180, lead: int = 7
    ) -> pl.DataFrame:
        """Sales by day with price and promotions, and `y_hat`, forecast `lead` days ahead."""
        path = f"/v1/series/{quote(store_id, safe='')}/{quote(item_id, safe='')}/history"
        told = self._ask("GET", path, params={"days": days, "lead": lead})
        past = _frame(PastForecast, told["forecasts"]).select("ds", "y_hat", "model")
        return _frame(SoldDay, told["days"]).join(past, on="ds", how="left").sort("ds")

    def accuracy(
        self, level: Level = "total", *, store_id: str | None = None, item_id: str | None = None
    ) -> pl.DataFrame:
        """Error, bias and value added of forecasts whose days are over, by node and model."""
        asked = {"level": level, "store_id": store_id, "item_id": item_id}
        return _frame(AccuracyRow, self._ask("GET", "/v1/accuracy", params=_given(asked))["rows"])

    def decisions(self, gate: str | None = None, limit: int = 100) -> pl.DataFrame:
        """Gate decisions, newest first; `measurements` is a struct of what was measured."""
        asked = {"gate": gate, "limit": limit}
        found = self._ask("GET", "/v1/decisions", params=_given(asked))["decisions"]
        return _frame(Decision, found)

    def exceptions(
        self, kind: str | None = None, *, store_id: str | None = None, limit: int = 100
    ) -> pl.DataFrame:
        """Series that need a look, most money first, with the reason in words."""
        asked = {"kind": kind, "store_id": store_id, "limit": limit}
        found = self._ask("GET", "/v1/exceptions", params=_given(asked))["exceptions"]
        return _frame(PlanningException, found)

    def explain(self, store_id: str, item_id: str, ds: date | None = None) -> Explanation:
        """What drives a forecast, and why it changed; of all days when `ds` is None."""
        body = {"store_id": store_id, "item_id": item_id, "ds": ds and ds.isoformat()}
        return Explanation.model_validate(self._ask("POST", "/v1/explanations", json=body))

    def orders(
        self,
        on_hand: Mapping[Key, float],
        *,
        lead_time_days: int = 0,
        review_days: int = 7,
        service_level: float | None = None,
        shortage_cost: float | None = None,
        leftover_cost: float | None = None,
    ) -> pl.DataFrame:
        """Order quantities of series with so many units on hand, for a service level or costs.

        `since`, `until`: the days that it must last; `analogues` and the rest as in `forecast`.
        """
        costs = {"shortage_cost": shortage_cost, "leftover_cost": leftover_cost}
        body = _given({"service_level": service_level, **costs})
        body |= {"lead_time_days": lead_time_days, "review_days": review_days}
        body["series"] = [
            {"store_id": s, "item_id": i, "on_hand": units} for (s, i), units in on_hand.items()
        ]
        told = Orders.model_validate(self._ask("POST", "/v1/orders", json=body)).model_dump()
        of = {"since": pl.Date, "until": pl.Date, "service_level": pl.Float64}
        of |= {"snapshot_id": pl.String, "cutoff": pl.Date}
        found = _frame(Order, told["orders"]).rename({"method": "analogues"})
        return found.with_columns(_same(told, of | PROVENANCE))

    def override(
        self,
        store_id: str,
        item_id: str,
        *,
        since: date,
        until: date,
        units: float,
        reason: str,
        expires_at: datetime,
    ) -> Override:
        """Sets a forecast by hand, in units a day; needs a key of the scope admin."""
        days = {"since": since.isoformat(), "until": until.isoformat(), "units": units}
        body = {"store_id": store_id, "item_id": item_id, **days, "reason": reason}
        body["expires_at"] = expires_at.isoformat()
        return Override.model_validate(self._ask("POST", "/v1/overrides", json=body))

    def overrides(self) -> pl.DataFrame:
        """What people set, newest first, with the value added once its days are over."""
        return _frame(ScoredOverride, self._ask("GET", "/v1/overrides")["overrides"])

    def model(self) -> ModelInfo:
        """The served model."""
        return ModelInfo.model_validate(self._ask("GET", "/v1/model"))

    def status(self) -> Status:
        """How fresh model and data are."""
        return Status.model_validate(self._ask("GET", "/v1/status"))

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        # An override is a new one each time: it is not sent again when its fate is unknown.
        tries = 1 if (method, path) == ("POST", "/v1/overrides") else TRIES
        for left in reversed(range(tries)):
            wait = BACKOFF_SECONDS * 2 ** (tries - 1 - left)
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                if not left:
                    fate = "" if tries > 1 else " overrides() shows whether it was taken."
                    raise Unreachable(
                        f"No forecast API answered at {self._http.base_url} "
                        f"({type(error).__name__}, tries: {tries}); "
                        f"start it with `make up`, or name another one with Client(url).{fate}"
                    ) from error
            else:
                asked = answer.headers.get("retry-after", "")
                wait = max(wait, float(asked) if asked.isdigit() else 0.0)
                if answer.status_code not in BUSY or not left or wait > PATIENCE_SECONDS:
                    break
            time.sleep(wait)
        if answer.is_error:
            raise ApiProblem(_problem(answer))
        told: dict[str, Any] = answer.json()
        return told


def _problem(answer: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(answer.content)
    except ValidationError:  # not the API's own words, but those of a proxy before it
        return Problem(
            type="about:blank",
            title=answer.reason_phrase,
            status=answer.status_code,
            detail=answer.text.strip()[:300],
            instance=answer.url.path,
            request_id="",
        )


def _named(series: Sequence[Key]) -> list[dict[str, str]]:
    return [{"store_id": store_id, "item_id": item_id} for store_id, item_id in series]


def _given(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}


def _forecast_frame(told: Mapping[str, Any], levels: Sequence[str]) -> pl.DataFrame:
    of = ("store_id", "item_id", "department", "cutoff")
    numbers = ("y_hat", *(f"q{level}" for level in levels), "baseline")
    schema = {**dict.fromkeys((*of, "ds"), pl.String), **dict.fromkeys(numbers, pl.Float64)}
    schema |= {"snapshot_id": pl.String, "analogues": pl.String}
    rows = []
    for node in told["forecasts"]:
        keys = [node.get(name) for name in of]
        baseline = node.get("baseline") or [{}] * len(node["days"])
        for day, before in zip(node["days"], baseline, strict=True):
            made = [day["y_hat"], *(day["quantiles"][q] for q in levels), before.get("y_hat")]
            rows.append([*keys, day["ds"], *made, node["snapshot_id"], node.get("method")])
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(pl.col("cutoff", "ds").str.to_date(), *_same(told, PROVENANCE))


def _same(told: Mapping[str, Any], dtypes: Mapping[str, Any]) -> list[pl.Expr]:
    """What an answer says of all of its rows, as columns."""
    return [pl.lit(told.get(name), dtype).alias(name) for name, dtype in dtypes.items()]


def _frame(row: type[BaseModel], rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows of the wire with the columns and types of their record, also when there are none.

    The ranges that a request is held to are not asked of what was accepted once.
    """
    schema = {name: _dtype(field.annotation) for name, field in row.model_fields.items()}
    of = row.model_fields.items()
    fields: dict[str, Any] = {name: (_plain(field.annotation), field.default) for name, field in of}
    plain = create_model(row.__name__, **fields)
    found = [plain.model_validate(r).model_dump() for r in rows]
    return pl.DataFrame(found, schema=schema, infer_schema_length=None)


def _plain(annotation: Any) -> Any:
    """What a field is read as: a time, whatever its offset, as one of UTC."""
    in_utc = AfterValidator(lambda at: at.astimezone(UTC))
    return Annotated[annotation, in_utc] if annotation is datetime else annotation


def _dtype(annotation: Any) -> Any:
    """What polars can't read off a type of the wire itself; None is inferred from all rows."""
    if annotation is datetime:
        return pl.Datetime(time_zone="UTC")
    of = get_origin(annotation)
    return {Literal: pl.String, dict: None}.get(of, annotation)
