"""A model that repeats the last week, behind the API: it names itself and says what it can't do."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from checks.rollout import Tried
from data.settings import Settings
from models import conformal, forecaster
from models.baselines import SEASONAL_NAIVE
from models.dataset import MatrixSpec
from models.day_profile import Profile
from models.forecaster import Forecaster, Manifest
from models.paths import Dependence
from serving import rollout
from serving.routes.application import create_api
from serving.service import ForecastService

CUTOFF = date(2017, 9, 10)
MEAT = {"store_id": "1", "item_id": "MEAT"}
NOW = datetime(2017, 9, 11, 12, tzinfo=UTC)


@pytest.fixture
def folder(state: Path) -> Path:
    """A version 9 that repeats the last week."""
    ranks = [[list(conformal.GRID)] * conformal.LEADS]
    manifest = Manifest(
        version="9",
        trained_cutoff=CUTOFF,
        horizon=28,
        feature_service="demand_v1",
        snapshot_id="s1",
        spec=MatrixSpec(("GROCERY", "MEAT"), "US", ("12-25",)),
        profile=Profile((), 0.0),
        calendar_share=0.4,
        calibration=conformal.Calibration(28, [], [0.5], {}, ranks),
        dependence=Dependence(0.01, 0.01, 0.0, 0.0, 0.0, 0.0, 0.1, {"1": 30.0, "2": 30.0}),
        backtest={},
        method=SEASONAL_NAIVE,
    )
    return forecaster.save(state / "champions" / "9", None, manifest)


@pytest.fixture
def naive(online: Any, state: Path, folder: Path) -> TestClient:
    """A client of the API that serves it."""
    service = ForecastService(load=Forecaster.load, reader=lambda _settings: online.read)
    service.configure({"state_dir": str(state), "version": "9", "champion": str(folder)})
    return TestClient(create_api(service, clock=lambda: NOW), base_url="http://127.0.0.1")


def test_every_answer_names_the_method(naive: TestClient) -> None:
    asked = {"series": [MEAT], "horizon": 14}
    answer = naive.post("/v1/forecasts", json=asked).json()
    assert (answer["model_version"], answer["method"]) == ("9", SEASONAL_NAIVE)
    days = answer["forecasts"][0]["days"]
    assert {d["y_hat"] for d in days} == {20.0}  # of the features, where every lag is 20
    assert all(d["quantiles"]["0.1"] < 20 < d["quantiles"]["0.9"] for d in days)
    for path in ("/v1/model", "/v1/status"):
        assert naive.get(path).json()["method"] == SEASONAL_NAIVE
    assert naive.get("/v2/models/demand").json()["platform"] == SEASONAL_NAIVE
    table = naive.post("/v1/forecasts", json=asked, headers={"Accept": "text/csv"}).text
    assert SEASONAL_NAIVE in table
    order = {"series": [{**MEAT, "on_hand": 0}], "lead_time_days": 2, "service_level": 0.9}
    assert naive.post("/v1/orders", json=order).json()["method"] == SEASONAL_NAIVE


def test_a_what_if_changes_nothing_and_says_so(naive: TestClient) -> None:
    change = {"ds": "2017-09-12", "display": 9, "price": 0.1}
    asked = {"series": [MEAT], "horizon": 7, "what_if": [change]}
    answer = naive.post("/v1/forecasts", json=asked).json()
    node = answer["forecasts"][0]
    assert node["days"] == node["baseline"]
    (warning,) = answer["warnings"]
    assert warning.startswith("Model 9 (seasonal naive) repeats the last week")
    assert "changes nothing" in warning


def test_an_explanation_has_one_driver(naive: TestClient) -> None:
    answer = naive.post("/v1/explanations", json={**MEAT, "ds": "2017-09-12"}).json()
    assert answer["method"] == SEASONAL_NAIVE and answer["base"] == 0
    assert [(d["name"], d["units"]) for d in answer["drivers"]] == [
        ("what was sold a week ago", 20.0)
    ]


def test_levels_and_series_without_a_history_are_answered(naive: TestClient) -> None:
    level = naive.post("/v1/forecasts", json={"level": "total", "horizon": 3}).json()
    assert {d["y_hat"] for d in level["forecasts"][0]["days"]} == {60.0}


def test_golden_requests_ask_it_for_forecasts_but_compare_no_units(
    state: Path, online: Any, folder: Path, service: ForecastService
) -> None:
    desk = rollout.Desk(Settings(state_dir=state, _env_file=None), lambda _settings: online.read)
    champion = service._load(Path("1000"))  # a thousand times as many units
    tried = rollout.golden(desk, folder, champion, "s1")
    assert tried.problems() == [] and tried.champion_units is None


def test_whoever_follows_it_may_be_unlike_its_week_but_not_by_more_than_twice(
    state: Path, online: Any, folder: Path, service: ForecastService
) -> None:
    desk = rollout.Desk(Settings(state_dir=state, _env_file=None), lambda _settings: online.read)
    requests = rollout.golden_requests(desk.series("s1"), 28)
    repeats = Forecaster.load(folder)
    models = (repeats, service._load(Path("1")))
    asked, one = (
        [model.forecast(*desk.inputs(r))["y_hat"].sum() for r in requests] for model in models
    )

    def problems(times: float, champion: Any) -> list[str]:
        new = lambda: service._load(Path(f"{times:g}"))  # noqa: E731
        return rollout.try_out(desk, requests, new, champion, each_plausible=True).problems()

    fair = sum(asked) / sum(one)  # the arithmetic of version `fair` has as many units
    assert problems(1.9 * fair, repeats) == problems(0.6 * fair, repeats) == []
    assert problems(1.9, service._load(Path("1")))
    # A gross error of the unit is told from an odd week all the same.
    assert "outside 0.5 to 2.0" in problems(2.2 * fair, repeats)[0]
    assert "outside 0.5 to 2.0" in problems(0.4 * fair, repeats)[0]


def test_a_watch_does_not_compare_its_units(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(state_dir=state, _env_file=None)
    model = {"version": "9", "snapshot_id": "s1", "horizon": 28, "method": SEASONAL_NAIVE}
    after = Tried(100, (), 50.0, None, 10.0, None)
    before = replace(after, units=500.0)
    monkeypatch.setattr(rollout, "probe", lambda *_: after)
    for method, refused in ((SEASONAL_NAIVE, False), ("lightgbm", True)):
        monkeypatch.setattr(rollout, "served_model", lambda _s, m=method: {**model, "method": m})
        seen = rollout.watch(settings, "9", before, NOW)
        assert bool(seen.problems()) is refused


def test_a_watch_holds_whoever_follows_it_to_half_and_twice_its_units(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(state_dir=state, _env_file=None)
    asked = {"snapshot_id": "s1", "horizon": 28}

    def problems(units: float) -> list[str]:
        answers = iter(Tried(100, (), sold, None, 10.0, None) for sold in (500.0, units))
        monkeypatch.setattr(rollout, "probe", lambda *_: next(answers))
        serves = iter([{"version": "9", "method": SEASONAL_NAIVE}, {"version": "10"}])
        monkeypatch.setattr(rollout, "served_model", lambda _s: {**asked, **next(serves)})
        before = rollout.observe(settings)
        return rollout.watch(settings, "10", before, NOW).problems()

    assert problems(260.0) == problems(990.0) == []
    assert problems(50.0) == ["forecasts are 0.10 times the champion's, outside 0.5 to 2.0"]
