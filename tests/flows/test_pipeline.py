"""The main job as a whole, with the flows that it calls replaced."""

from datetime import date, timedelta

import pytest

from data.settings import Settings
from flows import pipeline as flow
from models.forecaster import NoChampion


@pytest.fixture
def ran(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flows that ran; a model is trained and serves."""
    names: list[str] = []
    monkeypatch.setattr(flow, "Settings", lambda: settings)
    monkeypatch.setattr(flow, "served_model", lambda _settings: {"version": "1"})
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: "1")
    for name in ("materialize", "forecast", "collect", "retrain"):
        monkeypatch.setattr(flow, name, lambda name=name: names.append(name))
    return names


def load(monkeypatch: pytest.MonkeyPatch, sold: list[date]) -> None:
    """Sales of these days are loaded as far as they are asked for."""
    asked = [date.min]
    monkeypatch.setattr(flow, "ingest", lambda until: asked.append(until))
    monkeypatch.setattr(
        flow, "_day", lambda _: max((d for d in sold if d <= asked[-1]), default=date.min)
    )


def test_it_ends_with_the_source_that_has_fewer_weeks_than_asked_for(
    settings: Settings, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    days = settings.steps.ahead(settings.first_cutoff, 10)
    load(monkeypatch, [settings.first_cutoff, *days])
    ended = flow.pipeline.fn(weeks=4)
    end = settings.first_cutoff + timedelta(weeks=4)
    assert f"no sales between {days[-1]} and {end}" in ended.message  # type: ignore[attr-defined]
    assert ran.count("forecast") == 3 and ran[-2:] == ["collect", "retrain"]


def test_it_goes_on_after_a_holiday_of_weeks(
    settings: Settings, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    days = settings.steps.ahead(settings.first_cutoff, 28)
    load(monkeypatch, [settings.first_cutoff, *days[:3], *days[20:]])
    ended = flow.pipeline.fn(weeks=4)
    assert "no sales" not in ended.message  # type: ignore[attr-defined]
    assert ran.count("forecast") == 4 and ran[-2:] == ["collect", "retrain"]


def test_a_first_training_that_is_held_ends_it_and_says_where_the_reason_is(
    settings: Settings, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(monkeypatch, [settings.first_cutoff])
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: None)
    monkeypatch.setattr(flow, "train", lambda: None)
    with pytest.raises(NoChampion, match=r"not promoted.*the artifact gate-promote says why"):
        flow.pipeline.fn()
    assert ran == ["materialize"]
