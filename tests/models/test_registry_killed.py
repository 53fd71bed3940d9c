"""The registry is killed while it moves an alias."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from data.settings import Settings
from models import registry

NOW, HOUR = datetime(2026, 11, 24, 9, tzinfo=UTC), timedelta(hours=1)
WRITES = (
    *("set_registered_model_tag", "delete_registered_model_tag", "set_model_version_tag"),
    *("set_registered_model_alias", "delete_registered_model_alias"),
)


class Cut(Exception):
    """The process is killed."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose registry is MLflow's own store on a database file, without a server."""
    monkeypatch.setattr(Settings, "mlflow_url", f"sqlite:///{tmp_path}/mlflow.db")
    return Settings(_env_file=None, state_dir=tmp_path)


def three_versions(settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Versions of a registered model of a name, which the registry then asks."""
    monkeypatch.setattr(registry, "MODEL", name)
    with registry.connected(settings) as client:
        client.create_registered_model(name)
        made = [client.create_model_version(name, str(settings.state_dir)) for _ in range(3)]
    return [str(version.version) for version in made]


def cut_before(monkeypatch: pytest.MonkeyPatch, write: int) -> None:
    """Lets so many writes reach the registry, and no more."""
    left = iter([True] * write)

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def call(*given: object) -> None:
            if not next(left, False):
                raise Cut
            real(*given)

        return call

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))


@pytest.mark.parametrize("moves", ["promote", "roll_back", "take_back"])
def test_a_kill_at_any_point_leaves_the_champion_with_its_reason_and_a_rerun_does_the_rest(
    moves: str, store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, write = True, -1
    while cut:
        write += 1
        one, two, three = three_versions(store, f"{moves} {write}", monkeypatch)
        registry.promote(store, one, at=NOW, why="the first")
        registry.promote(store, two, at=NOW + HOUR, why="better")
        move: Any = getattr(registry, moves)
        asked = {"before": three} if moves == "take_back" else {}
        target, before = (three, two) if moves == "promote" else (one, asked.get("before"))
        with monkeypatch.context() as patch:
            cut_before(patch, write)
            try:
                move(store, target, at=NOW + 2 * HOUR, why="newer", **asked)
                cut = False
            except Cut:
                pass
        champion = registry.version_of(store, registry.CHAMPION)
        served = registry.served_at(registry.alias_history(store), NOW + 3 * HOUR)
        assert served and served.version == champion
        assert served.why.endswith("newer" if champion == target else "better")

        move(store, target, at=NOW + 4 * HOUR, why="newer", **asked)
        assert registry.version_of(store, registry.CHAMPION) == target
        assert registry.version_of(store, registry.PREVIOUS) == before
        history = registry.alias_history(store)
        assert [m.version for m in history][:3] == [one, two, target]
        assert {m.why.removeprefix("rolled back: ") for m in history[2:]} == {"newer"}
        assert write < 9
    assert write >= 4


def test_another_promotion_after_a_kill_leaves_no_trace_of_what_never_served(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = three_versions(store, "demand", monkeypatch)
    registry.promote(store, one, at=NOW, why="the first")
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut_before(patch, 1)
        registry.promote(store, two, at=NOW + HOUR, why="better")
    registry.promote(store, three, at=NOW + 2 * HOUR, why="better still")
    moves = registry.alias_history(store)
    assert [(m.version, m.why) for m in moves] == [(one, "the first"), (three, "better still")]
    assert registry.version_of(store, registry.PREVIOUS) == one
