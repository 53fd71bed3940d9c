"""The forecasts that a model has to beat, from the same features and history."""

from datetime import date

import numpy as np
import polars as pl

from data.schema import KEYS
from models.dataset import (
    INPUTS,
    MatrixSpec,
    actuals,
    cutoff_dates,
    daily_grid,
    design_matrix,
    target_days,
)

SEASONAL_NAIVE = "seasonal naive"
MOVING_AVERAGE = "moving average 56"
SEASONAL_SMOOTHING = "seasonal smoothing"
BASELINES = (SEASONAL_NAIVE, MOVING_AVERAGE, SEASONAL_SMOOTHING)


def baseline_forecasts(
    features: pl.DataFrame, history: pl.DataFrame, horizon: int, spec: MatrixSpec
) -> pl.DataFrame:
    """Forecasts of every baseline: (store_id, item_id, cutoff, ds, step, y_hat, model).

    `features` and `history` (dense, see models.dataset.history) are those of one cutoff. Every
    method knows the closed days, as the boosters do: 0.
    """
    grid = target_days(features, horizon)
    x, closed = design_matrix(features, pl.DataFrame(), horizon, spec)
    smoothed = _seasonal_smoothing(history, features, horizon, spec)
    values = {
        SEASONAL_NAIVE: x[:, INPUTS.index("lag")],
        MOVING_AVERAGE: x[:, INPUTS.index("mean_56")],
        SEASONAL_SMOOTHING: grid.join(smoothed, on=[*KEYS, "step"], how="left")["y_hat"].to_numpy(),
    }
    return pl.concat(
        grid.with_columns(y_hat=pl.Series(np.where(closed, 0.0, y_hat)), model=pl.lit(model))
        for model, y_hat in values.items()
    )


def _seasonal_smoothing(
    history: pl.DataFrame, features: pl.DataFrame, horizon: int, spec: MatrixSpec
) -> pl.DataFrame:
    """Seasonal exponential smoothing with a fitted weight per series, weekly season."""
    from statsforecast import StatsForecast
    from statsforecast.models import HistoricAverage, SeasonalExponentialSmoothingOptimized

    cutoff: date = cutoff_dates(features)[0]
    series = features.select(KEYS).with_row_index("unique_id")
    frame = _regular(history, cutoff, spec.closed_days).join(series, on=KEYS)
    library = StatsForecast(
        models=[SeasonalExponentialSmoothingOptimized(season_length=7)],
        freq="1d",
        fallback_model=HistoricAverage(),
    )
    forecasts: pl.DataFrame = library.forecast(df=frame.select("unique_id", "ds", "y"), h=horizon)
    return (
        forecasts.join(series, on="unique_id")
        .with_columns(
            step=(pl.col("ds") - cutoff).dt.total_days().cast(pl.Int32),
            y_hat=pl.col("SeasESOpt").fill_nan(0).clip(0),
        )
        .select(*KEYS, "step", "y_hat")
    )


def _regular(history: pl.DataFrame, cutoff: date, closed_days: tuple[str, ...]) -> pl.DataFrame:
    """The history with closed days put back as the week before, since the method needs a season."""
    grid = daily_grid(history, cutoff)
    dense = actuals(grid, history, until=cutoff, closed_days=closed_days)
    return dense.with_columns(
        y=pl.coalesce("y", pl.col("y").shift(7).over(KEYS), pl.col("y").mean().over(KEYS))
    )
