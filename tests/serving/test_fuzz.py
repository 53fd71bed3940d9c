"""Requests made up from the OpenAPI document: every answer is as documented. `make bench-fuzz`
makes up thousands."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from fastapi.testclient import TestClient

from benchmarks.fuzz import fuzz
from data import publication
from data.schema import SALES

CUTOFF, NOW = date(2017, 9, 10), datetime(2017, 9, 11, tzinfo=UTC)


def test_made_up_requests_get_documented_answers(client: TestClient, state: Path) -> None:
    rows = [("1", "GROCERY", CUTOFF, 2.0, 2.0, NOW)]
    folder = state / "snapshots" / "s1"
    pl.DataFrame(rows, schema=SALES, orient="row").write_parquet(folder / "sales.parquet")
    publication.write(state / "published", {}, {"snapshot_id": "s1", "cutoff": CUTOFF}, NOW)
    found = fuzz(client.app, examples=4)  # type: ignore[arg-type]
    assert found.wrong == []
    assert found.server_errors == 0 and found.cases > 100
    assert {200, 404, 422} <= found.statuses.keys()
