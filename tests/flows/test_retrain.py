"""What follows a decision of the retrain gate, in order."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from flows import retrain as flow
from serving.deploy import DeployFailed

LOST = [date(2017, 10, 1), date(2017, 10, 8)]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the flow did; the gate falls back and asks for a training, whose model is promoted."""
    did: list[Any] = []
    weeks = pl.DataFrame({"week": LOST})
    decay = SimpleNamespace(lost=LOST, weeks=weeks, naive_weeks=2)
    seen = SimpleNamespace(evidence=SimpleNamespace(decay=decay))
    decided = SimpleNamespace(outcome="fall_back", reasons=("2 weeks",), train=True, by_age=False)

    def train(*, reason: str, **asked: bool) -> str:
        assert reason == "scheduled retraining"
        did.append(("train", asked))
        return "9"

    monkeypatch.setattr(flow, "monitor", lambda **_: seen)
    monkeypatch.setattr(flow, "decide", lambda _seen: decided)
    monkeypatch.setattr(flow, "keep", lambda *_: did.append("keep"))
    monkeypatch.setattr(flow, "fall_back", lambda *given: did.append(("fall_back", *given)))
    monkeypatch.setattr(flow, "train", train)
    monkeypatch.setattr(flow, "deploy", lambda: did.append("deploy"))
    return did


FOLLOWS = [("train", {"promote": True, "by_age": False}), "deploy"]


def test_a_fall_back_is_told_the_lost_weeks_and_a_training_follows(done: list[Any]) -> None:
    flow.retrain.fn()
    assert done == ["keep", ("fall_back", "2 weeks", LOST), *FOLLOWS]


@pytest.mark.parametrize("error", [DeployFailed, TimeoutError])
def test_a_fall_back_that_fails_trains_all_the_same_and_fails_the_run(
    done: list[Any], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fails(*_: object) -> None:
        raise error("Version 8, seasonal naive, does not serve")

    monkeypatch.setattr(flow, "fall_back", fails)
    with pytest.raises(error, match="Version 8"):
        flow.retrain.fn()
    assert done == ["keep", *FOLLOWS]


@pytest.mark.parametrize(
    ("outcome", "trains", "by_age", "follows"),
    [
        ("hold", False, False, []),
        ("insufficient", False, False, []),
        ("pass", False, False, []),
        ("alert", False, False, []),  # within the cooldown
        ("alert", True, False, [("train", {"promote": False, "by_age": False}), "deploy"]),
        ("retrain", True, False, FOLLOWS),
        ("retrain", True, True, [("train", {"promote": True, "by_age": True}), "deploy"]),
    ],
)
def test_what_follows_each_outcome(
    done: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    outcome: str,
    trains: bool,
    by_age: bool,
    follows: list[Any],
) -> None:
    decided = SimpleNamespace(outcome=outcome, reasons=("so",), train=trains, by_age=by_age)
    monkeypatch.setattr(flow, "decide", lambda _seen: decided)
    flow.retrain.fn()
    assert done == ["keep", *follows]


def test_what_is_not_promoted_is_not_deployed(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "train", lambda **_: None)
    flow.retrain.fn()
    assert "deploy" not in done
