"""What serves after a fall back: the version before if it helps, else seasonal naive."""

import logging
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from checks import monitoring
from checks.policies import policy
from checks.replay import Replay, day, issued, load, snapshot_of
from checks.replay_decisions import serving
from data.settings import Settings
from feature_repo.store import StaleFeatures
from flows import fall_back as flow
from models.baselines import NAIVE, SEASONAL_NAIVE
from models.forecaster import LIGHTGBM, Forecaster, NoChampion, OtherCode, Unusable
from serving.deploy import DeployFailed

LOST = [date(2017, 10, 1), date(2017, 10, 8)]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the flow did, in order; version 7 of lightgbm serves, and nothing helps."""
    did: list[Any] = []

    def note(name: str, result: object = None) -> Any:
        return lambda *given, **_: did.append((name, *given[1:])) or result

    monkeypatch.setattr(flow, "writing", nullcontext)
    monkeypatch.setattr(flow, "take_snapshot", lambda _settings: Path("s1"))
    monkeypatch.setattr(flow, "better_before", lambda *_: None)
    monkeypatch.setattr(flow, "collect", lambda *_: SimpleNamespace(snapshot_id="s1"))
    training = SimpleNamespace(manifest=SimpleNamespace(method=SEASONAL_NAIVE))
    monkeypatch.setattr(flow, "calibrate", lambda _data: training)
    monkeypatch.setattr(flow, "may_serve", lambda *_: True)
    monkeypatch.setattr(flow, "register", lambda *_: "8")
    monkeypatch.setattr(flow, "rehearse", note("rehearse", []))
    monkeypatch.setattr(flow, "deploy", lambda: did.append(("deploy",)))
    monkeypatch.setattr(flow, "rollback", lambda why, version: did.append(("back", version, why)))
    champion = SimpleNamespace(version="7", method="lightgbm")
    monkeypatch.setattr(flow.registry, "load", lambda _settings: champion)
    monkeypatch.setattr(
        flow.registry, "promote", lambda _s, v, **said: did.append(("promote", v, said["why"]))
    )
    return did


def test_without_help_seasonal_naive_is_rehearsed_promoted_and_deployed(done: list[Any]) -> None:
    flow.fall_back.fn("2 weeks lost", LOST)
    assert done == [
        ("rehearse", "8", "s1"),
        ("promote", "8", "fall back to seasonal naive: 2 weeks lost"),
        ("deploy",),
    ]


def test_a_version_before_that_helps_serves_again(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "better_before", lambda _s, _snapshot, lost: "6" if lost else None)
    flow.fall_back.fn("2 weeks lost", LOST)
    assert done == [("back", 6, "2 weeks lost")]


def test_seasonal_naive_does_not_fall_back_to_itself(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = SimpleNamespace(version="8", method=SEASONAL_NAIVE)
    monkeypatch.setattr(flow.registry, "load", lambda _settings: champion)
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
        StaleFeatures("The feature store holds no rows of 2017-09-03"),
    ],
)
def test_a_version_before_that_cannot_be_asked_is_none_and_the_log_says_why(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(flow, "get_run_logger", lambda: logging.getLogger("flow"))
    before = SimpleNamespace(version="6", method="lightgbm")
    loads = isinstance(error, StaleFeatures)
    monkeypatch.setattr(flow.registry, "version_of", lambda *_: "6")
    monkeypatch.setattr(flow.registry, "load", (lambda *_: before) if loads else fails)
    monkeypatch.setattr(flow, "connect", nullcontext)
    monkeypatch.setattr(flow.ledger, "issued_forecasts", lambda *_: None)
    monkeypatch.setattr(flow.monitoring, "would_have_helped", lambda *_, **__: fails())
    asked = flow.better_before.fn
    assert asked(Settings(_env_file=None), Path("s1"), LOST) is None
    assert str(error) in caplog.text
    monkeypatch.setattr(flow.registry, "load", lambda *_: before)
    monkeypatch.setattr(flow, "_helps", lambda *_: True)
    assert asked(Settings(_env_file=None), Path("s1"), LOST) == "6"
    monkeypatch.setattr(flow.registry, "load", lambda *_: SimpleNamespace(method=SEASONAL_NAIVE))
    assert asked(Settings(_env_file=None), Path("s1"), LOST) is None


def test_a_last_week_that_would_have_lost_too_does_not_serve(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "may_serve", lambda *_: False)
    assert "7 serves on" in str(flow.fall_back.fn("2 weeks lost", LOST))
    assert done == []


@pytest.mark.parametrize(
    ("method", "lost", "helps", "serves"),
    [
        (SEASONAL_NAIVE, LOST, False, True),  # daily: it is what won the weeks
        (NAIVE, LOST, False, False),
        (NAIVE, LOST, True, True),
        (NAIVE, [], False, True),  # by hand
    ],
)
def test_in_weekly_data_the_last_week_has_to_beat_last_year(
    method: str, lost: list[date], helps: bool, serves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = dict.fromkeys(("version", "horizon", "trained_cutoff", "snapshot_id", "feature_service"))
    training = SimpleNamespace(manifest=SimpleNamespace(method=method, **made))
    monkeypatch.setattr(flow, "_helps", lambda *_: helps)
    settings = Settings(_env_file=None)
    assert flow.may_serve.fn(settings, Path("s1"), training, lost) is serves


def test_faults_of_the_rehearsal_keep_what_serves(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "rehearse", lambda *_: ["golden requests: it raises"])
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
