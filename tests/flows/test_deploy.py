"""What a deployment leaves behind when its version does not come to serve."""

import json
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from checks.rollout import Tried
from data.collection import ERROR
from data.schema import SPOOL_CLOSED
from data.settings import Settings
from flows import deploy as flow
from models import registry
from serving.deploy import CURRENT, PREVIOUS, DeployFailed, KeyRefused, RayUnreachable

FINE = Tried(100, (), 10.0, 10.0, 5.0, 5.0)


def down(*_: object, **__: object) -> None:
    raise registry.RegistryUnreachable("MLflow is down.")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> list[Any]:
    """What the flow did; version 7 serves, `champion` names 8 already, and 8 serves well."""
    did: list[Any] = []
    settings.champions_dir.mkdir(parents=True)
    (settings.champions_dir / CURRENT).write_text("7\n")
    (settings.champions_dir / PREVIOUS).write_text("6\n")
    monkeypatch.setattr(flow, "Settings", lambda: settings)
    monkeypatch.setattr(flow, "writing", nullcontext)
    monkeypatch.setattr(flow, "take_snapshot", lambda _settings: Path("s1"))
    monkeypatch.setattr(flow, "export", lambda _settings, version: version or "8")
    monkeypatch.setattr(
        flow, "try_golden", lambda *given: did.append(("golden", *given[1:])) or FINE
    )
    monkeypatch.setattr(flow, "serve", lambda _settings, version: did.append(("serve", version)))
    monkeypatch.setattr(flow, "watch", lambda *_: FINE)
    monkeypatch.setattr(flow.rollout, "observe", lambda _settings: FINE)
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: "8")
    for moves in ("promote", "take_back"):
        monkeypatch.setattr(
            flow.registry,
            moves,
            lambda _s, version, moves=moves, **said: did.append(
                (moves, version, *(said[k] for k in ("before", "why") if k in said))
            ),
        )
    monkeypatch.setattr(
        flow.registry, "hold_against", lambda _s, version, _why: did.append(("failed", version))
    )
    return did


@pytest.fixture
def fails(done: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(_settings: Settings, version: str) -> None:
        raise DeployFailed(f"Model version {version!r} was not deployed: it does not load.")

    monkeypatch.setattr(flow, "serve", swap)


@pytest.mark.usefixtures("fails")
def test_a_promoted_version_that_does_not_come_to_serve_is_not_champion(done: list[Any]) -> None:
    with pytest.raises(DeployFailed, match=r"load\. The alias champion names version 7 again"):
        flow.deploy.fn()
    why = "Model version '8' was not deployed: it does not load."
    why = f"version 8 was promoted and did not come to serve: {why}"
    assert done == [("failed", "8"), ("take_back", "7", "6", why)]


@pytest.mark.usefixtures("fails")
def test_a_registry_that_is_down_does_not_hide_why_the_version_does_not_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flow.registry, "version_of", down)
    said = r"it does not load\. The alias champion may still name version 8: MLflow is down\."
    with pytest.raises(DeployFailed, match=said):
        flow.deploy.fn()


@pytest.mark.usefixtures("done")
def test_a_version_by_number_is_watched_when_the_registry_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flow.registry, "promote", down)
    said = r"^Version 9 serves, but the alias champion was not moved: MLflow is down; run the deplo"
    with pytest.raises(flow.registry.RegistryUnreachable, match=said):
        flow.deploy.fn(version=9)
    backs: list[Any] = []
    bad = Tried(100, ("it answers 500",), 10.0, 10.0, 5.0, 5.0)
    monkeypatch.setattr(flow, "watch", lambda *_: bad)
    monkeypatch.setattr(flow, "roll_back", lambda *_, version, **__: backs.append(version) or "6")
    with pytest.raises(DeployFailed, match="Version 9 was rolled back to 6: it answers 500"):
        flow.deploy.fn(version=9)
    assert backs == ["6"]


@pytest.mark.parametrize(
    ("room", "asks", "error"),
    [
        (flow, "serve", RayUnreachable("Ray is not reachable; start the stack with `make up`.")),
        (flow.rollout, "observe", KeyRefused("The API refuses this machine's own key.")),
    ],
)
def test_without_ray_or_a_key_nothing_is_held_against_the_version_and_it_is_said_how_to_deploy_it(
    done: list[Any], monkeypatch: pytest.MonkeyPatch, room: Any, asks: str, error: DeployFailed
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(room, asks, refuse)
    then = r"names version 7 again; then run the deploy deployment with version=8\.$"
    with pytest.raises(type(error), match=then):
        flow.deploy.fn()
    ((moved, *_, why),) = done
    assert moved == "take_back" and str(error) in why


@pytest.mark.usefixtures("fails")
@pytest.mark.parametrize("serves", ["8", None])  # the same again, and the first model of all
def test_the_alias_stays_where_nothing_else_serves(
    done: list[Any], settings: Settings, serves: str | None
) -> None:
    current = settings.champions_dir / CURRENT
    current.write_text(serves) if serves else current.unlink()
    with pytest.raises(DeployFailed, match=r"it does not load\.$"):
        flow.deploy.fn()
    assert done == []


@pytest.mark.usefixtures("fails")
def test_a_version_by_number_that_does_not_come_to_serve_moves_no_alias(done: list[Any]) -> None:
    with pytest.raises(DeployFailed, match=r"'3' was not deployed: it does not load\.$"):
        flow.deploy.fn(version=3)
    assert done == [("golden", "3", "s1")]


def test_a_version_by_number_answers_golden_requests_before_anybody_gets_its_answers(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.deploy.fn(version=3, reason="it knows the new stores")
    assert done == [
        ("golden", "3", "s1"),
        ("serve", "3"),
        ("promote", "3", "it knows the new stores"),
    ]
    done.clear()
    faulty = Tried(0, ("it raises: RuntimeError: no such leaf",), 0.0, None, 0.0, None)
    monkeypatch.setattr(flow, "try_golden", lambda *_: faulty)
    with pytest.raises(DeployFailed, match="Version 3 is not deployed, golden requests say why"):
        flow.deploy.fn(version=3)
    assert done == []


def test_a_champion_that_a_training_has_tried_is_not_tried_again(done: list[Any]) -> None:
    flow.deploy.fn()
    assert done == [("serve", "8")]


@pytest.fixture
def backs(done: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The versions that were gone back to."""
    went: list[Any] = []
    monkeypatch.setattr(flow, "roll_back", lambda *_, version, **__: went.append(version) or "6")
    return went


def test_a_watch_that_breaks_rolls_back_and_says_why(
    backs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(*_: object) -> Tried:
        raise KeyError("snapshot_id")

    monkeypatch.setattr(flow, "watch", watch)
    said = r"^Version 8 was rolled back to 6: the watch failed: KeyError: 'snapshot_id'"
    with pytest.raises(DeployFailed, match=said):
        flow.deploy.fn()
    assert backs == ["6"]


def test_a_503_from_before_the_first_model_serves_is_no_fault_of_it(
    backs: list[Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.spool_dir.mkdir(parents=True)

    def swap(_settings: Settings, _version: str) -> None:
        error = {
            "kind": ERROR,
            "at": str(datetime.now(UTC)),
            "status": 503,
            "problem": "unexpected",
        }
        (settings.spool_dir / f"1{SPOOL_CLOSED}").write_text(json.dumps(error))

    def watch(_settings: Settings, _version: str, _before: object, since: datetime) -> Tried:
        met = flow.rollout.live_5xx(settings.spool_dir, since)
        return Tried(9, ("live requests met a 503",) * met, 10.0, None, 5.0, None)

    monkeypatch.setattr(flow, "serve", swap)
    monkeypatch.setattr(flow, "watch", watch)
    monkeypatch.setattr(flow.rollout, "observe", lambda _settings: None)
    flow.deploy.fn()
    assert backs == []
    monkeypatch.setattr(flow.rollout, "observe", lambda _settings: FINE)
    with pytest.raises(DeployFailed, match="live requests met a 503"):
        flow.deploy.fn()


def test_faults_count_when_nothing_answered_before_the_swap(
    backs: list[Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow.rollout, "observe", lambda _settings: None)
    monkeypatch.setattr(flow, "watch", lambda *_: Tried(9, (), 10.0, None, 900.0, None))
    flow.deploy.fn()  # slow, but nobody knows how slow it was before
    bad = Tried(9, ("the API answers 500",), 0.0, None, 5.0, None)
    monkeypatch.setattr(flow, "watch", lambda *_: bad)
    with pytest.raises(DeployFailed, match="rolled back to 6: the API answers 500"):
        flow.deploy.fn()
    assert backs == ["6"]
    (settings.champions_dir / PREVIOUS).unlink()
    with pytest.raises(DeployFailed, match="none served before it: the API answers 500; look"):
        flow.deploy.fn()
    assert backs == ["6"]
