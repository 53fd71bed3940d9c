"""Exchanging the served model: what is loaded, what is kept, and why."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from data.settings import Settings
from models.forecaster import NoChampion
from serving.api.forecasts import ForecastRequest
from serving.service import ForecastService
from serving.source import feast_reader

Configure = Callable[[str | None], None]


def versions_of(service: ForecastService) -> tuple[str | None, str | None]:
    """Version that serves, version that did not load."""
    info = service.info()
    return info.version, info.load_error.version if info.load_error else None


def test_a_new_version_takes_the_place_of_the_old_one(
    service: ForecastService, configure: Configure
) -> None:
    configure("1")
    configure("2")
    assert versions_of(service) == ("2", None)


def test_a_version_that_does_not_load_leaves_the_old_one_serving(
    service: ForecastService, configure: Configure
) -> None:
    configure("1")
    configure("broken")
    assert versions_of(service) == ("1", "broken")
    error = service.info().load_error
    assert error and "SHA-256" in error.error
    assert service.ready().model_version == "1"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"version": "2"},
        {"version": "2", "state_dir": None},
        {"version": 2, "champion": "/x/y", "state_dir": "/nowhere"},
        {"version": "3", "champion": "/x/2", "state_dir": "."},
    ],
)
def test_a_configuration_that_makes_no_sense_leaves_the_old_model_serving(
    service: ForecastService,
    configure: Configure,
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    configure("1")
    service.configure(config)
    assert service.info().load_error
    assert service.ready().model_version == "1"


def test_what_is_told_of_an_error_names_no_folder_of_the_machine(
    service: ForecastService, configure: Configure, state: Path
) -> None:
    service._load = lambda folder: Path(folder / "booster.txt").read_text()  # type: ignore[assignment,return-value]
    configure("7")
    error = service.info().load_error
    assert error and "champions/7/booster.txt" in error.error
    assert str(state) not in error.error


def test_the_next_good_version_clears_the_error(
    service: ForecastService, configure: Configure
) -> None:
    configure("broken")
    configure("2")
    assert versions_of(service) == ("2", None)


def test_the_first_version_that_does_not_load_is_told_and_nothing_is_raised(
    service: ForecastService, configure: Configure
) -> None:
    configure("broken-1")
    assert versions_of(service) == (None, "broken-1")
    with pytest.raises(NoChampion, match="broken-1 did not load"):
        service.ready()


def test_no_version_means_no_model(service: ForecastService, configure: Configure) -> None:
    configure("1")
    configure(None)
    assert versions_of(service) == (None, None)
    with pytest.raises(NoChampion, match="No model is served yet"):
        service.ready()


def test_a_model_of_another_feature_service_is_refused(
    service: ForecastService, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("1")
    monkeypatch.setattr("serving.service.FEATURE_SERVICE", "demand_v2")
    configure("2")
    error = service.info().load_error
    assert service.info().version == "1"
    assert error and "demand_v1" in error.error and "demand_v2" in error.error


def test_a_model_that_forecasts_too_few_days_is_refused(
    service: ForecastService, configure: Configure
) -> None:
    configure("1")
    load = service._load

    def short(folder: Path) -> Any:
        model: Any = load(folder)
        forecast = model.forecast
        model.forecast = lambda f, p, h: forecast(f, p, h - 1)
        return model

    service._load = short
    configure("2")
    error = service.info().load_error
    assert service.info().version == "1"
    assert error and "27 days instead of 28" in error.error


def test_without_a_horizon_a_model_of_two_weeks_forecasts_two_weeks(
    service: ForecastService, configure: Configure
) -> None:
    configure("1")
    model: Any = service._model
    model.horizon = 14
    request = ForecastRequest.model_validate({"series": [{"store_id": "1", "item_id": "MEAT"}]})
    answer = service.forecast(request, now=None)  # type: ignore[arg-type]
    assert len(answer["forecasts"][0]["days"]) == 14


def test_answers_during_swaps_are_of_one_version_each(
    service: ForecastService, configure: Configure
) -> None:
    configure("1")
    request = ForecastRequest.model_validate(
        {"series": [{"store_id": "1", "item_id": "MEAT"}], "horizon": 7, "quantiles": []}
    )
    stop = threading.Event()

    def ask() -> set[tuple[str, float]]:
        seen = set()
        while not stop.is_set():
            answer = service.forecast(request, now=None)  # type: ignore[arg-type]
            days = answer["forecasts"][0]["days"]
            seen |= {(answer["model_version"], d["y_hat"]) for d in days}
        return seen

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for i in range(60):
            configure(["2", "broken", "1"][i % 3])
        stop.set()
        seen = set().union(*(a.result() for a in asking))
    assert seen == {("1", 20.0), ("2", 40.0)}


def test_features_are_read_with_the_settings_of_the_configured_state(
    service: ForecastService, configure: Configure, state: Path, online: Any
) -> None:
    opened = []

    def reader(settings: Any) -> Any:
        opened.append(settings.state_dir)
        return online.read

    service._reader = reader
    for version in ("1", "2", "broken", None, "1"):
        configure(version)
    assert opened == [state]


def test_the_feature_store_is_opened_once_and_only_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened = []

    def open_store(settings: Settings) -> str:
        opened.append(settings.state_dir)
        return "store"

    monkeypatch.setattr("serving.source.open_store", open_store)
    monkeypatch.setattr("serving.source.online_features", lambda store, keys: (store, keys))
    read = feast_reader(Settings(state_dir=tmp_path))
    assert opened == []
    assert [read([("1", "MEAT")]) for _ in range(2)] == [("store", [("1", "MEAT")])] * 2
    assert opened == [tmp_path]
