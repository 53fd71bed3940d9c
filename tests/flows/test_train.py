"""What a training does around the model that serves."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from checks.gates import GateDecision
from checks.rollout import Tried
from data import ledger
from data.settings import Settings
from data.steps import Steps
from data.warehouse import connect, query
from flows import decisions, monitor
from flows import train as flow
from models.forecaster import OtherCode
from serving.turn import turn


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


FINE = Tried(200, (), 110.0, 100.0, 12.0, 10.0, heavier_mb=3.0)
FAULTY = Tried(1, ("it raises: RuntimeError: no such leaf",), float("nan"), None, 0.0, None)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> list[Any]:
    """What the flow did, in order; the gate passes and nothing is wrong with version 9."""
    did: list[Any] = []

    def note(name: str, result: object = None) -> Any:
        return lambda *_, **__: did.append(name) or result

    training = SimpleNamespace(
        manifest=SimpleNamespace(backtest={"wrmsse mean": 0.6, "naive ratio": 0.7}),
        trials=SimpleNamespace(height=1),
    )
    marked = pl.DataFrame({"store_id": ["1"] * 3, "item_id": [*"AAB"]})
    data = SimpleNamespace(
        snapshot_id="s1",
        grid=SimpleNamespace(height=1),
        left_out=marked,
        spec=SimpleNamespace(steps=Steps()),
    )
    passed = GateDecision("promote", "pass", ("better",), {"ratio": 0.9})
    monkeypatch.setattr(flow, "Settings", lambda: settings)
    monkeypatch.setattr(flow, "writing", nullcontext)
    monkeypatch.setattr(flow, "take_snapshot", lambda _settings: Path("s1"))
    monkeypatch.setattr(flow, "note", flow.note.fn)
    monkeypatch.setattr(flow, "collect", lambda *_: data)
    monkeypatch.setattr(flow, "fit", note("fit", training))
    monkeypatch.setattr(flow, "show", lambda *_: None)
    monkeypatch.setattr(flow, "judge", note("judge", passed))
    monkeypatch.setattr(flow, "register", note("register", "9"))
    monkeypatch.setattr(flow, "try_golden", note("golden", FINE))
    monkeypatch.setattr(flow, "try_shadow", note("shadow", FINE))
    monkeypatch.setattr(flow, "keep", lambda _s, kept, _subject: did.append(kept))
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: "8")
    monkeypatch.setattr(flow.registry, "challenge", note("challenge"))
    monkeypatch.setattr(flow.registry, "promote", lambda *_, **said: did.append(said["why"]))
    return did


ASKED = ["fit", "judge", "register", "golden", "challenge", "shadow"]


def test_a_version_is_judged_tried_and_recorded_before_it_is_promoted(done: list[Any]) -> None:
    ended = flow.train.fn()
    assert ended.data == "9" and "3 days of 2 series left out as probable" in ended.message
    kept = done.pop(6)
    assert done == [*ASKED, "better"]
    assert (kept.outcome, kept.reasons) == ("pass", ("better",))
    assert kept.measurements["ratio"] == 0.9
    for trial in ("golden requests", "shadow"):
        assert kept.measurements[f"{trial} requests"] == 200
        assert kept.measurements[f"{trial} p95_ms"] == 12
        assert kept.measurements[f"{trial} heavier_mb"] == 3


@pytest.mark.parametrize(("bad", "until"), [("try_golden", ASKED[:3]), ("try_shadow", ASKED[:5])])
def test_a_fault_in_a_rehearsal_holds_the_version_and_moves_no_champion(
    done: list[Any], monkeypatch: pytest.MonkeyPatch, bad: str, until: list[str]
) -> None:
    monkeypatch.setattr(flow, bad, lambda *_: FAULTY)
    assert flow.train.fn().data is None
    kept = done.pop()
    assert done == until
    trial = {"try_golden": "golden requests", "try_shadow": "shadow"}[bad]
    assert kept.outcome == "hold"
    assert kept.reasons == (f"{trial}: {FAULTY.faults[0]}", "better")
    assert kept.measurements[f"{trial} units"] is None  # as JSON has no NaN


def test_why_a_model_was_trained_is_kept_with_the_decision(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "keep", lambda _s, _kept, subject: done.append(subject))
    flow.train.fn(reason="new stores")
    assert "promotion of version 9, trained: new stores" in done


def test_in_shadow_the_best_version_is_not_promoted(done: list[Any]) -> None:
    assert flow.train.fn(promote=False).data is None
    assert done[:6] == ASKED and done[6].outcome == "pass" and done[7:] == []


def test_a_version_is_not_promoted_over_another_champion_and_one_row_says_why(
    done: list[Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    champions = iter(["8", "8", "8", "10"])  # another training has moved the alias the second time
    versions = iter(["9", "11"])
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: next(champions))
    monkeypatch.setattr(flow, "register", lambda *_: next(versions))
    monkeypatch.setattr(flow, "keep", decisions.keep.fn)
    monkeypatch.setattr(decisions, "writing", nullcontext)
    monkeypatch.setattr(decisions, "create_markdown_artifact", lambda **_: None)
    assert flow.train.fn().data == "9"
    assert flow.train.fn().data is None
    with connect(settings) as con:
        held, passed = query(con, "decisions").iter_rows(named=True)
    assert (passed["outcome"], passed["reasons"]) == ("pass", ["better"])
    moved = "version 10 is champion now, and this one was compared with 8"
    assert (held["outcome"], held["reasons"]) == ("hold", [moved, "better"])
    subject = json.loads(held["measurements"])["subject"]
    assert subject == "promotion of version 11, trained: by hand"


def test_of_trainings_that_end_together_one_is_promoted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = {"champion": "0"}

    def promote(_settings: Settings, version: str, **_: object) -> None:
        time.sleep(0.01)  # without the turn the others would still see the old champion
        registered["champion"] = version

    monkeypatch.setattr(flow, "changing", lambda s, who: turn(s, who, str))
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: registered["champion"])
    monkeypatch.setattr(flow.registry, "promote", promote)
    monkeypatch.setattr("serving.turn.POLL_SECONDS", 0.005)
    for race in range(20):
        champion = registered["champion"]
        versions = [f"{race} a", f"{race} b", f"{race} c"]
        with ThreadPoolExecutor(3) as pool:
            ended = pool.map(
                lambda v, old=champion: flow.promote_over(settings, old, v, "better"), versions
            )
            assert set(ended) == {registered["champion"]} < set(versions)


@pytest.mark.parametrize("fails", ["fit", "judge", "register", "try_golden", "try_shadow", "keep"])
def test_a_training_that_fails_moves_no_champion_and_counts_as_one(
    done: list[Any], settings: Settings, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(flow, fails, crash)
    with pytest.raises(RuntimeError, match="no memory"):
        flow.train.fn()
    assert "better" not in done
    with connect(settings) as con:
        now = monitor.clock(settings, con)[1]
        (started,) = ledger.trainings(con, now - timedelta(days=30))
    assert started <= now
