"""Models of one difference on a small retailer: paired, kept on disk, and told apart."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import report
from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy import full, judge, methods, pictures, plan
from benchmarks.accuracy.lab import Cell, Lab, Variant
from benchmarks.accuracy.methods import Bench
from benchmarks.accuracy.plan import Origins, cells_of, without
from benchmarks.accuracy.tables import Found, advice
from benchmarks.rows import Row, plain_row
from data.settings import Settings
from models import gbm
from models.backtest import TrainingData
from models.dataset import INPUTS

LAST = date(2017, 8, 6)
END = date(2017, 9, 10)
FAST = {**gbm.DEFAULTS, "num_iterations": 10, "num_leaves": 8, "min_data_in_leaf": 50}
EARLY = Origins(LAST)


@pytest.fixture(scope="module")
def settings(
    sales_since: Callable[[int, int, int], pl.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Of a retailer whose till file holds 4 stores x 3 items up to the first headline cutoff."""
    folder = tmp_path_factory.mktemp("retailer")
    sales_since(253, 4, 3).write_csv(folder / "till.csv")
    source = {"source": "csv", "source_path": str(folder / "till.csv")}
    return Settings(state_dir=folder / "state", seed=1, _env_file=None, **source)


def lab_of(data: TrainingData, folder: Path) -> Lab:
    return Lab(data, Bench(Settings(state_dir=folder, _env_file=None), [END]).kept, folder, seed=1)


@pytest.fixture(scope="module")
def lab(settings: Settings) -> Lab:
    return full.prepared(methods.since(settings, min(EARLY.searched)), EARLY)


@pytest.fixture(scope="module")
def data(lab: Lab) -> TrainingData:
    return replace(lab.data, memory=None)


def fast(**what: object) -> Variant:
    return replace(Variant("fast", FAST), **what)


def test_nothing_is_judged_or_searched_on_the_days_of_the_headline() -> None:
    real = Origins(full.LAST)
    ahead = timedelta(days=28)
    assert max(real.weekly) + ahead < date(2017, 9, 10)
    assert max(real.searched) + ahead <= min(o for cell in real.monthly for o in cell)
    assert len({o for cell in real.monthly for o in cell}) >= judge.LEAST_ORIGINS
    assert real.monthly[0][-1] + timedelta(weeks=1) == real.monthly[1][0]


def test_series_that_died_before_the_newest_origin_are_judged_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stop(Exception):
        pass

    def prepared(settings: Settings, plan: Origins) -> Lab:
        assert settings.first_cutoff == min([*plan.searched, *plan.weekly])
        raise Stop

    monkeypatch.setattr(full, "prepared", prepared)
    with pytest.raises(Stop):
        full.measured(Settings(_env_file=None))


def test_each_input_belongs_to_one_group_that_is_dropped() -> None:
    hidden = [name for variant in without() for name in variant.hidden]
    assert sorted(hidden) == sorted(INPUTS)


def test_a_dropped_input_has_no_part_in_the_forecast(lab: Lab) -> None:
    origin = LAST - timedelta(weeks=4)
    cell = Cell(fast(name="blind", hidden=("lag", "mean_7")), (origin,))
    blind = lab.forecasts(cell)[0]
    fold = lab.fold(origin)
    lab._folds[origin] = replace(fold, x=np.where(np.isin(INPUTS, ["lag", "mean_7"]), 9.0, fold.x))
    try:
        assert lab.forecasts(cell)[0].equals(blind)
        sighted = lab.forecasts(Cell(fast(), (origin,)))[0]
    finally:
        lab._folds[origin] = fold
    assert not lab.forecasts(Cell(fast(), (origin,)))[0].equals(sighted)


def test_an_old_model_does_not_know_what_was_sold_since(data: TrainingData, tmp_path: Path) -> None:
    fitted, origin = EARLY.weekly[0], EARLY.weekly[4]
    cell = Cell(fast(), (fitted, origin))
    before = lab_of(data, tmp_path / "before")._known(cell).training_rows(fitted)
    late = pl.when(pl.col("ds") > fitted).then(99.0).otherwise("y").alias("y")
    changed = replace(data, sales=data.sales.with_columns(late))
    changed = replace(changed, versions=data.versions.with_columns(late))
    after = lab_of(changed, tmp_path / "after")._known(cell).training_rows(fitted)
    assert np.array_equal(before[1], after[1])


def test_a_short_history_has_fewer_rows_and_no_older_sales(lab: Lab) -> None:
    cell = Cell(fast(weeks=16), (LAST,))
    known = lab._known(cell)
    assert known.versions["ds"].min() == LAST - timedelta(days=16 * 7 - 1)
    assert known.features["cutoff"].min() >= LAST - timedelta(weeks=8)
    assert 0 < len(known.training_rows(LAST)[1]) < len(lab.data.training_rows(LAST)[1])


def test_a_cell_that_is_on_disk_is_not_made_again(
    lab: Lab, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell(fast(), (LAST,))
    first = lab.errors(cell)
    again = lab_of(data, lab.folder)
    monkeypatch.setattr(Lab, "forecasts", lambda *_: pytest.fail("made again"))
    assert again.is_kept(cell)
    assert again.errors(cell).equals(first)
    assert not again.is_kept(Cell(fast(hidden=("lag",)), (LAST,)))


@pytest.fixture(scope="module")
def found(
    lab: Lab, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Found, list[Row], Callable[[], Found], Path]]:
    """What `make bench-accuracy-full` found, the rows that it saved, and where its pictures are."""
    folder = tmp_path_factory.mktemp("full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gbm, "DEFAULTS", FAST)
        base = Variant("defaults", FAST)
        for module in (plan, full):
            patch.setattr(module, "DEFAULTS", base)
        patch.setattr(full, "TRIALS", 2)
        patch.setattr(accuracy, "settings_of", lambda _state: settings)
        patch.setattr(pictures, "FOLDER", folder)
        patch.setattr(report, "RESULTS", folder)
        patch.setattr(report, "fill_documents", lambda: None)
        assert accuracy.main(["full"]) == 0
        rows = report.read("accuracy-full")["rows"]
        again = lambda: full.run(lab, EARLY, 2)  # noqa: E731
        yield again(), rows, again, folder


def test_all_tables_come_from_one_run(found: tuple[Found, list[Row], object, Path]) -> None:
    rows = {row["metric"]: row for row in found[1]}
    assert len(rows) == len(found[1])
    assert {f"staleness mean: {k} weeks old" for k in range(2, 13)} < set(rows)
    assert {f"learning series: {n} weeks" for n in plan.HISTORIES} < set(rows)
    assert {f"ablation mean: {v.name}" for v in without()} < set(rows)
    tuned = rows["tuning mean: tuned"]
    assert tuned["low"] <= tuned["ratio"] <= tuned["high"]
    assert "low" not in rows["staleness mean: 12 weeks old"]  # one origin is no evidence
    assert rows["retraining mean: never"]["theirs"] == pytest.approx(
        rows["retraining mean: every 4 weeks"]["theirs"]
    )
    assert rows["tuning trials"]["ours"] == 2


def test_a_finished_run_is_read_and_gives_the_same(
    found: tuple[Found, list[Row], Callable[[], Found], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gbm, "fit", lambda *_: pytest.fail("fitted again"))
    again = found[2]()
    assert again.errors.drop("seconds").equals(found[0].errors.drop("seconds"))
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + len(cells_of(EARLY, fast()))
    assert all(": kept" in line for line in printed)


def test_the_advice_is_the_age_before_the_loss_exceeds_what_is_borne() -> None:
    def ages(*ratios: float, unknown: int = 0) -> list[Row]:
        rows = [
            plain_row(f"staleness mean: {k + 1} weeks old", "", 1.0) | {"ratio": ratio, "high": 2.0}
            for k, ratio in enumerate(ratios)
        ]
        for row in rows[len(rows) - unknown :]:
            del row["high"]  # type: ignore[misc]
        return rows  # type: ignore[return-value]

    row = advice(ages(1.0, 1.004, 1.03, 1.001))
    assert (row["ours"], row["unit"]) == (2, "Retrain every 2 weeks: at 3 weeks 3.0% is lost.")
    assert advice(ages(1.02, 1.03))["unit"].startswith("Retrain every week: a model of one week")
    assert advice(ages(0.99, 1.0))["ours"] == 2
    assert "at that age nothing is lost" in str(advice(ages(0.99, 0.998))["unit"])
    few = advice(ages(0.99, 1.001, 1.2, unknown=1))
    assert (few["ours"], "at that age 0.1% is lost" in str(few["unit"])) == (2, True)


def test_every_picture_is_drawn(found: tuple[Found, list[Row], object, Path]) -> None:
    drawn = {file.stem.removeprefix("accuracy-") for file in found[3].glob("*.png")}
    assert drawn == {
        "forecast-against-actuals",
        "error-by-lead",
        "reliability",
        "effects",
        "history-and-age",
    }
