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
from serving.client import ApiProblem, Client

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
        *("baseline", "snapshot_id", "model_version", "degraded"),
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
    assert api.series(store_id="2").rows() == [("2", "GROCERY")]
    assert api.series(search="none").is_empty()


def test_orders_are_a_row_per_series(api: Client) -> None:
    frame = api.orders({MEAT: 100.0}, review_days=10, service_level=0.9)
    assert frame["order_quantity"].to_list() == [260.0]


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


def test_who_is_not_there_or_busy_is_asked_again_but_no_override_twice(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = httpx.Response(200, json={"version": "1"})
    problem = {"type": "t", "title": "T", "status": 429, "detail": "d", "instance": "/"}
    busy = httpx.Response(429, json={**problem, "request_id": "r"})
    told: list[Any] = [httpx.ConnectError("gone"), busy, good]

    def request(*_: object, **__: object) -> httpx.Response:
        answer = told.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(api._http, "request", request)
    assert api.model().version == "1"
    told = [httpx.ConnectError("gone")] * 4
    with pytest.raises(httpx.ConnectError):
        api.model()
    told = [httpx.ReadError("gone"), good]
    with pytest.raises(httpx.ReadError):
        api._ask("POST", "/v1/overrides")
    assert told == [good]


def test_the_examples_of_the_docs_run(api: Client, capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.S)
    assert examples
    for example in examples:
        assert len(example.strip().splitlines()) <= 6
        exec(example.replace('"367"', '"1"'), {})
    assert "GROCERY" in capsys.readouterr().out
