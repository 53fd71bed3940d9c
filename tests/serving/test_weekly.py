"""The API over weekly data: horizons count weeks, and days are the last ones of weeks."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient

from data import publication
from data.schema import SALES
from data.steps import Steps
from serving.service import ForecastService

CUTOFF = date(2017, 9, 10)
WEEKS = [CUTOFF + timedelta(weeks=k) for k in range(1, 9)]
MEAT = {"store_id": "1", "item_id": "MEAT"}


@pytest.fixture
def weekly(
    service: ForecastService,
    bare_client: TestClient,
    configure: Callable[[str | None], None],
    monkeypatch: pytest.MonkeyPatch,
) -> TestClient:
    """A client of the API that serves a model of eight weeks."""
    monkeypatch.setenv("SHELFCAST_FREQUENCY", "1w")
    monkeypatch.setattr(service._load, "steps", Steps(7))
    monkeypatch.setattr(service._load, "horizon", 8)
    configure("1")
    return bare_client


def test_forecasts_are_of_weeks_as_far_as_the_model_reaches(weekly: TestClient) -> None:
    answer = weekly.post("/v1/forecasts", json={"series": [MEAT]}).json()
    assert [d["ds"] for d in answer["forecasts"][0]["days"]] == [str(ds) for ds in WEEKS]
    refused = weekly.post("/v1/forecasts", json={"series": [MEAT], "horizon": 9})
    assert refused.status_code == 422 and refused.json()["type"].endswith("horizon-too-long")


def test_what_is_asked_of_a_day_inside_a_week_is_refused(weekly: TestClient) -> None:
    day = str(WEEKS[0] - timedelta(days=1))
    change = {"ds": day, "display": 2}
    asked = weekly.post("/v1/forecasts", json={"series": [MEAT], "what_if": [change]})
    assert asked.status_code == 422 and "last days of forecast weeks" in asked.text
    assert weekly.post("/v1/explanations", json={**MEAT, "ds": day}).status_code == 422
    until = {"since": str(WEEKS[0]), "until": str(WEEKS[1] - timedelta(days=1))}
    override = {**MEAT, **until, "units": 5, "reason": "a fair", "expires_at": "2018-01-01T00:00Z"}
    assert weekly.post("/v1/overrides", json=override).status_code == 422
    whole = {**override, "until": str(WEEKS[1])}
    assert weekly.post("/v1/overrides", json=whole).json()["baseline"] == 40.0


def test_stock_for_nine_days_is_stock_for_two_weeks(weekly: TestClient) -> None:
    asked = {"series": [{**MEAT, "on_hand": 0}], "lead_time_days": 2, "service_level": 0.5}
    answer = weekly.post("/v1/orders", json=asked).json()
    assert (answer["since"], answer["until"]) == ("2017-09-11", str(WEEKS[1]))
    order = answer["orders"][0]
    assert order["expected_demand"] == 40.0
    assert order["days_of_cover"] == pytest.approx(14)


def test_the_history_has_a_row_a_week(weekly: TestClient, state: Path) -> None:
    now = datetime(2017, 9, 11, 12, tzinfo=UTC)
    sales = [("1", "MEAT", CUTOFF - timedelta(weeks=k), 5.0, 2.5, now) for k in (0, 1, 3)]
    pl.DataFrame(sales, schema=SALES, orient="row").write_parquet(
        state / "snapshots" / "s1" / "sales.parquet"
    )
    publication.write(state / "published", {}, {"snapshot_id": "s1", "cutoff": CUTOFF}, now)
    answer = weekly.get("/v1/series/1/MEAT/history?days=21").json()
    assert [(d["ds"], d["y"]) for d in answer["days"]] == [
        ("2017-08-27", 0.0),
        ("2017-09-03", 5.0),
        ("2017-09-10", 5.0),
    ]
