"""The demo's own client of Prefect: what it asks again, and what it doesn't."""

import json
from collections.abc import Callable

import httpx
import pytest
from tenacity import stop_after_delay

from data.settings import Settings
from demo import Prefect, RunFailed, follow

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
    monkeypatch.setattr("demo.Prefect.ask.retry.stop", stop_after_delay(0))

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out", request=request)

    with pytest.raises(httpx.ReadTimeout):
        prefect(answer).state("run")


def test_a_run_that_takes_too_long_is_told_to_go_on_and_where(
    prefect: Callable[[Answer], Prefect], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.RUN_LIMIT_SECONDS", 0)
    state = {"state_type": "RUNNING", "state_name": "Running", "state": {"message": None}}

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        return httpx.Response(200, json=[] if path.endswith("filter") else {"id": "r1", **state})

    with pytest.raises(RunFailed, match=r"has not ended .*'Running': follow .*/runs/flow-run/r1,"):
        follow(prefect(answer), "pipeline/pipeline", {})
