"""LightGBM: one global booster of daily counts."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from time import process_time

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from models.dataset import CATEGORICAL, INPUTS, Matrix, Rows

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


def dataset(x: Rows, y: Matrix) -> lgb.Dataset:
    """A binned dataset that fits of different parameters share."""
    return lgb.Dataset(
        x,
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


class Memory:
    """Boosters in a folder by what they were fitted on, for trainings that meet a fit again.

    `seconds` are the CPU seconds that the fits took which were not done again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.seconds = folder, 0.0

    def fit(self, x: Rows, y: Matrix, params: Mapping[str, object], seed: int) -> lgb.Booster:
        """The booster of these rows, parameters and seed; read from its text every time."""
        settings = json.dumps([FIXED, dict(params), seed], sort_keys=True)
        digest = hashlib.sha256(f"{settings} {x.shape}".encode())
        for values in (x, y):
            digest.update(np.ascontiguousarray(values).data)
        path = self.folder / f"{digest.hexdigest()}.json"
        if path.exists():
            kept = json.loads(path.read_text())
            self.seconds += kept["cpu_seconds"]
        else:
            start = process_time()
            text = fit(dataset(x, y), params, seed).model_to_string()
            kept = {"cpu_seconds": process_time() - start, "booster": text}
            part = path.with_suffix(".part")
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(kept))
            part.rename(path)
        return lgb.Booster(model_str=kept["booster"])


def predict(booster: lgb.Booster, x: Rows, closed: NDArray[np.bool_]) -> Matrix:
    """Expected units of each row, never negative; 0 on closed days."""
    threads = 1 if len(x) < 10_000 else 2
    y_hat = np.asarray(booster.predict(x, num_threads=threads))
    return np.where(closed, 0.0, np.clip(y_hat, 0, None))
