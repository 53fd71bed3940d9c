"""A real search and fit on a small retailer."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data.schema import FORECAST, KEYS, QUANTILE_COLUMNS
from data.steps import Steps
from data.warehouse import known_at_morning
from models import backtest, conformal, forecaster, levels
from models.backtest import TrainingData, fold_cutoffs
from models.baselines import MOVING_AVERAGE, SEASONAL_NAIVE, SEASONAL_SMOOTHING
from models.cold_start import Known, analogue_features
from models.dataset import training_cutoffs
from models.explain import OTHER, group_of
from models.forecaster import LIGHTGBM, Forecaster, HorizonTooLong, Manifest
from models.search import gain_over_defaults
from models.training import Training, train

CUTOFF = date(2017, 9, 10)


@pytest.fixture(scope="module")
def trained(training_frames: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("study")
    return train(training_frames, storage=folder / "j.log", name="n", trials=3, seconds=600, seed=1)


@pytest.fixture
def saved(trained: Training, tmp_path: Path) -> Path:
    return forecaster.save(tmp_path / "1", trained.booster_text, trained.manifest)


def newest(data: TrainingData) -> pl.DataFrame:
    return data.features.filter(pl.col("cutoff") == CUTOFF)


def test_the_backtest_judges_every_baseline_on_the_newest_fold(trained: Training) -> None:
    table = trained.backtest
    models = {LIGHTGBM, SEASONAL_NAIVE, MOVING_AVERAGE, SEASONAL_SMOOTHING}
    assert set(table["model"]) == models
    assert table["cutoff"].unique().to_list() == [CUTOFF - timedelta(days=28)]
    holdout = trained.holdout.filter(pl.col("y").is_not_null())
    assert holdout["ds"].min() == CUTOFF - timedelta(days=27)


@pytest.mark.score("model", 5)
def test_the_model_beats_the_seasonal_naive_forecast(trained: Training) -> None:
    assert trained.manifest.backtest["naive ratio"] < 0.9


def test_the_search_has_not_seen_the_holdout(trained: Training) -> None:
    seen = {c for c in trained.trials.columns if c.startswith("wrmsse 2017")}
    folds = fold_cutoffs(CUTOFF, 28, 4, Steps())
    assert seen == {f"wrmsse {c}" for c in folds[:3]}


@pytest.mark.score("model", 3)
def test_the_gain_of_the_search_is_that_of_the_best_trial_over_the_defaults(
    trained: Training,
) -> None:
    gain, trials = gain_over_defaults(trained.trials), trained.trials
    best = trials.filter(pl.col("state") == "COMPLETE")["wrmsse"].min()
    assert gain["mean"] == pytest.approx(1 - best / trials["wrmsse"][0])
    assert gain["least"] <= gain["mean"] <= gain["most"]
    assert gain_over_defaults(pl.DataFrame()) == {}


def test_a_search_that_was_cut_off_goes_on(training_frames: TrainingData, tmp_path: Path) -> None:
    def run(trials: int) -> list[float]:
        result = train(
            training_frames, storage=tmp_path / "j", name="n", trials=trials, seconds=600, seed=1
        )
        return result.trials["wrmsse"].to_list()

    first = run(1)
    assert run(2)[:1] == first
    assert len(run(2)) == 2


@pytest.mark.score("infrastructure", 1)
def test_the_same_seed_gives_the_same_booster(
    training_frames: TrainingData, trained: Training, tmp_path: Path
) -> None:
    again = train(training_frames, storage=tmp_path / "j", name="n", trials=3, seconds=600, seed=1)
    assert again.booster.model_to_string() == trained.booster_text


def test_no_forecast_or_training_row_moves_when_later_sales_change(
    training_frames: TrainingData,
) -> None:
    fold = fold_cutoffs(CUTOFF, 28, 4, Steps())[1]
    later = training_frames.sales.with_columns(
        y=pl.when(pl.col("ds") > fold).then(pl.col("y") * 50 + 7).otherwise("y")
    )
    other = replace(training_frames, sales=later, versions=later)
    params = {"objective": "poisson", "num_iterations": 20, "num_leaves": 8}
    before, after = (d.fold(fold) for d in (training_frames, other))
    assert np.array_equal(before.x, after.x, equal_nan=True)
    left, right = before.forecast(params, 1), after.forecast(params, 1)
    assert left["y_hat"].equals(right["y_hat"])
    assert not left["y"].equals(right["y"])


def test_a_fold_learns_from_sales_as_they_were_known_at_its_cutoff(
    training_frames: TrainingData,
) -> None:
    fold = fold_cutoffs(CUTOFF, 28, 4, Steps())[1]
    revised = training_frames.sales.with_columns(
        y=pl.col("y") * 3, known_at=known_at_morning(CUTOFF, training_frames.timezone)
    )
    versions = pl.concat([training_frames.sales, revised])
    data = replace(training_frames, sales=revised, versions=versions)
    first, then = training_frames.fold(fold), data.fold(fold)
    assert then.history.equals(first.history)
    labels = (frames.training_rows(fold)[1] for frames in (training_frames, data))
    assert np.array_equal(*labels)
    # It is judged by what was really sold.
    assert (then.grid["y"] == first.grid["y"] * 3).all()
    assert data.history(CUTOFF)["y"].sum() == 3 * training_frames.history(CUTOFF)["y"].sum()


def test_a_fit_at_a_day_is_the_same_for_every_training_after_it(
    training_frames: TrainingData,
) -> None:
    earlier, elsewhere = CUTOFF - timedelta(days=28), CUTOFF - timedelta(days=84)
    steps = training_frames.spec.steps
    assert elsewhere in fold_cutoffs(CUTOFF, 28, 4, steps)
    assert elsewhere not in training_cutoffs(CUTOFF, date(2017, 1, 1), steps)
    then = replace(
        training_frames,
        cutoff=earlier,
        sales=training_frames.known(earlier),
        features=training_frames.features.filter(
            (pl.col("cutoff") <= earlier) & (pl.col("cutoff") != elsewhere)
        ),
    )
    now_rows, then_rows = (d.training_rows(earlier) for d in (training_frames, then))
    assert len(then_rows[1]) > 1000
    assert all(
        np.array_equal(*pair, equal_nan=True) for pair in zip(now_rows, then_rows, strict=True)
    )


def test_of_many_rows_a_sample_is_learned_from_the_same_every_time(
    training_frames: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = training_frames.training_set(CUTOFF).num_data()
    monkeypatch.setattr(backtest, "MOST_ROWS", 500)
    one, two = (training_frames.training_set(CUTOFF) for _ in range(2))
    assert everything > 500 == one.num_data()
    assert np.array_equal(one.get_label(), two.get_label())


@pytest.mark.score("infrastructure", 2)
def test_a_model_forecasts_as_the_fold_at_its_cutoff(
    training_frames: TrainingData, trained: Training
) -> None:
    model, data = Forecaster(trained.booster, trained.manifest), training_frames
    fold = data.fold(CUTOFF).forecast(trained.parameters, 1)
    assert np.allclose(model.forecast(newest(data), data.plan, 28)["y_hat"], fold["y_hat"])


def test_a_saved_model_forecasts_as_the_trained_one(
    training_frames: TrainingData, saved: Path
) -> None:
    model = Forecaster.load(saved)
    rows = model.forecast(newest(training_frames), training_frames.plan, 28)
    assert rows.height == newest(training_frames).height * 28
    assert rows["ds"].min() == CUTOFF + timedelta(days=1)
    bands = rows.select(QUANTILE_COLUMNS).to_numpy()
    assert (np.diff(bands, axis=1) >= 0).all() and (bands >= 0).all()
    assert rows["y_hat"].is_finite().all()


@pytest.mark.score("infrastructure", 5)
def test_the_drivers_of_a_forecast_sum_to_it(training_frames: TrainingData, saved: Path) -> None:
    model, features = Forecaster.load(saved), newest(training_frames)
    drivers = model.drivers(features, training_frames.plan, 28)
    total = drivers.select(pl.sum_horizontal("base", pl.col("^.* units$"))).to_series()
    y_hat = model.forecast(features, training_frames.plan, 28)["y_hat"]
    assert total.to_numpy() == pytest.approx(y_hat.to_numpy())
    assert group_of("calendar") != OTHER


def test_one_series_is_forecast_as_it_is_among_all(
    training_frames: TrainingData, saved: Path
) -> None:
    model, features = Forecaster.load(saved), newest(training_frames)
    everything = model.forecast(features, training_frames.plan, 28)
    alone = model.forecast(features[3:4], training_frames.plan, 7)
    same = everything.join(alone, on=[*KEYS, "ds"], how="semi")
    assert same.equals(alone)


def test_text_cutoffs_of_the_feature_store_are_read(
    training_frames: TrainingData, saved: Path
) -> None:
    features = newest(training_frames)
    text = features.with_columns(pl.col("cutoff").cast(pl.String))
    model = Forecaster.load(saved)
    plan = training_frames.plan
    assert model.forecast(text, plan, 5).equals(model.forecast(features, plan, 5))


@pytest.mark.parametrize("horizon", [0, 29, -1])
def test_a_horizon_out_of_reach_is_named(
    training_frames: TrainingData, saved: Path, horizon: int
) -> None:
    with pytest.raises(HorizonTooLong, match=f"horizon is {horizon}; .* 1 to 28"):
        Forecaster.load(saved).forecast(newest(training_frames), training_frames.plan, horizon)


@pytest.mark.parametrize("name", ["booster.txt", "manifest.json"])
def test_a_changed_byte_is_refused_before_it_is_parsed(saved: Path, name: str) -> None:
    text = (saved / name).read_text()
    (saved / name).write_text(text[:-2] + "X" + text[-1:])
    with pytest.raises(ValueError, match=rf"{name} does not have the SHA-256"):
        Forecaster.load(saved)


def test_an_incomplete_folder_is_refused(saved: Path) -> None:
    (saved / "sha256.json").unlink()
    with pytest.raises(ValueError, match="not a complete model folder"):
        Forecaster.load(saved)


def test_a_model_of_other_inputs_is_refused_by_name(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecaster, "INPUTS", [*forecaster.INPUTS, "one_more"])
    with pytest.raises(ValueError, match=r"a model of other inputs .* run the train deployment"):
        Forecaster.load(saved)


def test_saving_twice_leaves_one_whole_folder(trained: Training, saved: Path) -> None:
    text = trained.booster_text
    assert forecaster.save(saved, text, trained.manifest) == saved
    assert sorted(p.name for p in saved.parent.iterdir()) == ["1"]
    assert Forecaster.load(saved).trained_cutoff == CUTOFF


def test_levels_add_up_and_the_sum_over_a_lead_time_has_service_levels(
    training_frames: TrainingData, saved: Path
) -> None:
    model, features = Forecaster.load(saved), newest(training_frames)
    series = model.forecast(features, training_frames.plan, 14)
    stores = model.level_forecast(features, training_frames.plan, 14, "store")
    total = model.level_forecast(features, training_frames.plan, 14, "total")
    by_day = stores.group_by("ds").agg(pl.col("y_hat").sum()).sort("ds")["y_hat"]
    assert np.abs((by_day - total["y_hat"]).to_numpy()).max() < 1e-6
    orders = model.sum_quantiles(features, training_frames.plan, 14, (0.5, 0.98))
    expected = series.group_by(KEYS).agg(pl.col("y_hat").sum()).sort(KEYS)["y_hat"]
    assert np.allclose(orders.sort(KEYS)["y_hat"], expected)
    assert (orders["q0.98"] > orders["q0.5"]).all()


def test_a_model_of_an_older_shape_is_named(trained: Training) -> None:
    old = json.loads(trained.manifest.to_json())
    old["calibration"] = {"edges": [[1.0]], "table": [[0.0]]}
    with pytest.raises(ValueError, match="has a manifest of another shape"):
        Manifest.from_json(json.dumps(old))


def test_a_new_series_is_forecast_from_analogues_with_wider_intervals(
    training_frames: TrainingData, saved: Path
) -> None:
    model, features = Forecaster.load(saved), newest(training_frames)
    known = features.filter((pl.col("store_id") != "s1") | (pl.col("item_id") != "i1"))
    lent = analogue_features(Known.of(known), [("s1", "i1")])
    assert lent["method"][0].startswith("analogues: i1 in stores s")
    cold = model.cold_forecast(known, lent, training_frames.plan, 14)
    assert cold.columns == FORECAST and cold.height == 14
    own = model.manifest.calibration
    y_hat, step = (cold[c].to_numpy() for c in ("y_hat", "step"))
    plain = conformal.apply(y_hat, step, own.times(cold), own, (0.1, 0.9))
    assert (cold["q0.9"] - cold["q0.1"]).sum() > (plain[:, 1] - plain[:, 0]).sum()


def test_a_new_series_is_ordered_from_the_sum_of_its_guess_with_wider_quantiles(
    training_frames: TrainingData, saved: Path
) -> None:
    model, features = Forecaster.load(saved), newest(training_frames)
    known = features.filter((pl.col("store_id") != "s1") | (pl.col("item_id") != "i1"))
    asked = (known, analogue_features(Known.of(known), [("s1", "i1")]), training_frames.plan, 14)
    cold = model.cold_forecast(*asked)
    sums = model.cold_sum_quantiles(*asked, (0.1, 0.9))
    assert sums["y_hat"][0] == pytest.approx(cold["y_hat"].sum())
    m = model.manifest
    shared = m.dependence_at(sums["cutoff"][0])
    plain = levels.sum_quantiles(cold, m.calibration, shared, (0.1, 0.9))
    assert (sums["q0.9"] - sums["q0.1"])[0] > (plain["q0.9"] - plain["q0.1"])[0]
