"""Rolling origin: the same features, fits and forecasts as in production, judged on later days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import KEYS
from models import gbm
from models.dataset import Matrix, MatrixSpec, actuals, design_matrix, history, target_days
from models.metrics import level_scales


@dataclass(frozen=True)
class TrainingData:
    """Everything a training reads, as known when its cutoff was over.

    `features` holds the rows of every training cutoff and fold (store_id, item_id, cutoff, …) from
    the feature store, `sales` and `plan` what was known at the cutoff.
    """

    cutoff: date
    horizon: int
    snapshot_id: str
    features: pl.DataFrame
    sales: pl.DataFrame
    plan: pl.DataFrame
    spec: MatrixSpec

    @cached_property
    def grid(self) -> pl.DataFrame:
        """Target days with their actual `y`; null where there is none by the cutoff."""
        grid = target_days(self.features, self.horizon)
        return actuals(grid, self.sales, until=self.cutoff, closed_days=self.spec.closed_days)

    @cached_property
    def matrix(self) -> tuple[Matrix, NDArray[np.bool_]]:
        x, closed = design_matrix(self.features, self.plan, self.horizon, self.spec)
        return x.astype(np.float32), closed

    def training_set(self, until: date) -> lgb.Dataset:
        """Rows whose target day is over by `until`, binned."""
        rows = self.grid.select((pl.col("ds") <= until) & pl.col("y").is_not_null())
        mask = rows.to_series().to_numpy()
        return gbm.dataset(self.matrix[0][mask], self.grid["y"].to_numpy()[mask])

    def fold(self, cutoff: date) -> "Fold":
        """The fold that trains on what was over at `cutoff` and forecasts the days after it."""
        mask = (self.grid["cutoff"] == cutoff).to_numpy()
        if not mask.any():
            raise ValueError(f"There are no features of the fold's cutoff {cutoff}.")
        series = self.features.select(KEYS).unique()
        dense = history(self.sales, series, cutoff, self.spec.closed_days)
        return Fold(
            cutoff=cutoff,
            train=self.training_set(cutoff),
            grid=self.grid.filter(pl.Series(mask)),
            x=self.matrix[0][mask],
            closed=self.matrix[1][mask],
            history=dense,
            scales=level_scales(dense),
        )


@dataclass(frozen=True)
class Fold:
    """One origin: what to fit on, what to forecast, and what happened."""

    cutoff: date
    train: lgb.Dataset
    grid: pl.DataFrame
    x: Matrix
    closed: NDArray[np.bool_]
    history: pl.DataFrame
    scales: dict[str, pl.DataFrame]

    def forecast(self, params: Mapping[str, object], seed: int) -> pl.DataFrame:
        """The fold's grid with `y_hat` of a booster that saw nothing after the cutoff."""
        booster = gbm.fit(self.train, params, seed)
        return self.grid.with_columns(y_hat=pl.Series(gbm.predict(booster, self.x, self.closed)))


def fold_cutoffs(cutoff: date, horizon: int, folds: int) -> list[date]:
    """Cutoffs of the newest `folds` whole horizons before `cutoff`, oldest first."""
    return [cutoff - timedelta(days=horizon * k) for k in range(folds, 0, -1)]
