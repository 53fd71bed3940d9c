"""Forecasts without the online store."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from checks.alerts import guide
from data import collection, ledger
from data.schema import DEMAND_FEATURES, STORE_FEATURES
from data.settings import Settings
from data.warehouse import connect

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


def test_degraded_answers_are_counted_among_the_errors(
    client: TestClient, service: Any, online: Any, state: Path
) -> None:
    write_offline(state, 6.0)
    online.fails = OSError("the store is gone")
    for _ in range(2):
        answer = client.post(FORECASTS, json={"series": [MEAT], "horizon": 1})
        assert answer.json()["degraded"]
    service._source.spool.close()
    with connect(Settings(state_dir=state, _env_file=None)) as con:
        now = datetime.now(UTC)
        collection.collect(con, state / "spool", collected_at=now, guide=guide)
        event = ledger.errors(con).row(0, named=True)
    assert (event["kind"], event["detail"], event["count"]) == ("api 200 degraded", "forecasts", 2)
    assert event["next_step"].endswith("#answers-are-stale-or-degraded")
