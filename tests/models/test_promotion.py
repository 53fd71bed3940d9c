"""Evidence for a promotion on the small retailer: several origins, days that nobody has seen."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from models.backtest import TrainingData
from models.forecaster import Forecaster
from models.promotion import LEAST_ORIGINS, evidence_against, promotion_origins
from models.training import Training, train

SEED = 1


@pytest.fixture(scope="module")
def trained(training_frames: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("study")
    return train(training_frames, storage=folder / "j", name="n", trials=1, seconds=60, seed=SEED)


def champion_of(trained: Training, cutoff: date) -> Forecaster:
    """The same booster, said to have been trained at a cutoff."""
    return Forecaster(trained.booster, replace(trained.manifest, trained_cutoff=cutoff))


def test_origins_lie_in_the_newest_horizon_which_the_search_has_not_seen(
    training_frames: TrainingData,
) -> None:
    origins = promotion_origins(training_frames)
    first = training_frames.cutoff - timedelta(days=28)
    assert origins[0] == first and len(origins) >= LEAST_ORIGINS
    assert all(first <= o < training_frames.cutoff for o in origins)


def test_a_champion_from_before_the_origins_forecasts_as_it_serves(
    training_frames: TrainingData, trained: Training
) -> None:
    origins = promotion_origins(training_frames)
    champion = champion_of(trained, origins[0])
    found = evidence_against(champion, trained, training_frames, seed=SEED)
    assert found["origins"] == len(origins) and found["refitted_origins"] == 0
    # The booster has seen the days, so it is better there than the challenger's fits before them.
    assert found["ratio"] and found["ratio"] > 1
    assert found["moved"] and 0 < found["moved"] < 1
    assert any(name.startswith("store decile") for name in found["slices"])


def test_without_parameters_a_champion_that_has_seen_the_days_is_no_opponent(
    training_frames: TrainingData, trained: Training
) -> None:
    champion = champion_of(trained, training_frames.cutoff)
    found = evidence_against(champion, trained, training_frames, seed=SEED)
    assert found["has_champion"] and found["ratio"] is None and found["slices"] == {}


def test_without_a_champion_nothing_is_compared(
    training_frames: TrainingData, trained: Training
) -> None:
    found = evidence_against(None, trained, training_frames, seed=SEED)
    assert not found["has_champion"] and found["ratio"] is None
    assert found["naive_ratio"] == trained.manifest.backtest["naive ratio"]
