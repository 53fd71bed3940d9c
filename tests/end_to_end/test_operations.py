"""The running stack at its edges: headers, logs, keys, tokens, swaps and events."""

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from data.settings import ROOT, Settings
from demo import follow
from models.forecaster import Forecaster, save
from serving import deploy, edge
from stack.prefect_api import Prefect
from stack.processes import read
from stack.programs import POOL, environment

pytestmark = pytest.mark.end_to_end

DRIFTED = """
from datetime import date
from types import SimpleNamespace
from flows.monitor import announce

for names in (["mailer"], ["price", "mailer", "display"]):
    drift = [SimpleNamespace(feature=name, drifted=name != "mailer") for name in names]
    announce(SimpleNamespace(drift=drift, version="3", until=date(2017, 10, 1)))
"""


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    """What a condition returns once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"it was not true within {seconds:g} s")


def run(settings: Settings, *words: str) -> str:
    """What Python prints when it is started with these words as a tool of the stack."""
    command = [sys.executable, *words]
    env = environment(settings)
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def test_what_a_forecast_rests_on_sums_to_it_and_so_does_its_change_since_the_run_before(
    api: httpx.Client, series: dict[str, str]
) -> None:
    body = {"series": [series], "quantiles": []}
    served = api.post("/v1/forecasts", json=body).raise_for_status().json()["forecasts"][0]
    told = api.post("/v1/explanations", json=series).raise_for_status().json()
    total = sum(day["y_hat"] for day in served["days"])
    assert told["y_hat"] == pytest.approx(total)
    assert told["base"] + sum(d["units"] for d in told["drivers"]) == pytest.approx(total)

    changed = told["changed"]
    assert changed["previous_cutoff"] < served["cutoff"] and changed["previous"] > 0
    both = [d["y_hat"] for d in served["days"] if changed["since"] <= d["ds"] <= changed["until"]]
    assert len(both) >= 20 and changed["current"] == pytest.approx(sum(both))
    assert changed["units"] == pytest.approx(changed["current"] - changed["previous"])
    parts = {part["cause"]: part["units"] for part in changed["parts"]}
    assert sum(parts.values()) == pytest.approx(changed["units"])
    assert parts["new actuals"] != 0 and parts["new model"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/v1/model", "/v1/model", 200),
        ("/v1/forecasts/no+store/none", "/v1/forecasts/{store_id}/{item_id:path}", 404),
    ],
)
def test_a_request_is_found_in_the_log_by_the_id_that_its_answer_carries_once(
    running: Settings, api: httpx.Client, path: str, route: str, status: int
) -> None:
    request = f"asked-{uuid4().hex}"
    answer = api.get(path, headers={"X-Request-ID": request})
    assert answer.status_code == status
    assert answer.headers.get_list("x-request-id") == [request]
    for name, value in edge.HEADERS.items():
        assert answer.headers.get_list(name) == [value], name
    (made,) = api.get(path).headers.get_list("x-request-id")
    assert len(made) >= 32 and made != request

    def lines() -> list[str]:
        logs = (running.logs_dir / "ray" / "serve").glob("replica_*.log")
        return [line for log in logs for line in log.read_text().splitlines() if request in line]

    (line,) = wait_for(lines, 5)
    said = json.loads(line)
    assert (said["route"], said["status"], said["request_id"]) == (route, status, request)
    assert said["method"] == "GET" and said["ms"] >= 0 and said["levelname"] == "INFO"


def test_the_page_through_the_proxy_lets_no_foreign_script_run(api: httpx.Client) -> None:
    headers = api.get("/").raise_for_status().headers
    (policy,) = headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"


def test_a_page_that_rebinds_its_name_to_this_machine_is_refused(
    running: Settings, api: httpx.Client
) -> None:
    foreign = {"Host": "evil.example"}
    assert api.get("/v1/model", headers=foreign).status_code == 401
    runs = f"{running.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(runs).is_success
    assert httpx.get(runs, headers=foreign).status_code == 403


@pytest.mark.parametrize("token", [None, "Bearer", "Bearer no-such-token"])
def test_ray_takes_no_order_from_who_has_not_its_token(
    running: Settings, demo: str, token: str | None
) -> None:
    before = deploy.served_model(running)
    assert before and before["versions"] == [before["version"]] * running.replicas
    job = {"entrypoint": f"touch {running.state_dir}/intruder"}
    with httpx.Client(
        base_url=running.ray_dashboard_url, headers={"Authorization": token} if token else {}
    ) as ray:
        for method, path, body in (
            ("GET", "/api/serve/applications/", None),
            ("PUT", "/api/serve/applications/", {"applications": []}),
            ("DELETE", "/api/serve/applications/", None),
            ("POST", "/api/jobs/", job),
            ("GET", "/api/jobs/", None),
        ):
            assert ray.request(method, path, json=body).status_code in (401, 403), (method, path)
    assert deploy.served_model(running) == before
    assert not (running.state_dir / "intruder").exists()


def test_no_key_or_token_is_written_where_it_has_no_business(
    running: Settings, prefect: Prefect, api: httpx.Client, series: dict[str, str]
) -> None:
    """The keys are made, used by a client, by a flow and by Ray, and searched for everywhere."""
    body = {"series": [series], "horizon": 1}
    try:
        key = run(running, "-m", "serving.keys", "create", "seeded", "--scope", "admin").strip()
        refused = api.post("/v1/forecasts", json=body)
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        bearer = {"Authorization": f"Bearer {key}"}
        for asked, status in ((body, 200), ({**body, "horizon": 0}, 422), ({"series": 1}, 422)):
            answer = api.post("/v1/forecasts", json=asked, headers=bearer)
            assert answer.status_code == status and key not in answer.text
        follow(prefect, "deploy/deploy", {})  # asks Ray by its token, the API by the operator's key
        metrics = api.get("/metrics", headers=bearer).raise_for_status().text
        metrics += httpx.get(f"http://{running.host}:{running.ray_metrics_port}/metrics").text
        secrets = {
            "key": key,
            "operator": running.operator_key_path.read_text().strip(),
            "token": running.ray_token_path.read_text().strip(),
        }
        assert min(map(len, secrets.values())) > 40
        assert [name for name, secret in secrets.items() if secret in metrics] == []
        assert found(running, secrets) == {
            ("operator", running.operator_key_path.name),
            ("token", running.ray_token_path.name),
        }
    finally:
        running.api_keys_path.unlink(missing_ok=True)
        running.operator_key_path.unlink(missing_ok=True)


def found(settings: Settings, secrets: dict[str, str]) -> set[tuple[str, str]]:
    """Which secret stands in which file: state, Prefect, MLflow, all logs, and Ray's own folder."""
    record = read(settings)
    assert record is not None
    hits, seen = set[tuple[str, str]](), set[str]()
    for folder in (settings.state_dir, Path(record.ray_dir)):
        for path in folder.rglob("*"):
            if path.is_symlink() or not path.is_file():
                continue
            with suppress(FileNotFoundError):  # somebody is at work there
                content = path.read_bytes()
                seen.add(path.name)
                hits |= {(n, path.name) for n, s in secrets.items() if s.encode() in content}
    assert seen >= {"mlflow.db", "prefect.db", "prefect-worker.log", "api_keys.json"}
    assert any(name.startswith("replica_") for name in seen)
    return hits


class Clients:
    """Ask for one forecast again and again until left; `answers` are (status, version, units)."""

    def __init__(self, settings: Settings, series: dict[str, str], count: int = 4) -> None:
        self.answers: list[tuple[int, str | None, tuple[float, ...]]] = []
        self._body = {"series": [series], "horizon": 7, "quantiles": []}
        self._url, self._stop = settings.serve_url, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=15, trust_env=False) as client:
            while not self._stop.is_set():
                self.answers.append(self.once(client))

    def once(self, client: httpx.Client) -> tuple[int, str | None, tuple[float, ...]]:
        try:
            answer = client.post("/v1/forecasts", json=self._body)
            told = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            return 0, repr(error), ()
        days = [d for f in told.get("forecasts", []) for d in f["days"]]
        return answer.status_code, told.get("model_version"), tuple(d["y_hat"] for d in days)

    def more(self, count: int = 25) -> None:
        """Returns when so many more were answered."""
        enough = len(self.answers) + count
        wait_for(lambda: len(self.answers) >= enough, 60)

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def versions(running: Settings, demo: str) -> Iterator[tuple[str, str]]:
    """The version that serves and one that forecasts otherwise, with half of its trees."""
    version = str(deploy.current_version(running))
    served = Forecaster.load(running.champions_dir / version)
    assert served.booster is not None
    half = served.booster.model_to_string(num_iteration=served.booster.current_iteration() // 2)
    manifest = dataclasses.replace(served.manifest, version=f"{version}-half")
    folder = save(running.champions_dir / manifest.version, half, manifest)
    yield version, manifest.version
    if deploy.current_version(running) != version:
        deploy.swap(running, version)
    deploy.forget_previous(running)
    shutil.rmtree(folder)


def test_a_swap_to_another_version_and_back_fails_no_request_and_mixes_no_answer(
    running: Settings, api: httpx.Client, series: dict[str, str], versions: tuple[str, str]
) -> None:
    old, new = versions
    with Clients(running, series) as clients:
        clients.more()
        for version in (new, old):
            deploy.swap(running, version)
            after = clients.once(api)
            assert after[:2] == (200, version)
            clients.more()
    assert {status for status, _, _ in clients.answers} == {200}
    assert len(clients.answers) >= 75
    units = {version: {u for _, v, u in clients.answers if v == version} for version in versions}
    assert sum(map(len, units.values())) == 2  # each version always gives its own forecast
    assert units[old].isdisjoint(units[new])
    assert {v for _, v, _ in clients.answers} == {old, new}


def test_drift_asks_for_a_retraining_and_says_why(running: Settings, prefect: Prefect) -> None:
    """Of two announcements, the one of a feature that did not drift starts nothing.

    The run is cancelled before a worker takes it: those of the pages run to their end.
    """
    body = {"deployments": {"name": {"any_": ["retrain"]}}, "sort": "EXPECTED_START_TIME_DESC"}

    def started() -> list[dict[str, Any]]:
        runs = prefect.ask("POST", "flow_runs/filter", body)
        return [r for r in runs if r["parameters"].get("reason", "").startswith("drift of")]

    pool = f"work_pools/{POOL}"
    prefect.ask("PATCH", pool, {"is_paused": True})
    try:
        run(running, "-c", DRIFTED)
        (found,) = wait_for(started, 120)
        why = "drift of price, display in the week to 2017-10-01"
        assert (found["parameters"], found["state_type"]) == ({"reason": why}, "SCHEDULED")
        path, cancelled = f"flow_runs/{found['id']}/set_state", {"state": {"type": "CANCELLED"}}
        assert prefect.ask("POST", path, cancelled)["status"] == "ACCEPT"
    finally:
        prefect.ask("PATCH", pool, {"is_paused": False})
    assert len(started()) == 1
