"""Benchmarks as they are typed, on small made-up data: from files to the rows that are saved."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from benchmarks import gates, recall, report
from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy import methods, other, retailers
from benchmarks.accuracy.retailers import KINDS
from benchmarks.worlds import SHIFTS, Base
from data.settings import Settings

from .conftest import base

Metrics = Callable[[str], tuple[set[str], set[str]]]
RETAILER = replace(KINDS[1], stores=4, items=4, days=300)


def test_accuracy_is_measured_against_every_baseline_at_every_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Metrics
) -> None:
    files = retailers.settings_of(RETAILER, tmp_path / "files")
    settings = Settings(state_dir=tmp_path / "state", _env_file=None, **files)
    monkeypatch.setattr(accuracy, "settings_of", lambda _state: settings)
    monkeypatch.setattr(accuracy, "HEADLINE", (settings.first_cutoff,))
    monkeypatch.setattr(other, "KINDS", (replace(RETAILER, ragged=True),))
    monkeypatch.setattr(other, "WORLDS", 1)
    monkeypatch.setattr(methods, "PROCESSES", 1)
    assert accuracy.main([]) in (0, 1)
    saved, missing = results("accuracy")
    assert f"other_data_wrmsse: {RETAILER.name}" in saved
    # Which baseline is the best of a level, and whether a cell has enough points, is of the data.
    of_data = ("ratio ", "other_data_wrmsse: ", "coverage_worst_cell")
    assert [metric for metric in missing if not metric.startswith(of_data)] == []
    assert (report.RESULTS / "accuracy-cells.json").exists()


FIRST = date(2017, 3, 6)
DAYS = 238


@pytest.fixture
def households(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Base:
    """Forty households at steady prices, and one size of a shift of each layer; state of its own.

    The worlds run in this process, one after the other.
    """
    monkeypatch.setenv("SHELFCAST_STATE_DIR", str(tmp_path / "state"))
    for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "2")  # what the run sets is undone
    made = base(households=40, stores=4, items=3, first=FIRST, days=DAYS)
    made = replace(made, trips=made.trips.with_columns(amount=2.5 * pl.col("y")))
    names = ("demand up", "prices up", "zeros", "prices up a little")
    few = tuple(replace(s, sizes=s.sizes[1:]) for s in SHIFTS if s.name in names)
    for module in (gates, recall):
        monkeypatch.setattr(module, "SHIFTS", few)
    for name, value in (("WEEKS", 5), ("WATCHED_WEEKS", 2), ("POISONED_WEEKS", 1)):
        monkeypatch.setattr(gates, name, value)
    monkeypatch.setattr(gates, "HISTORY_DAYS", DAYS - 9)
    monkeypatch.setattr(gates, "_base", lambda: made)
    alone = SimpleNamespace(Pool=lambda _processes: ThreadPool(1))
    monkeypatch.setattr(gates, "multiprocessing", SimpleNamespace(get_context=lambda _: alone))
    return made


def test_the_gate_is_asked_in_clean_and_shifted_worlds_and_in_the_real_year(
    households: Base, results: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gates.main(["--seeds", "1"]) in (0, 1)
    saved, _ = results("gates")
    assert {
        "drift_recall",
        "right_layer_share",
        "clean_weeks",
        "recall: zeros +0.1 (quality)",
    } - saved == set()
    assert results("thresholds")[0]
    kept = (tmp_path / "state").glob("worlds/*/*.json")
    weeks = {path.stem: json.loads(path.read_text()) for path in kept}
    assert set(weeks) == {"0", str(gates.REAL)}
    assert len([week for week in weeks["0"] if week["days"] == 0]) == 5

    # A run that was cut off goes on: nothing is run again.
    monkeypatch.setattr(gates, "run_seed", lambda *_: pytest.fail("run again"))
    assert gates.main(["--seeds", "1"]) in (0, 1)
