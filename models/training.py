"""Search, fit, calibrate and judge: what one training does, from frames to a model."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import lightgbm as lgb
import polars as pl

from data.schema import FEATURE_SERVICE, QUANTILE_COLUMNS, QUANTILES
from models import conformal, lagged, paths
from models.backtest import Fold, TrainingData, fold_cutoffs
from models.baselines import SEASONAL_NAIVE, baseline_forecasts
from models.day_profile import SHARE
from models.forecaster import LIGHTGBM, Manifest
from models.metrics import COVERAGE, coverage_of_counts, summary
from models.search import best_parameters, trials_table, tune

TUNING_FOLDS = 3


@dataclass(frozen=True)
class Training:
    """A trained model with its evidence.

    `backtest` is long (model, cutoff, metric, value) for the holdout, the newest fold, that the
    search has not seen; `holdout` the scored forecasts there, with their probability transform `u`
    (models.conformal.pit); `trials` the search.
    A method that learns nothing has no booster.
    """

    booster: lgb.Booster | None
    manifest: Manifest
    parameters: dict[str, object]
    trials: pl.DataFrame
    backtest: pl.DataFrame
    holdout: pl.DataFrame

    @property
    def booster_text(self) -> str | None:
        """The booster as models.forecaster.save takes it."""
        return None if self.booster is None else str(self.booster.model_to_string())


def _calibration(folds: list[pl.DataFrame], horizon: int) -> conformal.Calibration:
    return conformal.calibrate(pl.concat(folds), horizon=horizon)


def _banded(scored: pl.DataFrame, calibration: conformal.Calibration) -> pl.DataFrame:
    y_hat, step = (scored[c].to_numpy() for c in ("y_hat", "step"))
    times = calibration.times(scored)
    bands = conformal.apply(y_hat, step, times, calibration, QUANTILES)
    columns = [pl.Series(c, bands[:, i]) for i, c in enumerate(QUANTILE_COLUMNS)]
    return scored.with_columns(*columns, u=pl.Series(conformal.pit(scored, calibration)))


def _judge(data: TrainingData, fold: Fold, holdout: pl.DataFrame, method: str) -> pl.DataFrame:
    """Figures of the model and of every baseline on the same rows."""
    features = data.features.filter(pl.col("cutoff") == fold.cutoff)
    baselines = baseline_forecasts(features, fold.history, data.horizon, data.spec)
    keys = [c for c in fold.grid.columns if c != "y"]
    tables = {method: summary(holdout, fold.scales)}
    others = baselines.filter(pl.col("model") != method)
    for (model,), rows in others.group_by("model", maintain_order=True):
        scored = fold.grid.join(rows.drop("model"), on=keys)
        tables[str(model)] = summary(scored, fold.scales)
    rows_out = [
        (model, fold.cutoff, metric, value)
        for model, figures in tables.items()
        for metric, value in figures.items()
    ]
    return pl.DataFrame(rows_out, schema=["model", "cutoff", "metric", "value"], orient="row")


def _folds(data: TrainingData) -> list[date]:
    """Cutoffs of the folds of the search and, last, of the holdout."""
    return fold_cutoffs(data.cutoff, data.horizon, TUNING_FOLDS + 1, data.spec.steps)


def train(
    data: TrainingData, *, storage: Path, name: str, trials: int, seconds: int, seed: int
) -> Training:
    """Tunes on three folds, judges on a fourth, newer one, and fits on everything.

    The study is kept in the journal `storage` under `name` and goes on if it was cut off. Intervals
    of the holdout come from the errors of the folds before it; those of the model, and how its
    errors move together, from those of the holdout as well. Deterministic for the same data and
    finished trials.
    """
    tuning = [data.fold(c) for c in _folds(data)[:-1]]
    study = tune(tuning, storage=storage, name=name, trials=trials, seconds=seconds, seed=seed)
    return _fitted(data, tuning[-2:], best_parameters(study), trials_table(study), seed)


def refit(data: TrainingData, parameters: dict[str, object], *, seed: int) -> Training:
    """A training without the search: `parameters` fitted, calibrated and judged on newer data."""
    return _fitted(data, _recent(data), parameters, pl.DataFrame(), seed)


def last_week(data: TrainingData) -> Training:
    """The model that learns nothing (models.lagged), calibrated and judged as any other."""
    last, method = data.fold(_folds(data)[-1]), lagged.method_of(data.spec.steps)
    errors = [fold.last_units() for fold in (*_recent(data), last)]
    manifest, backtest, holdout = _judged(data, last, errors, method)
    parameters: dict[str, object] = {"method": method}
    return Training(None, manifest, parameters, pl.DataFrame(), backtest, holdout)


def _recent(data: TrainingData) -> list[Fold]:
    """The two folds before the holdout, oldest first."""
    return [data.fold(c) for c in _folds(data)[-3:-1]]


def _fitted(
    data: TrainingData,
    recent: list[Fold],
    parameters: dict[str, object],
    trials: pl.DataFrame,
    seed: int,
) -> Training:
    """Fits and judges; `recent` are the two folds before the holdout, oldest first."""
    last = data.fold(_folds(data)[-1])
    errors = [fold.forecast(parameters, seed) for fold in (*recent, last)]
    manifest, backtest, holdout = _judged(data, last, errors, LIGHTGBM)
    booster = data.fit(data.cutoff)(parameters, seed)
    return Training(booster, manifest, parameters, trials, backtest, holdout)


def _judged(
    data: TrainingData, last: Fold, errors: list[pl.DataFrame], method: str
) -> tuple[Manifest, pl.DataFrame, pl.DataFrame]:
    """Manifest, backtest and holdout of a method.

    `errors` are its forecasts of the folds, the holdout's, `last`, the newest. That one is judged
    with intervals from the others; the model's come from all.
    """
    *earlier, unseen = errors
    calibration = _calibration(earlier, data.horizon)
    holdout = _banded(unseen, calibration)
    backtest = _judge(data, last, holdout, method)
    figures = dict(backtest.filter(pl.col("model") == method).select("metric", "value").rows())
    figures[COVERAGE] = coverage_of_counts(unseen, calibration)
    naive = backtest.filter(
        (pl.col("model") == SEASONAL_NAIVE) & (pl.col("metric") == "wrmsse mean")
    )["value"].item()
    manifest = Manifest(
        version="",
        trained_cutoff=data.cutoff,
        horizon=data.horizon,
        feature_service=FEATURE_SERVICE,
        snapshot_id=data.snapshot_id,
        spec=data.spec,
        profile=data.profile(data.cutoff),
        calendar_share=SHARE,
        calibration=_calibration(errors, data.horizon),
        dependence=paths.estimate(pl.concat(errors)),
        backtest={**figures, "naive ratio": figures["wrmsse mean"] / naive},
        method=method,
    )
    return manifest, backtest, holdout
