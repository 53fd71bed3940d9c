"""Forecasts of all series at once, with the baselines beside them."""

from pathlib import Path

import polars as pl

from data.settings import Settings
from models.assembly import features_as_known, matrix_spec, read_snapshot
from models.baselines import baseline_forecasts
from models.dataset import history
from models.forecaster import Forecaster


def batch_forecasts(settings: Settings, snapshot: str, champion: Forecaster) -> pl.DataFrame:
    """Forecasts from a snapshot's cutoff: the columns FORECAST and `model`.

    `model` is the champion's version or a baseline's name; baselines have no quantiles.
    """
    folder = Path(snapshot)
    _, cutoff, sales, series = read_snapshot(folder)
    features = features_as_known(settings, series, [cutoff])
    plan = pl.read_parquet(folder / "plan.parquet")
    spec = matrix_spec(settings, series)
    dense = history(sales, features, cutoff, settings.closed_days)
    own = champion.forecast(features, plan, champion.horizon)
    baselines = baseline_forecasts(features, dense, champion.horizon, spec)
    return pl.concat([own.with_columns(model=pl.lit(champion.version)), baselines], how="diagonal")
