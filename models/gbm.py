"""LightGBM: one global booster of daily counts."""

from collections.abc import Mapping

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from models.dataset import CATEGORICAL, INPUTS, Matrix

FIXED: dict[str, object] = {
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 2,
    "max_bin": 127,
    "bagging_freq": 1,
}
DEFAULTS: dict[str, object] = {
    "objective": "poisson",
    "learning_rate": 0.06,
    "num_leaves": 31,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "lambda_l2": 5.0,
    "num_iterations": 200,
}


def dataset(x: Matrix, y: Matrix) -> lgb.Dataset:
    """A binned dataset that fits of different parameters share."""
    return lgb.Dataset(
        x.astype(np.float32),
        y,
        feature_name=INPUTS,
        categorical_feature=CATEGORICAL,
        params={"max_bin": FIXED["max_bin"], "feature_pre_filter": False, "verbosity": -1},
        free_raw_data=True,
    ).construct()


def fit(data: lgb.Dataset, params: Mapping[str, object], seed: int) -> lgb.Booster:
    """Trains a booster; the same data, parameters and seed give the same booster."""
    settings = {**FIXED, **params, "seed": seed}
    rounds = int(str(settings.pop("num_iterations")))
    return lgb.train(settings, data, num_boost_round=rounds)


def predict(booster: lgb.Booster, x: Matrix, closed: NDArray[np.bool_]) -> Matrix:
    """Expected units of each row, never negative; 0 on closed days."""
    threads = 1 if len(x) < 10_000 else 2
    y_hat = np.asarray(booster.predict(x.astype(np.float32), num_threads=threads))
    return np.where(closed, 0.0, np.clip(y_hat, 0, None))
