"""Forecasts without the online store, and of series that it does not know."""

import csv
import io
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from data.schema import DEMAND_FEATURES, STORE_FEATURES
from serving.api.forecasts import ForecastResponse

CUTOFF = date(2017, 9, 10)
GROCERY = {"store_id": "1", "item_id": "GROCERY"}
MEAT = {"store_id": "1", "item_id": "MEAT"}
FORECASTS = "/v1/forecasts"


def write_offline(state: Path, mean_7: float) -> None:
    rows = {"cutoff": str(CUTOFF), "snapshot_id": "s1", **dict.fromkeys(DEMAND_FEATURES, mean_7)}
    views = {
        "demand": {**MEAT, **rows},
        "store_demand": {"store_id": "1", **dict.fromkeys(STORE_FEATURES, 1.0)},
    }
    for view, row in views.items():
        folder = state / "features" / view / str(CUTOFF)
        folder.mkdir(parents=True, exist_ok=True)
        pl.DataFrame([row]).write_parquet(folder / "20170911T100000Z.parquet")


def test_without_the_online_store_the_last_good_features_answer_and_it_is_said(
    client: TestClient, online: Any, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_offline(state, 6.0)
    online.fails = OSError("database /secret is locked")
    body = {"series": [MEAT], "horizon": 1}
    answer = client.post(FORECASTS, json=body).json()
    assert answer["degraded"] and "OSError" in answer["degraded_reason"]
    assert "secret" not in answer["degraded_reason"]
    assert answer["forecasts"][0]["days"][0]["y_hat"] == 6.0
    assert client.get("/v1/status").json()["degraded"]
    monkeypatch.setattr("serving.source.RETRY_SECONDS", -1.0)
    missing = client.post(FORECASTS, json={"series": [GROCERY]})
    assert missing.status_code == 404 and "GROCERY" in missing.json()["detail"]


def test_a_store_that_failed_is_asked_again_after_a_while(
    client: TestClient, online: Any, state: Path, service: Any
) -> None:
    write_offline(state, 6.0)
    online.fails = OSError("locked")
    body = {"series": [MEAT], "horizon": 1}
    assert client.post(FORECASTS, json=body).json()["degraded"]
    online.fails = None
    assert client.post(FORECASTS, json=body).json()["degraded"]  # not asked yet
    service._source._failed_until = 0.0
    answer = client.post(FORECASTS, json=body).json()
    assert not answer["degraded"] and answer["forecasts"][0]["days"][0]["y_hat"] == 20.0


def test_a_new_series_of_a_known_store_and_item_is_forecast_from_its_like(
    client: TestClient, online: Any, state: Path
) -> None:
    write_offline(state, 6.0)  # store 1 and item MEAT are known
    folder = state / "features" / "demand" / str(CUTOFF)
    rows = pl.read_parquet(folder / "20170911T100000Z.parquet")
    other = rows.with_columns(store_id=pl.lit("7"), item_id=pl.lit("DELI"))
    pl.concat([rows, other]).write_parquet(folder / "20170911T100000Z.parquet")
    new = {"store_id": "7", "item_id": "MEAT"}
    told = client.post(FORECASTS, json={"series": [new, MEAT], "horizon": 2})
    answer = ForecastResponse.model_validate_json(told.content, strict=True)
    assert [n.method for n in answer.forecasts] == ["analogues: MEAT", None]
    assert [n.days[0].y_hat for n in answer.forecasts] == [6.0, 20.0]
    assert answer.forecasts[0].cutoff == CUTOFF and answer.snapshot_id == "s1"
    asked = {"series": [new, MEAT], "horizon": 1}
    table = client.post(FORECASTS, json=asked, headers={"Accept": "text/csv"}).text
    assert [r["analogues"] for r in csv.DictReader(io.StringIO(table))] == ["analogues: MEAT", ""]
    body = {"series": [new, MEAT], "review_days": 10, "service_level": 0.9}
    guessed, known = client.post("/v1/orders", json=body).json()["orders"]
    assert (guessed["item_id"], guessed["method"]) == ("MEAT", "analogues: MEAT")
    assert guessed["expected_demand"] == 600.0  # of the guess, not of what is known
    assert (known["method"], known["expected_demand"]) == (None, 200.0)
    nobody = {**body, "series": [{"store_id": "7", "item_id": "MOON"}]}
    assert client.post("/v1/orders", json=nobody).status_code == 404
    online.fails = OSError("the store is gone")
    for series in ([new], [new, MEAT]):
        assert client.post(FORECASTS, json={"series": series}).json()["degraded"]
    for nobody in ({"store_id": "7", "item_id": "MOON"}, {"store_id": "9", "item_id": "MEAT"}):
        assert client.post(FORECASTS, json={"series": [nobody]}).status_code == 404
