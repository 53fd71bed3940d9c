"""The Python client against the API itself, and the examples of docs/api.md."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from fastapi.testclient import TestClient

from data.settings import ROOT
from serving import client as module
from serving.api.forecasts import Change
from serving.client import ApiProblem, Client, Unreachable

GROCERY, MEAT = ("1", "GROCERY"), ("1", "MEAT")


@pytest.fixture
def api(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client whose requests the application answers without a server."""
    monkeypatch.setattr(module.httpx, "Client", lambda **_: client)
    monkeypatch.setattr(client, "close", lambda: None)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    return Client()


def test_a_forecast_is_a_frame_with_its_provenance(api: Client) -> None:
    frame = api.forecast([GROCERY, MEAT], horizon=2, quantiles=[0.5])
    assert frame.columns == [
        *("store_id", "item_id", "department", "cutoff", "ds", "y_hat", "q0.5"),
        *("baseline", "snapshot_id", "analogues", "model_version", "method", "feature_service"),
        *("degraded", "degraded_reason"),
    ]
    assert frame["y_hat"].to_list() == [10.0, 13.0, 20.0, 20.0]
    assert frame["ds"].dtype == pl.Date and frame["baseline"].null_count() == 4


def test_what_ifs_and_levels(api: Client, state: Path) -> None:
    change = Change(ds=date(2017, 9, 11), mailer=1)
    with pytest.raises(ApiProblem, match="published"):  # ranges seen come from the publication
        api.forecast([GROCERY], horizon=1, what_if=[change])
    total = api.forecast(level="total", horizon=1)
    assert total["y_hat"].to_list() == [65.0] and total["store_id"].null_count() == 1


def test_all_pages_of_series_are_one_frame(api: Client) -> None:
    assert api.series().height == 3
    assert api.series(store_id="2").rows() == [("2", "GROCERY", False)]
    assert api.series(search="none").columns == ["store_id", "item_id", "cold"]


def test_new_series_are_marked_on_whichever_page_they_are(asking: Client, told: list[Any]) -> None:
    first, second = {"store_id": "1", "item_id": "MEAT"}, {"store_id": "2", "item_id": "MEAT"}
    told += [
        httpx.Response(200, json={"series": [first], "cold": [], "next_cursor": "more"}),
        httpx.Response(200, json={"series": [second], "cold": [second], "next_cursor": None}),
    ]
    assert asking.series()["cold"].to_list() == [False, True]


def test_orders_are_a_row_per_series(api: Client) -> None:
    frame = api.orders({MEAT: 100.0}, review_days=10, service_level=0.9)
    assert frame["order_quantity"].to_list() == [260.0]
    assert frame.row(0, named=True)["until"] == date(2017, 9, 20)
    assert {"analogues", "method", "model_version", "degraded"} <= set(frame.columns)
    assert frame.select("snapshot_id", "cutoff").row(0) == ("s1", date(2017, 9, 10))


def test_an_explanation_and_an_override_are_records(api: Client) -> None:
    told = api.explain(*MEAT, ds=date(2017, 9, 11))
    assert told.y_hat == 20.0 and told.changed is None
    taken = api.override(
        *MEAT,
        since=date(2017, 9, 11),
        until=date(2017, 9, 11),
        units=30,
        reason="A festival",
        expires_at=datetime(2017, 9, 12, tzinfo=UTC),
    )
    assert taken.baseline == 20.0
    assert api.model().version == "1" and api.status().degraded is False


def test_a_problem_is_raised_with_what_the_api_said(api: Client) -> None:
    with pytest.raises(ApiProblem, match="404 Not Found: Series store_id='9'") as raised:
        api.forecast([("9", "MEAT")])
    assert raised.value.problem.type.endswith("unknown-series")


def refused(status: int, **headers: str) -> httpx.Response:
    problem = {"type": "t", "title": "T", "status": status, "detail": "d", "instance": "/"}
    return httpx.Response(status, json={**problem, "request_id": "r"}, headers=headers)


GOOD, GONE = httpx.Response(200, json={"version": "1"}), httpx.ConnectError("gone")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that a client made, in seconds; none of them is waited for."""
    pauses: list[float] = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def told(slept: list[float]) -> list[Any]:
    """What the next requests of `asking` come to; those that were made are gone from it."""
    return []


@pytest.fixture
def asking(told: list[Any]) -> Client:
    def answer(_: httpx.Request) -> httpx.Response:
        found = told.pop(0)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    client = Client("http://forecasts")
    client._http = httpx.Client(base_url="http://forecasts", transport=httpx.MockTransport(answer))
    return client


def test_who_is_not_there_or_busy_is_asked_again_after_a_growing_pause(
    asking: Client, told: list[Any], slept: list[float]
) -> None:
    told += [GONE, refused(503), refused(429), GOOD]
    assert asking.model().version == "1"
    assert slept == [0.25, 0.5, 1.0]


def test_the_pause_that_the_api_asks_for_is_kept(
    asking: Client, told: list[Any], slept: list[float]
) -> None:
    told += [refused(429, **{"Retry-After": "3"}), GOOD]
    assert asking.model().version == "1"
    assert slept == [3.0]


def test_a_pause_too_long_to_be_waited_for_is_a_problem_at_once(
    asking: Client, told: list[Any], slept: list[float]
) -> None:
    told += [refused(503, **{"Retry-After": "3600"}), GOOD]
    with pytest.raises(ApiProblem, match="503"):
        asking.model()
    assert slept == [] and told == [GOOD]


@pytest.mark.parametrize("status", [429, 503])
def test_who_stays_busy_is_asked_four_times_and_then_is_a_problem(
    asking: Client, told: list[Any], status: int
) -> None:
    told += [refused(status)] * 4 + [GOOD]
    with pytest.raises(ApiProblem, match=str(status)):
        asking.model()
    assert told == [GOOD]


def test_who_never_answers_is_one_error_that_says_where_and_what_to_do(
    asking: Client, told: list[Any]
) -> None:
    told += [GONE] * 4 + [GOOD]
    with pytest.raises(Unreachable, match=r"http://forecasts \(ConnectError, tries: 4\); start"):
        asking.model()
    assert told == [GOOD]


def test_what_a_proxy_says_instead_of_the_api_is_a_problem_too(
    asking: Client, told: list[Any]
) -> None:
    told.append(httpx.Response(500, text="The replica died."))
    with pytest.raises(ApiProblem, match="500 Internal Server Error: The replica died"):
        asking.model()


@pytest.mark.parametrize("end", [httpx.ReadError("gone"), refused(503)])
def test_an_override_is_not_sent_twice(asking: Client, told: list[Any], end: Any) -> None:
    told += [end, GOOD]
    with pytest.raises((Unreachable, ApiProblem)):
        asking._ask("POST", "/v1/overrides")
    assert told == [GOOD]


@pytest.mark.parametrize("status", [404, 422, 500])
def test_other_problems_are_raised_at_once(asking: Client, told: list[Any], status: int) -> None:
    told += [refused(status), GOOD]
    with pytest.raises(ApiProblem, match=str(status)):
        asking.model()
    assert told == [GOOD]


DAY = {"ds": "2017-09-11", "y_hat": 4.0, "quantiles": {"0.5": 4.0}}
BORROWED = {
    "model_version": "7",
    "method": "lightgbm",
    "feature_service": "demand_v1",
    "degraded": True,
    "degraded_reason": "The online store does not answer.",
    "warnings": ["A price of 9 was never seen."],
}
NODE = {"store_id": "1", "item_id": "MEAT", "cutoff": "2017-09-10", "snapshot_id": "s"}


def test_what_limits_an_answer_is_warned_of_and_kept_in_its_rows(
    asking: Client, told: list[Any]
) -> None:
    new = {**NODE, "days": [DAY], "method": "analogues: MEAT in stores 2, 3"}
    told.append(httpx.Response(200, json={**BORROWED, "forecasts": [new, {**NODE, "days": [DAY]}]}))
    with pytest.warns(UserWarning, match="A price of 9") as warned:
        frame = asking.forecast([MEAT], quantiles=[0.5])
    assert warned[0].filename == __file__
    assert frame["analogues"].to_list() == ["analogues: MEAT in stores 2, 3", None]
    assert set(frame["degraded_reason"]) == {"The online store does not answer."}
    assert set(frame["method"]) == {"lightgbm"}


def test_answers_without_rows_have_the_columns_of_those_with_rows(
    asking: Client, told: list[Any]
) -> None:
    names = ("rows", "decisions", "exceptions", "overrides", "days", "forecasts")
    told += [httpx.Response(200, json={name: [] for name in names})] * 5
    assert asking.accuracy().schema["wape"] == pl.Float64
    assert asking.decisions().schema["decided_at"] == pl.Datetime("us", "UTC")
    assert asking.exceptions().schema["since"] == pl.Date
    assert asking.overrides().schema["value_added"] == pl.Float64
    assert asking.history(*MEAT).schema["price"] == pl.Float64


def test_overrides_of_other_rules_and_other_time_zones_are_read_in_utc(
    asking: Client, told: list[Any]
) -> None:
    set_by_hand = {
        "store_id": "1",
        "item_id": "MEAT",
        "since": "2017-09-11",
        "until": "2017-09-01",
        "units": 2e9,
        "reason": "x",
        "expires_at": "2017-09-20T00:00:00+02:00",
        "override_id": "o",
        "created_at": "2017-09-10T10:00:00Z",
        "author": "ann",
        "baseline": 1.0,
        "active": False,
        "actual": None,
        "value_added": None,
    }
    told.append(httpx.Response(200, json={"overrides": [set_by_hand]}))
    frame = asking.overrides()
    assert frame["expires_at"].to_list() == [datetime(2017, 9, 19, 22, tzinfo=UTC)]
    assert frame.schema["expires_at"] == pl.Datetime("us", "UTC")
    assert frame["units"].to_list() == [2e9]


def test_what_begins_late_is_no_reason_to_fail(asking: Client, told: list[Any]) -> None:
    days = pl.date_range(date(2017, 1, 1), date(2017, 5, 31), eager=True).cast(pl.String)
    sold = [{"ds": d, "y": 0, "price": None, "display": 0, "mailer": 0} for d in days]
    sold[-1] |= {"y": 3, "price": 2.5}
    decided = {"decided_at": "2017-09-10T10:00:00Z", "gate": "retrain", "outcome": "pass"}
    gates = [{**decided, "reasons": [], "measurements": {"loss": 1}} for _ in days]
    gates[-1]["measurements"] = {"loss": 1.5, "bias": 0.2}
    told += [
        httpx.Response(200, json={"days": sold, "forecasts": []}),
        httpx.Response(200, json={"decisions": gates}),
    ]
    assert asking.history(*MEAT)["price"].to_list() == [None] * 150 + [2.5]
    assert asking.decisions()["measurements"].to_list()[-1] == {"loss": 1.5, "bias": 0.2}


def test_the_examples_of_the_docs_run(api: Client, capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.S)
    assert examples
    for example in examples:
        assert len(example.strip().splitlines()) <= 6
        exec(example.replace('"367"', '"1"'), {})
    assert "GROCERY" in capsys.readouterr().out
