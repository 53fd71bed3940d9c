"""Drills: a bad model never answers a request, or is taken back."""

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from checks.rollout import Tried
from data.collection import ERROR
from data.schema import SPOOL_CLOSED
from data.settings import Settings
from flows import deploy as flow
from serving import deploy, keys, rollback, rollout
from serving.deploy import DeployFailed
from serving.rollback import NothingToRollBackTo, roll_back
from tests.serving.faults import Make, raises, wrong_features

SERIES = [("1", "GROCERY"), ("1", "MEAT"), ("2", "GROCERY")]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Clients:
    """Keeps asking until left; notes the status and the version of every answer."""

    def __init__(self, settings: Settings) -> None:
        self.seen: set[tuple[int, str]] = set()
        self._url, self._stop = f"{settings.serve_url}/v1/forecasts", threading.Event()
        self._thread, self._answered = threading.Thread(target=self._ask), threading.Event()

    def _ask(self) -> None:
        body = {"series": [{"store_id": "1", "item_id": "MEAT"}], "horizon": 1}
        with httpx.Client(trust_env=False) as client:
            while not self._stop.is_set():
                answer = client.post(self._url, json=body)
                self.seen.add((answer.status_code, answer.json().get("model_version")))
                self._answered.set()

    def __enter__(self) -> "Clients":
        self._thread.start()
        assert self._answered.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.score("infrastructure", 6)
@pytest.mark.parametrize("bad", ["broken", "nan"])
def test_drill_a_bad_model_never_answers_a_request(live: Settings, bad: str) -> None:
    deploy.swap(live, "1")
    with Clients(live) as clients:
        with pytest.raises(DeployFailed, match="The previous version '1' serves on"):
            deploy.swap(live, bad)
        time.sleep(0.1)
    assert clients.seen == {(200, "1")}


@pytest.mark.parametrize("fault", [raises, wrong_features])
def test_drill_golden_requests_keep_what_would_load_from_serving(
    live: Settings,
    desk: rollout.Desk,
    load: Callable[..., Any],
    fault: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The deployment of a version by its number; without golden requests 1.1-next would serve."""

    def try_golden(_settings: Settings, version: str, _snapshot: str) -> Tried:
        requests = rollout.golden_requests(SERIES, 28)
        return rollout.try_out(desk, requests, lambda: load(version, fault), load("1"))

    monkeypatch.setattr(flow, "Settings", lambda: live)
    monkeypatch.setattr(flow, "writing", nullcontext)
    monkeypatch.setattr(flow, "take_snapshot", lambda _settings: Path("s1"))
    monkeypatch.setattr(flow, "export", lambda *_: "1.1-next")
    monkeypatch.setattr(flow, "try_golden", try_golden)
    monkeypatch.setattr(flow, "serve", flow.serve.fn)
    monkeypatch.setattr(flow.registry, "promote", lambda *_, **__: pytest.fail("promoted"))
    deploy.swap(live, "1")
    with Clients(live) as clients:
        with pytest.raises(DeployFailed, match=r"Version 1.1-next is not deployed, golden"):
            flow.deploy.fn(version=1)
        time.sleep(0.1)
    assert clients.seen == {(200, "1")}


@pytest.mark.score("infrastructure", 7)
def test_drill_a_model_that_shows_its_fault_only_live_is_rolled_back(
    live: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved: list[tuple[str, str]] = []
    monkeypatch.setattr(rollback.registry, "version_of", lambda *_: None)
    monkeypatch.setattr(
        rollback.registry, "roll_back", lambda _s, v, **said: moved.append((v, said["why"]))
    )
    deploy.swap(live, "1")
    before = rollout.observe(live)
    assert before and before.requests == rollout.WATCH_REQUESTS
    deploy.swap(live, "3")  # three times the units: nothing in its answers is malformed
    problems = rollout.watch(live, "3", before, LONG_AGO).problems()
    assert problems == ["forecasts are 3.00 times the champion's, outside 0.8 to 1.25"]
    start = time.monotonic()
    assert roll_back(live, at=LONG_AGO, why=problems[0]) == "1"
    assert time.monotonic() - start < 30
    assert moved == [("1", problems[0])]
    assert deploy.current_version(live) == "1"
    with pytest.raises(NothingToRollBackTo, match="No version served before '1'"):
        roll_back(live, at=LONG_AGO, why="again")
    monkeypatch.setattr(rollback, "command_settings", lambda: live)
    assert rollback.main("again") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_answers_5xx_to_live_requests_count_against_the_new_model(
    live: Settings, online: Any
) -> None:
    deploy.swap(live, "1")
    before, since = rollout.observe(live), datetime.now(UTC)
    deploy.swap(live, "1.1-next")
    assert rollout.watch(live, "1.1-next", before, since).problems() == []
    online.fails = OSError("the store is gone")
    broken = rollout.watch(live, "1.1-next", before, since).problems()
    assert "the API answers 503" in broken
    # The last of them may still be on its way to the spool.
    assert any(re.fullmatch(r"live requests met \d+ answers 5xx", said) for said in broken)


def test_pages_that_are_asked_before_the_first_publication_are_no_fault_of_the_first_model(
    live: Settings,
) -> None:
    since, noted = datetime.now(UTC), ""
    deploy.swap(live, "1")
    assert httpx.get(f"{live.serve_url}/v1/exceptions", trust_env=False).status_code == 503
    while "not-published" not in noted:  # it may still be on its way to the spool
        time.sleep(0.05)
        noted = "".join(f.read_text() for f in live.spool_dir.glob("*"))
    assert rollout.live_5xx(live.spool_dir, since) == 0


def test_the_first_model_has_nothing_to_be_compared_with(live: Settings) -> None:
    assert rollout.observe(live) is None
    deploy.swap(live, "1")
    seen = rollout.watch(live, "1", None, datetime.now(UTC))
    assert seen.requests == rollout.WATCH_REQUESTS and seen.champion_units is None


def test_with_api_keys_a_new_version_is_watched_with_the_operators(live: Settings) -> None:
    keys.create(live, "planner", "read")
    deploy.swap(live, "1")
    before = rollout.observe(live)
    deploy.swap(live, "1.1-next")
    assert before and before.problems() == []
    assert rollout.watch(live, "1.1-next", before, datetime.now(UTC)).problems() == []


def test_an_operator_key_that_was_revoked_is_told_and_made_again_with_the_next_key(
    live: Settings,
) -> None:
    keys.create(live, "planner", "read")
    deploy.swap(live, "1")
    keys.revoke(live, keys.OPERATOR)
    with pytest.raises(deploy.KeyRefused, match=r"serving\.keys create NAME"):
        deploy.swap(live, "1.1-next")
    keys.create(live, "clerk", "read")
    assert deploy.served_model(live)["version"] == "1"  # type: ignore[index]


def test_an_api_that_is_down_after_the_swap_is_a_fault(live: Settings) -> None:
    deploy.swap(live, "1")
    before, now = rollout.observe(live), datetime.now(UTC)
    gone = live.model_copy(update={"serve_port": 1})
    assert "the API does not answer" in rollout.watch(gone, "1", before, now).problems()


def test_spool_files_that_are_gone_when_they_are_read_are_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {"kind": ERROR, "at": str(LONG_AGO), "status": 503, "problem": "unexpected"}
    for name in ("gone", "there"):
        (tmp_path / f"{name}{SPOOL_CLOSED}").write_text(json.dumps(error))
    listed = sorted(tmp_path.iterdir())
    listed[0].unlink()
    monkeypatch.setattr(Path, "glob", lambda _folder, end: [f for f in listed if end[1:] in f.name])
    assert rollout.live_5xx(tmp_path, LONG_AGO) == 1
