"""Forecasts of all series at once, with the baselines beside them."""

import hashlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from data.schema import FORECAST, KEYS, PLAN
from data.settings import Settings
from data.snapshots import read_snapshot
from data.steps import Steps
from models.assembly import features_as_known, matrix_spec
from models.baselines import baseline_forecasts
from models.beside import beside
from models.cold_start import Known, analogue_features
from models.dataset import history
from models.forecaster import Forecaster
from models.grid import missing_cells, unplanned_steps


def batch_forecasts(settings: Settings, snapshot: str, *models: Forecaster) -> pl.DataFrame:
    """Forecasts from a snapshot's cutoff: the columns FORECAST and `model`.

    `model` is a version of `models` or a baseline's name; baselines have no quantiles.
    """
    taken = read_snapshot(Path(snapshot))
    cutoff, sales, series = taken.cutoff, taken.sales(), taken.series()
    features = features_as_known(settings, series, [cutoff])
    plan = taken.plan()
    spec = matrix_spec(settings, series)
    dense = history(sales, features, cutoff, settings.steps)
    own = [
        model.forecast(features, plan, model.horizon).with_columns(model=pl.lit(model.version))
        for model in models
    ]
    baselines = baseline_forecasts(features, dense, settings.horizon, spec)
    return pl.concat([*own, baselines], how="diagonal")


@dataclass(frozen=True)
class Cold:
    """Forecasts of series that no training chose: columns FORECAST, `model` and `method`.

    `method` names the analogues. `without` is the number of series that have no forecast.
    """

    rows: pl.DataFrame
    without: int

    @property
    def series(self) -> int:
        """How many series are forecast."""
        return self.rows.select(KEYS).n_unique()


def cold_forecasts(settings: Settings, snapshot: str, model: Forecaster) -> Cold:
    """Forecasts of a snapshot's other series, from what is like them and from their own days."""
    taken = read_snapshot(Path(snapshot))
    cutoff, sales, series = taken.cutoff, taken.sales(), taken.series()
    days = settings.series_active_days
    found = beside(sales.lazy(), series, active_days=days, steps=settings.steps)
    known = features_as_known(settings, series, [cutoff])
    plan = pl.DataFrame(schema=pl.Schema(PLAN))
    guessed = analogue_features(Known.of(known), list(found.own[KEYS].iter_rows()), found.own)
    if guessed.is_empty():
        rows = model.forecast(known.head(1), plan, 1).clear()
    else:
        rows = model.cold_forecast(known, guessed.drop("method"), plan, model.horizon)
    said = guessed.select(*KEYS, "method")
    rows = rows.join(said, on=KEYS, maintain_order="left")
    return Cold(rows.with_columns(model=pl.lit(model.version)), len(found.without))


def digest(forecasts: pl.DataFrame) -> str:
    """SHA-256 of forecasts (columns FORECAST), whatever the order of their rows."""
    rows = forecasts.select(FORECAST).sort(*KEYS, "cutoff", "ds")
    return hashlib.sha256(rows.write_csv().encode()).hexdigest()


def plan_gaps(snapshot: str, horizon: int, steps: Steps) -> tuple[list[date], pl.DataFrame]:
    """What a snapshot's promotion plan lacks: whole target steps, and cells without a number.

    See models.grid; all of it counts as unpromoted, and without a plan nothing is lacking.
    """
    taken = read_snapshot(Path(snapshot))
    plan = taken.plan()
    return unplanned_steps(plan, taken.cutoff, horizon, steps), missing_cells(plan)
