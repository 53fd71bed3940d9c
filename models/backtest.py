"""Rolling origin: the same features, fits and forecasts as in production, judged on later days."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial

import lightgbm as lgb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import KEYS
from data.steps import Steps
from data.warehouse import known_at_morning
from feature_repo.build import known_versions
from models import gbm
from models.dataset import (
    Matrix,
    MatrixSpec,
    Rows,
    actuals,
    design_matrix,
    history,
    target_days,
    training_cutoffs,
)
from models.day_profile import SHARE, Profile, averaged, calendar_forecast, fit_profile
from models.lagged import last_units
from models.metrics import level_scales
from models.stockouts import probable_stockouts, without_stockouts

MOST_ROWS = 1_000_000

Fit = Callable[[Mapping[str, object], int], lgb.Booster]  # of parameters and a seed


@dataclass(frozen=True)
class TrainingData:
    """Everything a training reads, as known when its cutoff was over.

    `features` holds the rows of every training cutoff and fold (store_id, item_id, cutoff, …) from
    the feature store, `sales` and `plan` what was known at the cutoff. `versions` are all versions
    of the sales (schema SALES): a fold before the cutoff learns from what was known then. With
    `stockouts_missing` no booster learns from days that were probable stock-outs. A `memory` gives
    boosters that were fitted before.
    """

    cutoff: date
    horizon: int
    snapshot_id: str
    features: pl.DataFrame
    sales: pl.DataFrame
    plan: pl.DataFrame
    spec: MatrixSpec
    versions: pl.DataFrame
    timezone: str
    stockouts_missing: bool = False
    memory: gbm.Memory | None = None

    @cached_property
    def grid(self) -> pl.DataFrame:
        """Target days with their actual `y`; null where there is none by the cutoff."""
        grid = target_days(self.features, self.horizon, self.spec.steps)
        return actuals(grid, self.sales, until=self.cutoff, steps=self.spec.steps)

    @cached_property
    def trained(self) -> pl.Series:
        """Whether a row of the grid is of a cutoff that boosters learn from."""
        cutoffs = self.grid["cutoff"]
        first: date = cutoffs.min()  # type: ignore[assignment]
        return cutoffs.is_in(training_cutoffs(self.cutoff, first, self.spec.steps))

    @cached_property
    def left_out(self) -> pl.DataFrame:
        """Steps (store_id, item_id, ds) that the booster of the cutoff would have learnt from.

        They were probable stock-outs; none without `stockouts_missing`.
        """
        learnt = self.grid.filter(self.trained & self.grid["y"].is_not_null())
        days = learnt.select(*KEYS, "ds", "y").unique()
        if not self.stockouts_missing:
            return days.select(*KEYS, "ds").clear()
        masked = without_stockouts(days, self.stockouts(self.cutoff))
        return masked.filter(pl.col("y").is_null()).select(*KEYS, "ds").sort(*KEYS, "ds")

    @cached_property
    def matrix(self) -> tuple[Rows, NDArray[np.bool_]]:
        return design_matrix(self.features, self.plan, self.horizon, self.spec)

    def training_set(self, until: date) -> lgb.Dataset:
        """The training rows of a day, binned."""
        return gbm.dataset(*self.training_rows(until))

    def fit(self, until: date) -> Fit:
        """Fits boosters on the training rows of a day, which are binned once."""
        memory = self.memory
        if memory is None:
            return partial(gbm.fit, self.training_set(until))
        return lambda params, seed: memory.fit(*self.training_rows(until), params, seed)

    def training_rows(self, until: date) -> tuple[Rows, Matrix]:
        """Rows (n, INPUTS) and actuals of the grid's cutoffs, as far as they were over and known.

        They do not depend on the training's own cutoff, nor on where its folds lie. Of more than
        MOST_ROWS a seeded sample: rows of neighbouring cutoffs share their target days and most of
        their features, so more of them cost time and add next to nothing.
        """
        grid = self.grid.select(*KEYS, "ds")
        known = self.known(until)
        days = actuals(grid, known, until=until, steps=self.spec.steps)
        if self.stockouts_missing:
            days = without_stockouts(days, self.stockouts(until))
        y = days["y"]
        rows = np.flatnonzero((y.is_not_null() & self.trained).to_numpy())
        if len(rows) > MOST_ROWS:
            rng = np.random.default_rng(until.toordinal())
            rows = np.sort(rng.choice(rows, MOST_ROWS, replace=False))
        return self.matrix[0][rows], y.to_numpy()[rows]

    def stockouts(self, until: date) -> pl.DataFrame:
        """What models.stockouts marks in the history up to a day, as known then."""
        return probable_stockouts(self.history(until), self.spec.steps)

    def known(self, cutoff: date) -> pl.DataFrame:
        """Sales as they were known the morning after a fold's cutoff, without later revisions."""
        if cutoff >= self.cutoff:
            return self.sales
        return known_versions(self.versions, known_at_morning(cutoff, self.timezone))

    def history(self, cutoff: date) -> pl.DataFrame:
        """Dense days of every series up to a cutoff, as known then; see models.dataset.history."""
        series = self.features.select(KEYS).unique()
        return history(self.known(cutoff), series, cutoff, self.spec.steps)

    def profile(self, cutoff: date) -> Profile:
        """The chain's calendar, learnt from the history up to a cutoff."""
        return fit_profile(self.history(cutoff), cutoff, self.spec)

    def fold(self, cutoff: date) -> "Fold":
        """The fold that trains on what was over at `cutoff` and forecasts the days after it."""
        mask = (self.grid["cutoff"] == cutoff).to_numpy()
        if not mask.any():
            raise ValueError(f"There are no features of the fold's cutoff {cutoff}.")
        dense = self.history(cutoff)
        calendar = calendar_forecast(
            self.features.filter(pl.col("cutoff") == cutoff),
            self.horizon,
            self.profile(cutoff),
            self.spec,
            self.matrix[1][mask],
        )
        return Fold(
            cutoff=cutoff,
            fit=self.fit(cutoff),
            grid=self.grid.filter(pl.Series(mask)),
            x=self.matrix[0][mask],
            closed=self.matrix[1][mask],
            calendar=calendar,
            history=dense,
            scales=level_scales(dense, season=self.spec.steps.season),
        )


@dataclass(frozen=True)
class Fold:
    """One origin: how to fit at it, what to forecast, and what happened."""

    cutoff: date
    fit: Fit
    grid: pl.DataFrame
    x: Rows
    closed: NDArray[np.bool_]
    calendar: Matrix
    history: pl.DataFrame
    scales: dict[str, pl.DataFrame]

    def forecast(
        self, params: Mapping[str, object], seed: int, share: float = SHARE
    ) -> pl.DataFrame:
        """The fold's grid with `y_hat` of a model that saw nothing after the cutoff."""
        boosted = gbm.predict(self.fit(params, seed), self.x, self.closed)
        return self.grid.with_columns(y_hat=pl.Series(averaged(boosted, self.calendar, share)))

    def last_units(self) -> pl.DataFrame:
        """The fold's grid with `y_hat` of the model that learns nothing (models.lagged)."""
        return self.grid.with_columns(y_hat=pl.Series(last_units(self.x, self.closed)))


def fold_cutoffs(cutoff: date, horizon: int, folds: int, steps: Steps) -> list[date]:
    """Cutoffs of the newest `folds` whole horizons before `cutoff`, oldest first."""
    return [steps.after(cutoff, -horizon * k) for k in range(folds, 0, -1)]
