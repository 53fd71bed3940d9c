"""A new model on trial: what golden requests, shadow and the watch find in it."""

import re
import time
from collections.abc import Callable
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
from serving import rollout
from tests.serving.faults import Forecast, Make, crossed, negative, raises, short, wrong_features

SERIES = [("1", "GROCERY"), ("1", "MEAT"), ("2", "GROCERY")]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


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


@pytest.mark.parametrize(("new", "champion"), [(8, 28), (28, 8), (8, 8)])
def test_requests_reach_no_further_than_both_models(
    desk: rollout.Desk, load: Callable[..., Any], new: int, champion: int
) -> None:
    models = load("1.1-x"), load("1")
    models[0].horizon, models[1].horizon = new, champion
    requests = rollout.golden_requests(SERIES, 28)
    tried = rollout.try_out(desk, requests, lambda: models[0], models[1], each_plausible=True)
    assert tried.problems() == [] and tried.requests == len(requests)


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
