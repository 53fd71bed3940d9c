"""Requests that are made up get documented answers. `make bench-fuzz` makes up thousands."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    assert len(found.sequences) > 1, "operations follow others on what those answered"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
near_series = st.fixed_dictionaries(
    {"store_id": st.sampled_from(["1", "2"]) | json_values},
    optional={"item_id": st.sampled_from(["GROCERY", "MEAT"]) | json_values, "x": json_values},
)
near_requests = st.fixed_dictionaries(
    {"series": st.lists(near_series, max_size=4) | json_values},
    optional={
        "horizon": st.integers(-2, 30) | json_values,
        "quantiles": st.lists(st.sampled_from([0.1, 0.5, 0.9]) | st.floats()) | json_values,
        "extra": json_values,
    },
)


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(body=near_requests | json_values)
def test_no_json_body_makes_the_server_fail(client: TestClient, body: Any) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/forecasts", content=json.dumps(body), headers=headers)
    assert answer.status_code in (200, 404, 422)
    assert "NaN" not in answer.text or answer.status_code == 422


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(body=st.binary(max_size=200))
def test_no_bytes_make_the_server_fail(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/forecasts", content=body, headers=headers)
    assert answer.status_code in (400, 422)
