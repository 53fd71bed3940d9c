"""Small answers, large ones and probes do not wait for each other."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from serving.routes.answers import LARGE, PROBES, READS, SMALL
from serving.service import ForecastService

SERIES = {"store_id": "1", "item_id": "GROCERY"}
SMALL_BODY = {"series": [SERIES], "horizon": 1}
LARGE_BODIES = [
    {"level": "total", "horizon": 1},
    {**SMALL_BODY, "what_if": [{"ds": "2017-09-12", "display": 3}]},
    {"series": [{"store_id": str(k), "item_id": "GROCERY"} for k in range(9)], "horizon": 1},
]


@contextmanager
def web(client: TestClient) -> Iterator[httpx.AsyncClient]:
    """The API without a thread between its loop and the test's."""
    yield httpx.AsyncClient(
        transport=httpx.ASGITransport(app=client.app), base_url="http://localhost", timeout=20
    )


@pytest.fixture
def ran_on(service: ForecastService, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of the thread of every forecast."""
    forecast, seen = service.forecast, list[str]()

    def noting(*given: Any) -> Any:
        seen.append(threading.current_thread().name)
        return forecast(*given)

    monkeypatch.setattr(service, "forecast", noting)
    return seen


@contextmanager
def full(lane: Any) -> Iterator[None]:
    """All threads of a lane busy."""
    free = threading.Event()
    busy = [lane.submit(free.wait, 20) for _ in range(lane._max_workers)]
    try:
        yield
    finally:
        free.set()
        for work in busy:
            work.result(20)


def test_requests_share_threads_that_stay_also_under_a_loop_that_runs_for_ever(
    client: TestClient, ran_on: list[str]
) -> None:
    """Ray Serve starts its loop that way, under which AnyIO starts a thread for each request."""
    loop = asyncio.new_event_loop()
    runner = threading.Thread(target=loop.run_forever)
    runner.start()

    async def ask() -> int:
        with web(client) as api:
            return (await api.post("/v1/forecasts", json=SMALL_BODY)).status_code

    for _ in range(4):
        assert asyncio.run_coroutine_threadsafe(ask(), loop).result(20) == 200
    loop.call_soon_threadsafe(loop.stop)
    runner.join()
    loop.close()
    assert len(ran_on) == 4
    assert set(ran_on) == {"small_0"}


@pytest.mark.parametrize("body", LARGE_BODIES)
def test_large_requests_run_on_their_own_lane(
    client: TestClient, ran_on: list[str], body: dict[str, Any]
) -> None:
    client.post("/v1/forecasts", json=body)
    assert ran_on[0].startswith("large")


@pytest.mark.parametrize(
    "ask",
    [
        lambda api: api.post("/v1/forecasts", json=SMALL_BODY),
        lambda api: api.get("/v1/forecasts/1/GROCERY"),
        lambda api: api.get("/v1/series"),
    ],
)
def test_a_small_request_is_answered_while_large_ones_take_their_time(
    client: TestClient, ask: Callable[[httpx.AsyncClient], Any]
) -> None:
    async def asked() -> int:
        with web(client) as api:
            return int((await asyncio.wait_for(ask(api), 10)).status_code)

    with full(LARGE):
        assert asyncio.run(asked()) == 200


@pytest.mark.parametrize(
    "path", ["/v1/health/live", "/v1/health/ready", "/v2/health/live", "/v2/health/ready"]
)
def test_probes_are_answered_while_all_other_lanes_are_full(client: TestClient, path: str) -> None:
    async def asked() -> int:
        with web(client) as api:
            return (await asyncio.wait_for(api.get(path), 10)).status_code

    with full(SMALL), full(LARGE), full(READS):
        assert asyncio.run(asked()) == 200


def test_a_request_that_is_given_up_while_it_waits_leaves_its_lane(
    client: TestClient, ran_on: list[str]
) -> None:
    async def given_up_and_asked_again() -> int:
        with web(client) as api:
            with full(SMALL):
                asked = asyncio.create_task(api.post("/v1/forecasts", json=SMALL_BODY))
                while not SMALL._work_queue.qsize():
                    await asyncio.sleep(0.01)
                asked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asked
            assert ran_on == []
            return (await api.post("/v1/forecasts", json=SMALL_BODY)).status_code

    assert asyncio.run(given_up_and_asked_again()) == 200
    assert len(ran_on) == 1


def test_a_hung_probe_keeps_no_request_waiting(client: TestClient) -> None:
    async def asked() -> int:
        with web(client) as api:
            answer = api.post("/v1/forecasts", json=SMALL_BODY)
            return (await asyncio.wait_for(answer, 10)).status_code

    with full(PROBES):
        assert asyncio.run(asked()) == 200
