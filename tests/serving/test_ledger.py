"""What the API hands to the ledger of answers and errors."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from data import collection


def spooled(service: Any, state: Path) -> Any:
    service._source.spool.close()
    (file,) = collection.spool_files(state / "spool", datetime.now(UTC))
    return collection.read_spooled(file.read_bytes())


def test_answers_and_errors_reach_the_ledger(client: TestClient, service: Any, state: Path) -> None:
    body = {"series": [{"store_id": "1", "item_id": "MEAT"}], "horizon": 7, "quantiles": []}
    assert client.post("/v1/forecasts", json=body, headers={"X-Request-ID": "r9"}).is_success
    assert client.post("/v1/forecasts", json={**body, "horizon": 99}).status_code == 422
    assert client.get("/made/up/by/a/client").status_code == 404
    read = spooled(service, state)
    rows = read.forecasts
    assert rows.height == 7 and rows["request_id"].unique().to_list() == ["r9"]
    assert rows["q0.9"].null_count() == 0  # all levels are kept, whatever was asked for
    assert rows["snapshot_id"].unique().to_list() == ["s1"]
    assert {(f.kind, f.detail) for f in read.failures} == {
        ("api 422 invalid", "POST /v1/forecasts"),
        ("api 404 no-such-route", "GET no route"),
    }


def test_a_ledger_that_can_not_be_written_leaves_answers_as_they_are(
    client: TestClient, service: Any, state: Path
) -> None:
    (state / "spool").write_text("no folder")
    body = {"series": [{"store_id": "1", "item_id": "MEAT"}]}
    assert client.post("/v1/forecasts", json=body).is_success
    service._source.spool.close()
    assert service._source.spool.lost == 1
