"""The forecast API in Python: thin, typed, polars in and out."""

import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import polars as pl
from pydantic import ValidationError

from data.settings import Settings
from serving.api.forecasts import Change
from serving.api.planning import Explanation, Override
from serving.api.series import Level
from serving.api.system import ModelInfo, Problem, Status
from serving.keys import operator_headers

SECONDS = 30.0
TRIES = 4
BACKOFF_SECONDS = 0.25  # before the second try, twice as long before each further one
PATIENCE_SECONDS = 10.0  # who is told to wait longer than this is told the problem instead
BUSY = (429, 503)

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
        quantile (`q0.5`), `baseline` (y_hat without the what-if), and where it comes from.
        """
        body: dict[str, Any] = {"level": level, "quantiles": list(quantiles)}
        if series is not None:
            body["series"] = _named(series)
        if horizon is not None:
            body["horizon"] = horizon
        if what_if:
            body["what_if"] = [c.model_dump(mode="json", exclude_none=True) for c in what_if]
        return _forecast_frame(self._ask("POST", "/v1/forecasts", json=body))

    def series(self, store_id: str | None = None, search: str | None = None) -> pl.DataFrame:
        """The series that can be forecast: store_id, item_id."""
        asked = {"store_id": store_id, "search": search, "limit": 1000, "cursor": None}
        found: list[dict[str, Any]] = []
        while True:
            page = self._ask("GET", "/v1/series", params=_given(asked))
            found += page["series"]
            asked["cursor"] = page["next_cursor"]
            if asked["cursor"] is None:
                return pl.DataFrame(found, schema={"store_id": pl.String, "item_id": pl.String})

    def history(
        self, store_id: str, item_id: str, *, days: int = 180, lead: int = 7
    ) -> pl.DataFrame:
        """Sales by day with price and promotions, and `y_hat`, forecast `lead` days ahead."""
        path = f"/v1/series/{quote(store_id, safe='')}/{quote(item_id, safe='')}/history"
        told = self._ask("GET", path, params={"days": days, "lead": lead})
        schema = {"ds": pl.String, "y_hat": pl.Float64, "model": pl.String}
        past = pl.DataFrame([{k: f[k] for k in schema} for f in told["forecasts"]], schema=schema)
        sold = pl.DataFrame(told["days"], infer_schema_length=None)  # prices may begin late
        return _dated(sold.join(past, on="ds", how="left").sort("ds"))

    def accuracy(
        self, level: Level = "total", *, store_id: str | None = None, item_id: str | None = None
    ) -> pl.DataFrame:
        """Error, bias and value added of forecasts whose days are over, by node and model."""
        asked = {"level": level, "store_id": store_id, "item_id": item_id}
        return pl.DataFrame(self._ask("GET", "/v1/accuracy", params=_given(asked))["rows"])

    def decisions(self, gate: str | None = None, limit: int = 100) -> pl.DataFrame:
        """Gate decisions, newest first; `measurements` is a struct of what was measured."""
        asked = {"gate": gate, "limit": limit}
        found = self._ask("GET", "/v1/decisions", params=_given(asked))["decisions"]
        return pl.DataFrame(found, infer_schema_length=None)

    def exceptions(
        self, kind: str | None = None, *, store_id: str | None = None, limit: int = 100
    ) -> pl.DataFrame:
        """Series that need a look, most money first, with the reason in words."""
        asked = {"kind": kind, "store_id": store_id, "limit": limit}
        found = self._ask("GET", "/v1/exceptions", params=_given(asked))["exceptions"]
        return _dated(pl.DataFrame(found))

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
        """Order quantities of series with so many units on hand, for a service level or costs."""
        costs = {"shortage_cost": shortage_cost, "leftover_cost": leftover_cost}
        body = _given({"service_level": service_level, **costs})
        body |= {"lead_time_days": lead_time_days, "review_days": review_days}
        body["series"] = [
            {"store_id": s, "item_id": i, "on_hand": units} for (s, i), units in on_hand.items()
        ]
        rows = self._ask("POST", "/v1/orders", json=body)["orders"]
        return pl.DataFrame(rows, infer_schema_length=None)

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
        rows = self._ask("GET", "/v1/overrides")["overrides"]
        return pl.DataFrame(rows, infer_schema_length=None)

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


def _forecast_frame(told: Mapping[str, Any]) -> pl.DataFrame:
    rows = []
    for node in told["forecasts"]:
        baseline = node.get("baseline") or [{}] * len(node["days"])
        for day, before in zip(node["days"], baseline, strict=True):
            of = {k: node.get(k) for k in ("store_id", "item_id", "department", "cutoff")}
            quantiles = {f"q{q}": v for q, v in day["quantiles"].items()}
            made = {"y_hat": day["y_hat"], **quantiles, "baseline": before.get("y_hat")}
            rows.append({**of, "ds": day["ds"], **made, "snapshot_id": node["snapshot_id"]})
    same = {k: pl.lit(told[k]) for k in ("model_version", "degraded")}
    text = dict.fromkeys(("store_id", "item_id", "department"), pl.String)
    overrides = {**text, "baseline": pl.Float64}
    return _dated(pl.DataFrame(rows, schema_overrides=overrides).with_columns(**same))


def _dated(frame: pl.DataFrame) -> pl.DataFrame:
    days = [c for c in ("ds", "cutoff", "since", "until") if c in frame.columns]
    return frame.with_columns(pl.col(days).str.to_date())
