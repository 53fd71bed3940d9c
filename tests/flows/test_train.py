"""What a training does around the model that serves."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data.settings import Settings
from flows import train as flow
from models.forecaster import OtherCode


def test_a_rehearsal_beside_a_champion_of_other_code_compares_with_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def older(*_: object) -> None:
        raise OtherCode("Model version 1 has a manifest of another shape")

    compared: list[Any] = []
    settings = Settings(_env_file=None, state_dir=tmp_path)
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: "1")
    monkeypatch.setattr(flow.registry, "load", older)
    monkeypatch.setattr(flow.registry, "export", lambda *_: SimpleNamespace(folder=tmp_path))
    monkeypatch.setattr(flow.rollout, "Desk", lambda _settings: None)
    monkeypatch.setattr(flow.rollout, "golden", lambda *given: compared.append(given[2]))
    flow.try_golden.fn(settings, "2", "s1")
    assert compared == [None]
    assert flow.try_shadow.fn(settings, "2", "s1") is None
