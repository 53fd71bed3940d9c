"""What is asked of Prefect again, and what isn't."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tenacity import stop_after_delay

from data.settings import Settings
from stack.prefect_api import Prefect, prepare
from stack.programs import POOL, WRITER

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], Prefect]:
    """Makes a client whose server answers so; it waits no second before it asks again."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)

    def make(answer: Answer) -> Prefect:
        made = Prefect(Settings(_env_file=None))
        made.client = httpx.Client(base_url="http://p/api/", transport=httpx.MockTransport(answer))
        return made

    return make


def test_a_server_that_is_silent_or_busy_is_asked_again_for_the_same_run(
    prefect: Callable[[Answer], Prefect],
) -> None:
    keys = list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"id": "d"})
        keys.append(json.loads(request.content)["idempotency_key"])
        if len(keys) == 1:
            raise httpx.ReadTimeout("timed out", request=request)
        return httpx.Response(503 if len(keys) == 2 else 201, json={"id": "run"})

    assert prefect(answer).start("ingest/ingest", {}) == "run"
    assert len(keys) == 3 and len(set(keys)) == 1


@pytest.mark.parametrize("status", [404, 500])
def test_another_error_is_not_asked_again(
    prefect: Callable[[Answer], Prefect], status: int
) -> None:
    asked = list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status)

    with pytest.raises(httpx.HTTPStatusError):
        prefect(answer).state("no such run")
    assert len(asked) == 1


def test_a_server_that_stays_silent_is_an_error_in_the_end(
    prefect: Callable[[Answer], Prefect], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.prefect_api.Prefect.ask.retry.stop", stop_after_delay(0))

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out", request=request)

    with pytest.raises(httpx.ReadTimeout):
        prefect(answer).state("run")


def test_a_busy_server_is_prepared_all_the_same_and_twice_is_once(
    monkeypatch: pytest.MonkeyPatch, prefect: Callable[[Answer], Prefect]
) -> None:
    made: dict[str, list[dict[str, Any]]] = {"work_pools": [], "concurrency_limits": []}
    asked, crashed, freed = list[str](), list[object](), list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(path := request.url.path)
        if len(asked) % 2:
            return httpx.Response(503)
        body = json.loads(request.content)
        if request.method == "PATCH":
            assert body == {"active_slots": 0}
            freed.append(path.rpartition("/")[2])
            return httpx.Response(204)
        if path.endswith("bulk_set_state"):
            crashed.append(body["flow_runs"]["state"]["type"]["any_"])
            return httpx.Response(200, json={})
        kind = next(kind for kind in made if kind in path)
        if path.endswith("filter"):
            return httpx.Response(200, json=made[kind])
        made[kind].append({"id": f"{kind}-{len(made[kind])}", **body})
        return httpx.Response(201, json=made[kind][-1])

    busy = prefect(answer)
    monkeypatch.setattr("stack.prefect_api.Prefect", lambda _settings: busy)
    for _ in range(2):
        prepare(Settings(_env_file=None))
    assert [pool["name"] for pool in made["work_pools"]] == [POOL]
    assert [(c["name"], c["limit"]) for c in made["concurrency_limits"]] == [(WRITER, 1)]
    assert crashed == [["RUNNING", "PENDING", "CANCELLING"]] * 2
    assert freed == ["concurrency_limits-0"]
