"""Benchmarks on the state of a small replayed retailer, up to the rows that are saved."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from benchmarks import __main__ as pipeline
from benchmarks import promotion
from benchmarks import replay as timed
from benchmarks.rows import paired
from checks import replay_report
from checks.policies import policy
from checks.replay import Replay
from checks.replay_decisions import serving
from checks.replay_results import Results
from checks.replay_results import results as found_in
from data.settings import Settings
from feature_repo import store

Metrics = Callable[[str], tuple[set[str], set[str]]]


@pytest.fixture
def state(replayed: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A copy of what the replay left, in which its last version serves and features are loaded."""
    settings = replayed.settings.model_copy(update={"state_dir": tmp_path / "state"})
    shutil.copytree(replayed.folder, settings.state_dir)
    version = serving(replayed, policy("always"), replayed.until)
    (settings.champions_dir / "CURRENT").write_text(version)
    monkeypatch.setenv("SHELFCAST_STATE_DIR", str(settings.state_dir))  # Feast's files name it
    store.apply(settings)
    store.materialize(settings, replayed.end)
    return settings


def test_the_pipeline_is_measured_beside_the_same_done_by_hand(
    state: Settings, results: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "command_settings", lambda: state)
    once = lambda ours, theirs, rounds: paired(ours, theirs, rounds=1)  # noqa: ARG005, E731
    monkeypatch.setattr(pipeline, "paired", once)
    before = sorted(state.state_dir.rglob("*.parquet"))
    assert pipeline.main() in (0, 1)
    _, missing = results("pipeline")
    assert missing == set()
    assert sorted(state.state_dir.rglob("*.parquet")) == before  # a copy was measured


def test_fits_of_a_state_are_resampled_into_promotions(
    state: Settings, results: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SEEDS": (1, 2), "OTHER_SEEDS": (1,), "TRIALS": 4}.items():
        monkeypatch.setattr(promotion, name, value)
    for parameters in (promotion.QUICK, promotion.OTHER):
        monkeypatch.setitem(parameters, "num_iterations", 5)
    monkeypatch.setattr(promotion, "command_settings", lambda: state)
    assert promotion.main() in (0, 1)
    assert results("gates")[0] == {
        "aa_promotions_per_100",
        "planted_2pct_promotions_per_100",
    }


def test_a_state_without_a_snapshot_is_named_before_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = Settings(state_dir=tmp_path, _env_file=None)
    monkeypatch.setattr(promotion, "command_settings", lambda: empty)
    assert promotion.main() == 1
    assert "has no snapshot: run `make demo` first" in capsys.readouterr().err


def test_a_replay_is_timed_killed_repeated_and_kept_with_its_report(
    replayed: Replay,
    sales_since: Callable[[int, int, int], pl.DataFrame],
    results: Metrics,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one that is killed is a process of its own, and a real replay of a few sales."""
    sales_since(275, 2, 2).write_csv(tmp_path / "till.csv")
    monkeypatch.setenv("SHELFCAST_SOURCE", "csv")
    monkeypatch.setenv("SHELFCAST_SOURCE_PATH", str(tmp_path / "till.csv"))

    def done(_folder: Path, _weeks: int) -> tuple[Replay, Results]:
        found = found_in(replayed)
        replay_report.write(replayed.folder, found)
        return replayed, found

    monkeypatch.setattr(timed, "replayed", done)
    timed.main(weeks=1)
    saved, missing = results("replay")
    assert {"minutes", "identical_on_rerun", "policy gated", "moved, always"} <= saved
    assert [metric for metric in missing if not metric.endswith(("never", "every 28 days"))] == []
