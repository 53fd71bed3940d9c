"""The main job as a whole, with the flows that it calls replaced."""

from datetime import date, timedelta

import pytest

from data.settings import Settings
from flows import pipeline as flow


def test_it_ends_with_the_source_that_has_fewer_weeks_than_asked_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = settings.first_cutoff + timedelta(days=10)
    loaded, ran = [date.min], list[str]()
    monkeypatch.setattr(flow, "Settings", lambda: settings)
    monkeypatch.setattr(flow, "_day", lambda _settings: loaded[-1])
    monkeypatch.setattr(flow, "ingest", lambda until: loaded.append(min(until, last)))
    monkeypatch.setattr(flow, "served_model", lambda _settings: {"version": "1"})
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: "1")
    for name in ("materialize", "forecast", "collect", "retrain"):
        monkeypatch.setattr(flow, name, lambda name=name: ran.append(name))
    ended = flow.pipeline.fn(weeks=4)
    assert f"the source has no sales after {last}" in ended.message  # type: ignore[attr-defined]
    assert ran.count("forecast") == 3 and ran[-2:] == ["collect", "retrain"]
