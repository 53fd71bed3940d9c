"""Several replicas over one state: any of them tells of all."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from data import publication
from serving.routes.application import create_api
from serving.service import ForecastService

from .conftest import NOW, OVERRIDE, ArithmeticModel


@pytest.fixture
def other(state: Path, online: Any) -> Any:
    """A second replica, which serves version 1."""
    made = ForecastService(load=ArithmeticModel, reader=lambda _: online.read)
    configure_other(made, state, "1")
    return made


def configure_other(service: ForecastService, state: Path, version: str) -> None:
    folder = str(state / "champions" / version)
    service.configure({"state_dir": str(state), "version": version, "champion": folder})


def asked(service: ForecastService) -> TestClient:
    return TestClient(create_api(service, clock=lambda: NOW), base_url="http://127.0.0.1")


def test_an_override_that_one_replica_took_the_other_lists_at_once(
    client: TestClient, other: ForecastService, state: Path
) -> None:
    publication.write(state / "published", {}, {"snapshot_id": "s1"}, NOW)
    taken = client.post("/v1/overrides", json=OVERRIDE).json()
    lists = [c.get("/v1/overrides").json()["overrides"] for c in (client, asked(other))]
    assert [o["override_id"] for o in lists[0]] == [taken["override_id"]]
    assert lists[0] == lists[1]


def test_each_replica_tells_what_all_serve(
    client: TestClient, configure: Callable[[str], None], other: ForecastService, state: Path
) -> None:
    def told() -> Any:
        one, two = (c.get("/v1/model").json() for c in (client, asked(other)))
        assert one["versions"] == two["versions"] and one["load_error"] == two["load_error"]
        return one

    assert told()["versions"] == ["1", "1"]
    configure("2")
    assert told()["versions"] == ["1", "2"]
    configure_other(other, state, "broken")
    assert told()["versions"] == ["1", "2"] and told()["load_error"]["version"] == "broken"
    configure_other(other, state, "2")
    assert told()["versions"] == ["2", "2"] and told()["load_error"] is None
    assert other._replicas._file
    other._replicas._file.close()  # as when its process ends
    assert client.get("/v1/model").json()["versions"] == ["2"]


REPLICA = """
import sys
from pathlib import Path
from serving.metrics import Metrics, State
folder, lost, after = sys.argv[1:]
metrics = Metrics(lambda: State("1", True, int(lost)), Path(folder))
for _ in range(3):
    metrics.answered("GET", "/v1/model", 200, 0.001)
metrics.in_flight.set(5)
print(metrics.text().decode() if after else "")
"""


def test_metrics_are_those_of_all_replicas_and_gauges_of_those_that_live(tmp_path: Path) -> None:
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-c", REPLICA, str(tmp_path)]
    subprocess.run([*command, "2", ""], env=env, check=True)
    done = subprocess.run([*command, "1", "told"], env=env, check=True, capture_output=True)
    lines = done.stdout.decode().splitlines()
    about = '{method="GET",route="/v1/model"'
    assert f'shelfcast_requests_total{about},status="200"}} 6.0' in lines
    assert f'shelfcast_request_seconds_bucket{{le="0.002",{about[1:]}}} 6.0' in lines
    assert "shelfcast_spool_lost_records 3.0" in lines
    assert "shelfcast_requests_in_flight 5.0" in lines  # the first one is gone
    assert 'shelfcast_model_info{version="1"} 1.0' in lines
