"""A new model on trial: what it may not do, and that a bad one never answers a request."""

import re
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from checks.rollout import FAST_MS, Tried
from data.settings import Settings
from flows import deploy as flow
from serving import deploy, keys, rollback, rollout
from serving.deploy import DeployFailed
from serving.rollback import NothingToRollBackTo, roll_back
from serving.service import ForecastService

SERIES = [("1", "GROCERY"), ("1", "MEAT"), ("2", "GROCERY")]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


Forecast = Callable[[pl.DataFrame, pl.DataFrame, int], pl.DataFrame]


def raises(forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int) -> pl.DataFrame:
    """Forecasts the made-up series of the try-out, and fails on real ones."""
    if features["store_id"][0] != "-":
        raise RuntimeError("no such leaf")
    return forecast(features, plan, h)


def wrong_features(
    forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int
) -> pl.DataFrame:
    """Reads a feature that this server does not have."""
    return forecast(features.filter(pl.col("mean_365") > 0), plan, h)


def negative(
    forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int
) -> pl.DataFrame:
    return forecast(features, plan, h).with_columns(y_hat=pl.lit(-1.0))


def crossed(forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int) -> pl.DataFrame:
    return forecast(features, plan, h).with_columns(pl.col("q0.9").alias("q0.1"))


def short(forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int) -> pl.DataFrame:
    return forecast(features, plan, h).head(1)


Make = Callable[..., pl.DataFrame] | None


@pytest.fixture
def load(service: ForecastService) -> Callable[..., Any]:
    """Makes a model of arithmetic, with a fault if one is given."""

    def make(version: str, fault: Make = None) -> Any:
        model: Any = service._load(Path(version))
        if fault:
            model.forecast = partial(fault, model.forecast)
        return model

    return make


@pytest.fixture
def desk(state: Path, online: Any) -> rollout.Desk:
    settings = Settings(state_dir=state, _env_file=None)
    return rollout.Desk(settings, reader=lambda _settings: online.read)


@pytest.fixture
def golden(desk: rollout.Desk, load: Callable[..., Any]) -> Callable[..., list[str]]:
    """What golden requests find in a version, beside version 1."""

    def problems(version: str, fault: Make = None) -> list[str]:
        requests = rollout.golden_requests(SERIES, 28)
        new = lambda: load(version, fault)  # noqa: E731
        return rollout.try_out(desk, requests, new, load("1"), each_plausible=True).problems()

    return problems


@pytest.mark.score("infrastructure", 6)
@pytest.mark.parametrize(
    ("fault", "version", "said"),
    [
        (None, "broken", "it does not load: ValueError: broken does not have the SHA"),
        (None, "nan", "it gives numbers that are not finite"),
        (raises, "2", "it raises: RuntimeError: no such leaf"),
        (wrong_features, "2", "it raises: ColumnNotFoundError"),
        (negative, "2", "it gives negative units"),
        (crossed, "2", "its quantiles cross"),
        (short, "2", "it gives too few or too many days"),
        (None, "3", "units"),
    ],
)
def test_golden_requests_find_a_bad_model(
    golden: Callable[..., list[str]], fault: Make, version: str, said: str
) -> None:
    assert said in golden(version, fault)[0]


def test_golden_requests_find_nothing_in_a_plausible_model(
    golden: Callable[..., list[str]],
) -> None:
    assert golden("1.2-candidate") == []
    assert "1.30 times" in golden("1.3-candidate")[0]


def test_golden_requests_are_always_the_same_and_reach_all_horizons() -> None:
    series = [(str(k), "A") for k in range(700)]
    requests = rollout.golden_requests(series, 28)
    assert requests == rollout.golden_requests(series, 28)
    assert [r.horizon for r in requests[:3]] == [1, 7, 28]
    assert len(requests) == 23 and requests[0].keys[0] == series[0]


def test_shadow_asks_what_was_asked_the_newest_first(
    desk: rollout.Desk, load: Callable[..., Any]
) -> None:
    asked = pl.DataFrame(
        {
            "store_id": ["1", "1", "2"],
            "item_id": ["MEAT", "MEAT", "GROCERY"],
            "step": [1, 2, 1],
            "request_id": ["a", "a", "b"],
            "issued_at": [LONG_AGO, LONG_AGO, LONG_AGO + timedelta(days=1)],
        }
    )
    requests = rollout.recorded_requests(asked, 28)
    assert requests == [
        rollout.Request((("2", "GROCERY"),), 1),
        rollout.Request((("1", "MEAT"),), 2),
    ]
    tried = rollout.try_out(desk, requests, lambda: load("1.1-x"), load("1"))
    assert tried.requests == 2 and tried.problems() == []
    assert tried.champion_units and tried.units == pytest.approx(1.1 * tried.champion_units)


def test_shadow_leaves_out_series_without_features_of_their_own(
    desk: rollout.Desk, load: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pl.DataFrame(
        {
            "store_id": ["1", "new"],
            "item_id": ["MEAT", "MEAT"],
            "step": [1, 1],
            "request_id": ["a", "b"],
            "issued_at": [LONG_AGO, LONG_AGO],
        }
    )
    monkeypatch.setattr(rollout.Forecaster, "load", lambda _folder: load("1.1-x"))
    tried = rollout.shadow(desk, tmp_path, load("1"), "s1", asked)
    assert tried.faults == () and tried.requests == rollout.SHADOW_REQUESTS


def test_shadow_makes_up_small_requests_in_place_of_what_would_take_an_hour(
    desk: rollout.Desk, load: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [rollout.Request(tuple(SERIES), 1)] * 3 + [rollout.Request((SERIES[0],), 1)] * 2
    monkeypatch.setattr(rollout, "recorded_requests", lambda *_: requests)
    monkeypatch.setattr(rollout, "SHADOW_SERIES", 9)
    monkeypatch.setattr(rollout, "SHADOW_REQUESTS", 8)
    monkeypatch.setattr(rollout, "try_out", lambda _desk, asked, *_: [len(r.keys) for r in asked])
    sizes = rollout.shadow(desk, tmp_path, load("1"), "s1", pl.DataFrame())
    assert sizes == [1, 1, 3, 3, 1, 1, 1, 1]


def test_made_up_requests_take_all_series_in_turn() -> None:
    made = rollout.made_up_requests(SERIES, 7, 4)
    assert [r.keys[0] for r in made] == [*SERIES, SERIES[0]]


@pytest.mark.score("monitoring", 6)
def test_a_trial_is_judged_by_ratio_latency_and_memory() -> None:
    fine = Tried(100, (), 100.0, 100.0, 20.0, 10.0)
    assert fine.problems() == []
    assert Tried(100, (), 1.0, 1.0, FAST_MS * 1.1, FAST_MS).problems() == []
    assert Tried(100, (), 1.0, 1.0, FAST_MS, 1.0).problems() == []
    assert "p95 is 600 ms" in Tried(9, (), 1.0, 1.0, 600.0, 400.0).problems()[0]
    assert "500 MB more" in Tried(9, (), 1.0, 1.0, 9.0, 9.0, heavier_mb=500).problems()[0]
    assert Tried(0, (), 0.0, None, 0.0, None).problems() == ["no request was answered"]


def test_a_model_that_takes_its_time_is_found_by_its_p95(
    desk: rollout.Desk, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(forecast: Forecast, *given: Any) -> pl.DataFrame:
        time.sleep(0.3)
        return forecast(*given)

    requests = rollout.made_up_requests(SERIES, 7, 4)
    (said,) = rollout.try_out(desk, requests, lambda: load("2", slow), None).problems()
    assert re.fullmatch(r"p95 is \d{3,} ms, limit 250", said)
    monkeypatch.setattr(rollout, "TRIAL_SECONDS", 0.1)
    found = rollout.try_out(desk, requests, lambda: load("2", slow), None).problems()
    said = "only 1 of 4 requests were answered in time; run the train deployment again when"
    assert found[0].startswith(said)


def test_a_model_that_holds_much_memory_is_found(
    desk: rollout.Desk, load: Callable[..., Any]
) -> None:
    def heavy() -> Any:
        model = load("1")
        model.ballast = np.ones(300_000_000 // 8)
        return model

    requests = rollout.made_up_requests(SERIES, 7, 3)
    (said,) = rollout.try_out(desk, requests, heavy, None).problems()
    assert re.fullmatch(r"it takes \d{3} MB more, limit 200", said)


@pytest.mark.parametrize("body", [None, {}, {"forecasts": [{"days": [{"y_hat": None}]}]}])
def test_an_api_that_answers_no_numbers_is_at_fault(
    monkeypatch: pytest.MonkeyPatch, body: object
) -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json=body))
    monkeypatch.setattr(rollout.httpx, "Client", partial(httpx.Client, transport=transport))
    requests = rollout.made_up_requests(SERIES, 1, 3)
    found = rollout.probe(Settings(_env_file=None), requests, 5).problems()
    assert len(found) == 1 and found[0].startswith("the API does not answer: ")


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
    monkeypatch.setattr(rollback, "Settings", lambda: live)
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
