"""What serves after a fall back: the version before if it helps, else seasonal naive."""

import logging
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from checks import monitoring, replay_decisions
from checks.policies import policy
from checks.replay import Replay, day, issued, load, snapshot_of
from checks.replay_decisions import serving
from checks.rollout import Rehearsal, Tried
from data.settings import Settings
from feature_repo.store import StaleFeatures
from flows import fall_back as flow
from models.baselines import NAIVE, SEASONAL_NAIVE
from models.forecaster import LIGHTGBM, Forecaster, NoChampion, OtherCode, Unusable
from serving.deploy import DeployFailed

LOST = [date(2017, 10, 1), date(2017, 10, 8)]


def model(version: str, method: str = LIGHTGBM) -> SimpleNamespace:
    return SimpleNamespace(version=version, method=method, repeats=method != LIGHTGBM)


def repeating(method: str) -> tuple[SimpleNamespace, SimpleNamespace]:
    """The training and the data of the model that repeats the last week."""
    made = dict.fromkeys(("horizon", "trained_cutoff", "snapshot_id", "feature_service"))
    manifest = SimpleNamespace(method=method, version="last week", **made)
    return SimpleNamespace(manifest=manifest), SimpleNamespace(snapshot_id="s1")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the flow did, in order; version 7 of lightgbm serves, and nothing helps."""
    did: list[Any] = []

    def note(name: str, result: object = None) -> Any:
        return lambda *given, **_: did.append((name, *given[1:])) or result

    monkeypatch.setattr(flow, "writing", nullcontext)
    monkeypatch.setattr(flow, "take_snapshot", lambda _settings: Path("s1"))
    monkeypatch.setattr(flow, "before_that_loads", lambda *_: None)
    monkeypatch.setattr(flow, "calibrate", lambda *_: repeating(SEASONAL_NAIVE))
    monkeypatch.setattr(flow, "beats_naive", lambda *_: False)
    monkeypatch.setattr(flow, "register", lambda *_: "8")
    monkeypatch.setattr(flow, "rehearse", note("rehearse", Rehearsal({})))
    monkeypatch.setattr(flow, "deploy", lambda: did.append(("deploy",)))
    monkeypatch.setattr(flow, "changing", lambda *_: nullcontext())
    monkeypatch.setattr(
        flow, "roll_back", lambda _s, version, why, **_: did.append(("back", version, why))
    )
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: "7")
    monkeypatch.setattr(flow.registry, "load", lambda _settings: model("7"))
    monkeypatch.setattr(
        flow, "promote_over", lambda _s, over, v, why: did.append(("promote", v, why, over)) or v
    )
    return did


def test_without_help_seasonal_naive_is_rehearsed_promoted_and_deployed(done: list[Any]) -> None:
    flow.fall_back.fn("2 weeks lost", LOST)
    assert done == [
        ("rehearse", "8", "s1"),
        ("promote", "8", "fall back to seasonal naive: 2 weeks lost", "7"),
        ("deploy",),
    ]


def test_seasonal_naive_does_not_take_over_from_another_champion_than_the_one_that_lost(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "promote_over", lambda *_: "9")
    assert "version 9 has become champion meanwhile" in str(flow.fall_back.fn("lost", LOST))
    assert done == [("rehearse", "8", "s1")]


def test_a_version_before_that_helps_serves_again(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "before_that_loads", lambda *_: model("6"))
    monkeypatch.setattr(flow, "beats_naive", lambda *_: True)
    flow.fall_back.fn("2 weeks lost", LOST)
    assert done == [("back", "6", "2 weeks lost")]


def test_a_champion_that_came_meanwhile_is_not_rolled_back_for_what_another_one_lost(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "before_that_loads", lambda *_: model("6"))
    monkeypatch.setattr(flow, "beats_naive", lambda *_: True)
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: "9")
    assert "version 9 has become champion meanwhile" in str(flow.fall_back.fn("lost", LOST))
    assert done == []


def test_seasonal_naive_does_not_fall_back_to_itself(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow.registry, "load", lambda _settings: model("8", SEASONAL_NAIVE))
    monkeypatch.setattr(flow, "current_version", lambda _settings: "8")
    flow.fall_back.fn("2 weeks lost", LOST)
    assert done == []
    monkeypatch.setattr(flow, "current_version", lambda _settings: "7")  # the swap to 8 failed
    flow.fall_back.fn("2 weeks lost", LOST)
    assert done == [("deploy",)]


@pytest.mark.parametrize(
    "error",
    [
        OtherCode("Model version 6 has a manifest of another shape"),
        Unusable("6/booster.txt does not have the SHA-256"),
        NoChampion("The registry has no version '6'"),
    ],
)
def test_a_version_before_that_cannot_be_loaded_is_none_and_the_log_says_why(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(flow, "get_run_logger", lambda: logging.getLogger("flow"))
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: "6")
    monkeypatch.setattr(flow.registry, "load", fails)
    assert flow.before_that_loads.fn(Settings(_env_file=None)) is None
    assert str(error) in caplog.text


def test_a_model_whose_features_of_those_weeks_are_gone_beats_nobody_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise StaleFeatures("The feature store holds no rows of 2017-09-03")

    monkeypatch.setattr(flow, "get_run_logger", lambda: logging.getLogger("flow"))
    monkeypatch.setattr(flow, "writing", nullcontext)
    monkeypatch.setattr(flow, "connect", nullcontext)
    monkeypatch.setattr(flow.ledger, "issued_forecasts", lambda *_: None)
    monkeypatch.setattr(flow.monitoring, "would_have_helped", fails)
    asked = flow.beats_naive.fn
    assert not asked(Settings(_env_file=None), Path("s1"), cast(Forecaster, model("6")), "7", LOST)
    assert "no rows of 2017-09-03" in caplog.text


def test_a_last_week_that_would_have_lost_too_does_not_serve(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "calibrate", lambda *_: repeating(NAIVE))
    assert "7 serves on" in str(flow.fall_back.fn("2 weeks lost", LOST))
    assert done == []


@pytest.mark.parametrize("method", [SEASONAL_NAIVE, NAIVE])  # daily and weekly data
@pytest.mark.parametrize("before", [None, model("6"), model("6", SEASONAL_NAIVE)])
@pytest.mark.parametrize("winners", [(), ("6",), ("last week",), ("6", "last week")])
def test_a_replay_falls_back_as_the_deployment_does(
    done: list[Any],
    replayed: Replay,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    before: Any,
    winners: tuple[str, ...],
) -> None:
    monkeypatch.setattr(flow, "before_that_loads", lambda *_: before)
    monkeypatch.setattr(flow, "calibrate", lambda *_: repeating(method))
    monkeypatch.setattr(flow, "beats_naive", lambda _s, _f, asked, *_: asked.version in winners)
    flow.fall_back.fn("2 weeks lost", LOST)
    moves = [str(did[1]) for did in done if did[0] in ("back", "promote")]
    deployed = {"8": "last week"}.get(moves[0], moves[0]) if moves else "7"

    models = {"6": before, "last week": model("last week", method)}
    monkeypatch.setattr(replay_decisions, "load", lambda _r, version: models[version])
    monkeypatch.setattr(replay_decisions, "previous", lambda *_: before and before.version)
    monkeypatch.setattr(replay_decisions, "calibrate_last_week", lambda *_: "last week")
    monkeypatch.setattr(replay_decisions, "ledger_of", lambda *_: None)
    monkeypatch.setattr(
        monitoring, "would_have_helped", lambda _s, _f, asked, **_: asked.version in winners
    )
    champion = cast(Forecaster, model("7"))
    chosen = replay_decisions._fall_back(replayed, policy("gated"), champion, replayed.until, LOST)
    assert chosen.version == deployed


def test_faults_of_the_rehearsal_keep_what_serves(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Tried(0, ("it raises",), 0.0, None, 0.0, None)
    monkeypatch.setattr(flow, "rehearse", lambda *_: Rehearsal({"golden requests": faulty}))
    with pytest.raises(DeployFailed, match="Version 8, seasonal naive, does not serve: golden"):
        flow.fall_back.fn("2 weeks lost", LOST)
    assert done == []


def test_the_version_before_is_judged_on_the_days_of_the_one_that_lost(replayed: Replay) -> None:
    """The model of the start forecasts again from the cutoffs of the one that followed it."""
    days = [d for d in replayed.days if replayed.since < d <= replayed.until]
    before = load(replayed, serving(replayed, policy("gated"), replayed.since))
    version = serving(replayed, policy("always"), days[-1])
    assert version != before.version
    ledger = pl.concat(
        [
            issued(replayed, d, model).with_columns(snapshot_id=pl.lit(day(replayed, d).snapshot))
            for d in days
            for model in (serving(replayed, policy("always"), d), SEASONAL_NAIVE)
        ],
        how="diagonal",
    )
    until = replayed.end

    def helps(rows: pl.DataFrame, lost: date = until, before: Forecaster = before) -> bool:
        return monitoring.would_have_helped(
            replayed.settings,
            snapshot_of(replayed, until),
            before,
            instead_of=version,
            lost=[lost],
            issued=rows,
        )

    assert helps(ledger)
    # Weeks are those of the decision, also when a delivery has landed since.
    assert helps(ledger, until - timedelta(days=1))
    # One that has learnt nothing has seen no day, however new it is.
    manifest = replace(before.manifest, method=SEASONAL_NAIVE, trained_cutoff=until)
    worse = pl.when(pl.col("model") == SEASONAL_NAIVE).then(3 * pl.col("y_hat")).otherwise("y_hat")
    assert helps(ledger.with_columns(y_hat=worse), before=Forecaster(None, manifest))
    assert not helps(ledger, before=Forecaster(before.booster, replace(manifest, method=LIGHTGBM)))
    gone = ledger.with_columns(snapshot_id=pl.lit("0123"))
    assert not helps(gone)
    assert not helps(ledger, date(2017, 8, 1))  # a week of which nothing was issued
