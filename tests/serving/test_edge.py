"""Who may ask, how much at once, and what every answer carries."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from data.settings import Settings
from serving import edge, keys
from serving.edge import is_open

NOW = datetime(2017, 9, 11, 12, tzinfo=UTC)
GROCERY = {"store_id": "1", "item_id": "GROCERY"}


@pytest.fixture
def settings(state: Path) -> Settings:
    return Settings(state_dir=state, _env_file=None)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def counted(client: TestClient, series: str) -> float:
    """The value of a series in the metrics, 0 when it is not there."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{series} "))


def routes(client: TestClient) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(m.upper(), p) for p, methods in paths.items() for m in methods]


def test_without_a_key_file_this_machine_alone_may_ask(client: TestClient) -> None:
    assert client.get("/v1/model").status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8000", "10.0.0.1"):
        answer = client.get("/v1/model", headers={"Host": host})
        assert answer.status_code == 401 and "serving.keys" in answer.json()["detail"]
    for host in ("localhost:8000", "[::1]:8000", "127.0.0.1"):
        assert client.get("/v1/model", headers={"Host": host}).status_code == 200


def test_on_another_address_a_key_is_needed(client: TestClient, service: Any) -> None:
    service._source.settings = service._source.settings.model_copy(update={"host": "0.0.0.0"})
    assert client.get("/v1/model").status_code == 401
    assert client.get("/v1/health/live").status_code == 200


def test_with_keys_every_route_but_pages_and_probes_needs_one(
    client: TestClient, settings: Settings
) -> None:
    keys.create(settings, "planner", "read")
    found = routes(client)
    assert ("GET", "/metrics") in found
    for headers in ({}, bearer("shelfcast_wrong"), {"Authorization": "Basic x"}, bearer("")):
        for method, path in found:
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code == 401) != is_open(path), (method, path)
            if not is_open(path):
                assert answer.headers["www-authenticate"] == "Bearer"
    open_routes = {p for _, p in found if is_open(p)}
    assert open_routes == {f"/{v}/health/{s}" for v in ("v1", "v2") for s in ("live", "ready")}


def test_scopes_are_kept_apart_and_the_author_is_the_keys_name(
    client: TestClient, settings: Settings
) -> None:
    read = bearer(keys.create(settings, "reader", "read"))
    admin = bearer(keys.create(settings, "anna", "admin"))
    override = {**GROCERY, "since": "2017-09-11", "until": "2017-09-11", "units": 1}
    override |= {"reason": "festival", "expires_at": "2017-09-20T00:00:00Z"}
    assert client.get("/v1/model", headers=read).status_code == 200
    refused = client.post("/v1/overrides", json=override, headers=read)
    assert refused.status_code == 403 and "admin is needed" in refused.json()["detail"]
    taken = client.post("/v1/overrides", json=override, headers=admin)
    assert taken.status_code == 201 and taken.json()["author"] == "anna"


def test_a_key_that_expired_or_was_revoked_opens_nothing(
    client: TestClient, settings: Settings
) -> None:
    old = bearer(keys.create(settings, "old", "read", NOW - timedelta(seconds=1)))
    assert client.get("/v1/model", headers=old).status_code == 401
    good = bearer(keys.create(settings, "good", "read", NOW + timedelta(days=1)))
    assert client.get("/v1/model", headers=good).status_code == 200
    keys.revoke(settings, "good")
    assert client.get("/v1/model", headers=good).status_code == 401


def test_when_all_are_busy_more_is_refused_at_once_and_later_let_in(
    client: TestClient, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "MAX_IN_FLIGHT", 2)
    busy, free = threading.Barrier(3), threading.Event()
    before = counted(client, "shelfcast_requests_refused_total")

    def slow(*_args: object) -> dict[str, Any]:
        busy.wait(10)
        free.wait(10)
        return {"forecasts": []}

    monkeypatch.setattr(service, "forecast", slow)
    body = {"level": "total"}  # of those, two are answered at the same time
    with client:  # one event loop for all requests
        waiting = [
            threading.Thread(target=lambda: client.post("/v1/forecasts", json=body))
            for _ in range(2)
        ]
        for thread in waiting:
            thread.start()
        busy.wait(10)
        refused = client.post("/v1/forecasts", json=body)
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert client.get("/v1/health/live").status_code == 200
        free.set()
        for thread in waiting:
            thread.join(10)
    assert client.get("/v1/model").status_code == 200
    assert counted(client, "shelfcast_requests_refused_total") == before + 1


def test_a_body_that_does_not_arrive_is_a_408(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "BODY_SECONDS", 0.05)
    sent: list[dict[str, Any]] = []

    async def never() -> dict[str, Any]:
        await asyncio.sleep(10)
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/forecasts",
        "headers": [(b"host", b"localhost"), (b"content-length", b"10")],
        "query_string": b"",
    }
    start = time.monotonic()
    asyncio.run(client.app(scope, never, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 408 and time.monotonic() - start < 5


def test_every_answer_carries_the_security_headers_and_no_other_site_may_read_it(
    client: TestClient,
) -> None:
    origin = {"Origin": "https://evil.example"}
    for path in ("/v1/model", "/v1/forecasts/9/9", "/docs", "/nowhere"):
        headers = client.get(path, headers=origin).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
    preflight = client.options("/v1/overrides", headers=origin)
    assert preflight.status_code == 405


def test_metrics_count_by_route_and_never_by_path(client: TestClient) -> None:
    route = "/v1/forecasts/{store_id}/{item_id:path}"
    series = f'shelfcast_requests_total{{method="GET",route="{route}",status="200"}}'
    client.get("/v1/forecasts/1/GROCERY")  # shows what other tests of this process have counted
    before = counted(client, series)
    client.get("/v1/forecasts/1/GROCERY")
    client.get("/made/up")
    assert counted(client, series) == before + 1
    text = client.get("/metrics").text
    assert 'route="no route",status="404"' in text and "made/up" not in text
    assert 'shelfcast_model_info{version="1"} 1.0' in text and "shelfcast_degraded 0.0" in text


def test_a_log_line_tells_route_status_time_and_key(
    client: TestClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    secret = keys.create(settings, "planner", "read")
    with caplog.at_level("INFO", "ray.serve.shelfcast"):
        client.get("/v1/model", headers={**bearer(secret), "X-Request-ID": "r1"})
    record: Any = caplog.records[-1]
    assert (record.route, record.status, record.key) == ("/v1/model", 200, "planner")
    assert record.request_id == "r1" and record.ms >= 0
    assert secret not in caplog.text


def test_key_files_are_for_their_owner_and_hold_no_secret(settings: Settings) -> None:
    secret = keys.create(settings, "planner", "read")
    text = settings.api_keys_path.read_text()
    assert secret not in text and keys.operator_headers(settings)["Authorization"][7:] not in text
    for path in (settings.api_keys_path, settings.operator_key_path):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["create", "b", "--scope", "admin", "--days", "3"], 0, "shelfcast_"),
        (["create", "a"], 1, "revoke it first"),
        (["create", "operator"], 1, "made with the next other one; choose another name."),
        (["create", "b", "--days", "0"], 1, "--days is 0; a key is valid for 1 to 3650 days."),
        (["create", "b", "--days", "999999999"], 1, "a key is valid for 1 to 3650 days."),
        (["revoke", "nobody"], 1, "operator, a"),
        (["revoke", "a"], 0, ""),
        (["list"], 0, "a  read"),
    ],
)
def test_the_command_line(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.setenv("SHELFCAST_STATE_DIR", str(settings.state_dir))
    keys.create(settings, "a", "read")
    assert keys.main(arguments) == code
    told = capsys.readouterr()
    assert says in told.out + told.err


def test_a_broken_key_file_is_named_and_lets_nobody_in(
    client: TestClient, settings: Settings, configure: Callable[[str], None]
) -> None:
    settings.api_keys_path.write_text('{"keys": [{"name": "x"}]}')
    with pytest.raises(ValueError, match="api_keys"):
        keys.read(settings.api_keys_path)
    assert client.get("/v1/model").status_code == 500
