"""A small retailer's weeks under policies, killed, resumed and repeated."""

import shutil
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from checks import monitoring, replay_decisions
from checks import replay as units
from checks.evidence import Decay
from checks.gates import GateDecision, Outcome
from checks.judgement import jackknifed, losses, movement
from checks.monitoring import Monitoring
from checks.policies import policy
from checks.replay import (
    Replay,
    day,
    fit,
    issued,
    memory_of,
    replay_of,
    seconds_of,
    snapshot_of,
)
from checks.replay_decisions import Decision, decide, serving, walk
from checks.replay_results import Results, results
from data.settings import Settings
from data.warehouse import known_at_morning
from models import gbm
from models.baselines import SEASONAL_NAIVE
from models.batch import digest
from models.forecaster import Forecaster
from models.promotion import LEAST_ORIGINS

SINCE = date(2017, 9, 10)
ASKED = SINCE + timedelta(weeks=1)


@pytest.fixture(scope="module")
def found(replayed: Replay) -> Results:
    return results(replayed)


def test_a_killed_replay_goes_on_and_repeats_the_same(
    replayed: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = replace(
        replayed, settings=replayed.settings.model_copy(update={"state_dir": tmp_path / "again"})
    )
    until = ASKED + timedelta(days=1)  # a day of what was decided and fitted anew
    calls = {"write_features": 0, "batch_forecasts": 0}
    for name, when in (("write_features", 2), ("batch_forecasts", 3)):
        works = getattr(units, name)

        def dies(*args: object, name=name, when=when, works=works) -> object:
            calls[name] += 1
            if calls[name] == when:
                raise KeyboardInterrupt
            return works(*args)

        monkeypatch.setattr(units, name, dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            walk(again, SINCE - timedelta(days=1), until)
    assert not (again.folder / "issued" / str(until)).exists()
    walk(again, SINCE - timedelta(days=1), until)
    assert calls == {"write_features": 10, "batch_forecasts": 10}  # only the cut-off ones twice
    for asked in replayed.policies:
        one, two = (decide(r, asked, ASKED) for r in (replayed, again))
        assert replace(one, cpu_seconds=0) == replace(two, cpu_seconds=0)
        for cutoff in (SINCE + timedelta(days=k) for k in range(9)):
            assert day(again, cutoff).snapshot == day(replayed, cutoff).snapshot
            rows = [issued(r, cutoff, serving(r, asked, cutoff)) for r in (replayed, again)]
            assert digest(rows[0]) == digest(rows[1])
    assert serving(again, policy("always"), until) != serving(again, policy("always"), ASKED)
    assert not list(again.folder.glob("**/*.part"))


def test_what_is_finished_is_not_done_again(
    replayed: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("done twice")

    for name in ("batch_forecasts", "refit", "write_features"):
        monkeypatch.setattr(units, name, fails)
    monkeypatch.setattr(replay_decisions, "_decided", fails)
    walk(replayed, SINCE - timedelta(days=1), replayed.end)


def test_results_repeat_to_the_last_bit_whatever_the_time_they_took(
    replayed: Replay, found: Results
) -> None:
    shutil.rmtree(replayed.folder / "losses" / str(replayed.end) / str(ASKED))
    assert results(replayed).hashes == found.hashes
    assert set(found.hashes) == {"forecasts", "scores", "decisions"}


def test_a_longer_replay_is_not_judged_by_what_a_shorter_one_could_know(replayed: Replay) -> None:
    shutil.rmtree(replayed.folder / "losses", ignore_errors=True)
    cutoff = SINCE + timedelta(days=5)
    settings = replayed.settings.model_copy(update={"horizon": 10})
    longer = replace(replayed, settings=settings)
    shorter = replace(longer, weeks=1)
    version = serving(replayed, policy("always"), cutoff)
    assert shorter.end < cutoff + timedelta(days=10) < longer.end
    assert not losses(shorter, cutoff, version)["figures"]
    assert losses(longer, cutoff, version)["figures"]["wrmsse mean"] > 0
    shutil.rmtree(replayed.folder / "losses")


def test_a_snapshot_holds_nothing_that_was_not_known_that_morning(replayed: Replay) -> None:
    cutoff = SINCE + timedelta(days=4)
    sales = pl.read_parquet(snapshot_of(replayed, cutoff) / "sales.parquet")
    assert sales["ds"].max() == cutoff
    assert sales["known_at"].max() <= known_at_morning(cutoff, replayed.settings.timezone)


def test_a_new_model_forecasts_from_the_morning_after_the_decision(replayed: Replay) -> None:
    always = policy("always")
    decision = decide(replayed, always, ASKED)
    assert decision.outcome == "retrain" and decision.trained == decision.serves
    assert serving(replayed, always, ASKED) != decision.serves
    assert serving(replayed, always, ASKED + timedelta(days=1)) == decision.serves


def test_the_gate_decides_with_reasons_and_measurements(replayed: Replay) -> None:
    decision = decide(replayed, policy("gated"), ASKED)
    assert decision.outcome == "insufficient" and decision.trained is None
    assert decision.measurements["matured_days"] == 7
    assert decision.measurements["recent_trainings"] == 1
    assert decision.measurements["days_since_training"] == 7


def test_every_policy_is_charged_for_what_it_used(replayed: Replay, found: Results) -> None:
    always, gated = found.policies
    trained = decide(replayed, policy("always"), ASKED).trained
    assert always["trainings"] == 1 and gated["trainings"] == 0
    assert always["training_seconds"] >= seconds_of(replayed, f"fits/{trained}") > 0
    assert always["cost"] == pytest.approx(always["training_seconds"] / 3600 * 0.05)
    assert gated["training_seconds"] < always["training_seconds"]
    priced = replayed.settings.model_copy(update={"cpu_hour_price": 2.0})
    dear, _ = results(replace(replayed, settings=priced)).policies
    assert dear["cost"] == pytest.approx(dear["training_seconds"] / 3600 * 2)


def test_a_fit_that_was_cut_off_goes_on_and_costs_what_it_would_have_cost_alone(
    replayed: Replay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    again = replace(replayed, settings=replayed.settings.model_copy(update={"state_dir": folder}))
    shutil.copytree(replayed.folder, folder)
    version = decide(replayed, policy("always"), ASKED).trained
    (folder / "fits" / f"{version}.json").unlink()
    monkeypatch.setattr(gbm, "dataset", lambda *_: pytest.fail("fitted twice"))
    assert fit(again, ASKED) == version
    kept, remembered = (seconds_of(r, f"fits/{version}") for r in (replayed, again))
    assert kept > 0 and remembered > memory_of(again).seconds > 0
    booster = replayed.settings.champions_dir / str(version) / "booster.txt"
    assert (folder / "champions" / str(version) / "booster.txt").read_text() == booster.read_text()


def test_a_retrain_is_judged_beside_the_kept_model_on_the_days_after(
    replayed: Replay, found: Results
) -> None:
    (pair,) = found.retrains
    assert (pair["policy"], pair["cutoff"]) == ("always", ASKED)
    assert pair["days"] == (replayed.end - ASKED).days == 13
    assert pair["false"] == (pair["ratio"] >= 1)
    assert pair["ratio_upper"] >= pair["ratio"]


def test_weeks_have_figures_with_bands_and_policies_part_when_their_models_do(
    found: Results,
) -> None:
    weeks = {(w["policy"], w["week"]): w for w in found.weeks}
    first, second = SINCE + timedelta(days=1), ASKED + timedelta(days=1)
    assert len(weeks) == 4 and all(w["low"] < w["value"] < w["high"] for w in found.weeks)
    assert weeks["always", first]["value"] == weeks["gated", first]["value"]
    assert weeks["always", second]["value"] != weeks["gated", second]["value"]


def test_a_folder_belongs_to_the_settings_that_change_a_result(retailer: Settings) -> None:
    def folder(**changed: object) -> Path:
        settings = retailer.model_copy(update=changed)
        return replay_of(settings, SINCE, 2, []).folder

    assert folder(seed=8) != folder() == folder(serve_port=1)
    assert folder().is_relative_to(retailer.state_dir / "replay")


def test_the_band_of_a_mean_is_that_of_its_standard_error() -> None:
    values = [1.0, 2.0, 4.0, 7.0]
    without = [sum(values) / 3 - v / 3 for v in values]
    band = jackknifed([3.5, *without])
    error = (sum((v - 3.5) ** 2 for v in values) / 3 / 4) ** 0.5
    assert band.high - band.value == pytest.approx(3.1824 * error, rel=1e-4)
    assert band.value - band.low == pytest.approx(band.high - band.value)


def test_movement_is_the_share_by_which_shared_days_moved() -> None:
    def forecast(days: dict[int, float]) -> pl.DataFrame:
        rows = [("s", "i", date(2017, 9, d), y) for d, y in days.items()]
        return pl.DataFrame(rows, schema=["store_id", "item_id", "ds", "y_hat"], orient="row")

    before, after = forecast({11: 9.0, 12: 4.0, 13: 6.0}), forecast({12: 5.0, 13: 4.0, 14: 1.0})
    assert movement(before, after) == pytest.approx((1 + 2) / 10)
    assert movement(before, after.filter(pl.col("ds") > before["ds"].max())) is None


def test_a_fall_back_serves_the_version_before_or_the_last_week(
    replayed: Replay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    kept = shutil.ignore_patterns("gated", "losses")
    shutil.copytree(replayed.folder, folder, ignore=kept)
    again = replace(replayed, settings=replayed.settings.model_copy(update={"state_dir": folder}))
    gated = policy("gated")
    first, second = fit(again, SINCE), decide(replayed, policy("always"), ASKED).serves

    def lost(seen: Monitoring) -> GateDecision:
        return GateDecision("retrain", "fall_back", ("2 weeks lost",), {}, train=False)

    def decided(champion: str, *, helps: bool) -> Decision:
        (folder / "decisions" / "gated" / f"{ASKED}.json").unlink(missing_ok=True)
        units.issue(again, ASKED, [champion])
        monkeypatch.setattr(
            replay_decisions, "serving", lambda _r, _p, day: first if day < ASKED else champion
        )
        monkeypatch.setattr(monitoring, "would_have_helped", lambda *_, **__: helps)
        return decide(again, gated, ASKED)

    monkeypatch.setattr(monitoring, "decide", lost)
    monkeypatch.setattr(Decay, "lost", [ASKED])
    decision = decided(first, helps=True)  # there is none before the first
    naive = units.load(again, decision.serves)
    assert (decision.outcome, decision.trained) == ("fall_back", None)
    assert (naive.method, naive.trained_cutoff) == (SEASONAL_NAIVE, ASKED)
    assert decided(second, helps=False).serves == naive.version
    learnt = replace(decision, measurements={}, serves=second)
    monkeypatch.setattr(replay_decisions, "_asked", lambda *_: [learnt])
    assert decided(second, helps=True).serves == first
    assert decided(second, helps=True).measurements[replay_decisions.FELL_BACK] == first
    monkeypatch.setattr(replay_decisions, "_asked", lambda *_: [decision, learnt])
    assert decided(second, helps=True).serves == naive.version  # before it served the last week
    monkeypatch.undo()
    monkeypatch.setattr(monitoring, "decide", lost)
    assert decided(naive.version, helps=True).serves == naive.version


@pytest.mark.parametrize(
    ("outcome", "by_age", "promotion", "promoted"),
    [
        ("retrain", False, "pass", True),
        ("retrain", True, "pass", True),
        ("retrain", False, "hold", False),
        ("retrain", False, "insufficient", False),
        ("alert", False, "pass", False),  # in shadow whatever it is worth
    ],
)
def test_a_training_of_the_gate_serves_only_if_it_is_promoted(
    replayed: Replay,
    monkeypatch: pytest.MonkeyPatch,
    outcome: Outcome,
    by_age: bool,
    promotion: Outcome,
    promoted: bool,
) -> None:
    def asked(_replay: Replay, champion: Forecaster, cutoff: date, age: bool) -> GateDecision:
        assert (champion.version, cutoff, age) == (first, ASKED, by_age)
        return GateDecision("promote", promotion, ("so",), {"ratio": 0.9})

    first, gated = serving(replayed, policy("gated"), ASKED), policy("gated")
    gate = GateDecision("retrain", outcome, ("worse",), {}, train=True, by_age=by_age)
    monkeypatch.setattr(monitoring, "decide", lambda _seen: gate)
    monkeypatch.setattr(replay_decisions, "train", lambda *_: None)
    monkeypatch.setattr(replay_decisions, "_promotion", asked)
    decision = replay_decisions._decided(replayed, gated, ASKED)
    assert decision.trained == decide(replayed, policy("always"), ASKED).trained != first
    assert decision.serves == (decision.trained if promoted else first)
    assert decision.reasons == ("worse", f"promotion {promotion}: so")
    assert decision.measurements == {"promotion ratio": 0.9}


def test_a_training_of_the_gate_is_judged_by_the_evidence_of_its_origins(
    replayed: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = GateDecision("retrain", "retrain", ("worse",), {}, train=True)
    monkeypatch.setattr(monitoring, "decide", lambda _seen: gate)
    decision = replay_decisions._decided(replayed, policy("gated"), ASKED)
    seen = decision.measurements
    assert seen["promotion origins"] >= LEAST_ORIGINS and seen["promotion slices"] > 0
    assert 0 < seen["promotion ratio"] <= seen["promotion ratio_upper"]
    assert any(reason.startswith("promotion ") for reason in decision.reasons)
    passed = any(reason.startswith("promotion pass") for reason in decision.reasons)
    assert (decision.serves == decision.trained) == passed
