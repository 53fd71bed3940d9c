"""The model that repeats the last week: what it forecasts, how it is kept, and what it says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data.schema import KEYS
from data.steps import Steps
from models import forecaster
from models.backtest import TrainingData
from models.baselines import NAIVE, SEASONAL_NAIVE, baseline_forecasts
from models.dataset import INPUTS
from models.explain import LAST, group_of
from models.forecaster import LIGHTGBM, Forecaster
from models.gbm import DEFAULTS
from models.lagged import LEAST, last_units, method_of
from models.metrics import COVERAGE
from models.promotion import evidence_against, promotion_origins
from models.training import Training, last_week, refit


@pytest.fixture(scope="module")
def trained(training_frames: TrainingData) -> Training:
    return last_week(training_frames)


@pytest.fixture
def folder(trained: Training, tmp_path: Path) -> Path:
    manifest = replace(trained.manifest, version="9")
    return forecaster.save(tmp_path / "9", trained.booster_text, manifest)


def newest(data: TrainingData) -> pl.DataFrame:
    return data.features.filter(pl.col("cutoff") == data.cutoff)


def test_a_version_without_a_booster_forecasts_what_the_baseline_does(
    folder: Path, training_frames: TrainingData
) -> None:
    model, features = Forecaster.load(folder), newest(training_frames)
    assert (model.version, model.method) == ("9", SEASONAL_NAIVE)
    assert sorted(f.name for f in folder.iterdir()) == ["manifest.json", "sha256.json"]
    made = model.forecast(features, training_frames.plan, 28)
    history = training_frames.history(training_frames.cutoff)
    naive = baseline_forecasts(features, history, 28, training_frames.spec, [SEASONAL_NAIVE])
    both = made.join(naive, on=[*KEYS, "ds"], suffix=" naive")
    assert both.height == 12 * 28
    assert both["y_hat"].to_list() == both["y_hat naive"].clip(LEAST).to_list()
    sold = made.filter(pl.col("y_hat") >= 1)
    assert sold.height > 200 and (sold["q0.9"] > sold["q0.1"]).all()


def test_a_plan_or_a_price_changes_nothing(folder: Path, training_frames: TrainingData) -> None:
    model, features = Forecaster.load(folder), newest(training_frames)
    dearer = training_frames.plan.with_columns(price=pl.lit(9.0), display=pl.lit(50.0))
    rows = (model.forecast(features, plan, 28) for plan in (training_frames.plan, dearer))
    assert next(rows).equals(next(rows))


def test_its_one_driver_is_what_was_sold_a_week_ago(
    folder: Path, training_frames: TrainingData
) -> None:
    model, features = Forecaster.load(folder), newest(training_frames)
    driven = model.drivers(features, training_frames.plan, 28)
    made = model.forecast(features, training_frames.plan, 28)
    assert [c for c in driven.columns if c.endswith("units")] == [f"{LAST} units"]
    assert (driven["base"] + driven[f"{LAST} units"]).to_list() == made["y_hat"].to_list()
    assert group_of(LAST) == "what was sold a week ago"


def test_it_is_calibrated_and_judged_as_any_other(trained: Training) -> None:
    figures = trained.manifest.backtest
    assert figures["naive ratio"] == 1.0
    assert figures[COVERAGE] == pytest.approx(0.8, abs=0.05)
    assert trained.backtest["model"].unique().sort().to_list() == [
        "moving average 56",
        SEASONAL_NAIVE,
        "seasonal smoothing",
    ]
    assert trained.parameters == {"method": SEASONAL_NAIVE} and trained.trials.is_empty()


def test_levels_and_sums_have_ranges(folder: Path, training_frames: TrainingData) -> None:
    model, features = Forecaster.load(folder), newest(training_frames)
    total = model.level_forecast(features, training_frames.plan, 7, "total")
    assert (total["q0.9"] > total["q0.5"]).all() and (total["q0.1"] > 0).all()
    week = model.sum_quantiles(features, training_frames.plan, 7, [0.5, 0.95])
    assert (week["q0.95"] > week["q0.5"]).all()


def test_a_step_that_sold_nothing_keeps_a_range_and_a_closed_one_does_not() -> None:
    x = np.zeros((3, len(INPUTS)), dtype=np.float32)
    x[:, INPUTS.index("lag")] = [0, 4, 4]
    assert last_units(x, np.array([False, False, True])).tolist() == [LEAST, 4.0, 0.0]


def test_weekly_data_repeats_the_week_before_and_is_called_naive() -> None:
    assert (method_of(Steps()), method_of(Steps(7))) == (SEASONAL_NAIVE, NAIVE)


@pytest.mark.parametrize("method", [LIGHTGBM, "oracle"])
def test_a_method_that_needs_what_is_not_there_is_refused(
    trained: Training, tmp_path: Path, method: str
) -> None:
    manifest = replace(trained.manifest, version="9", method=method)
    folder = forecaster.save(tmp_path / "9", None, manifest)
    with pytest.raises(ValueError, match=f"method '{method}' without a booster"):
        Forecaster.load(folder)


def test_a_changed_manifest_is_refused(folder: Path) -> None:
    path = folder / forecaster.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"horizon": 27}))
    with pytest.raises(ValueError, match="SHA-256"):
        Forecaster.load(folder)


def test_a_new_model_is_judged_against_it_on_all_origins(
    training_frames: TrainingData, trained: Training
) -> None:
    champion = Forecaster(None, replace(trained.manifest, version="9"))
    parameters = DEFAULTS | {"num_iterations": 30, "min_data_in_leaf": 20}
    challenger = refit(training_frames, parameters, seed=1)
    found = evidence_against(
        champion, challenger, training_frames, seed=1, parameters=trained.parameters
    )
    assert found["champion_repeats"]
    assert found["origins"] == len(promotion_origins(training_frames))
    assert found["refitted_origins"] == 0
    assert found["ratio"] and found["ratio"] < 1
