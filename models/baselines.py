"""The forecasts that a model has to beat, from the same features and history."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from data.schema import KEYS, WEEK
from data.steps import Steps
from models.dataset import (
    INPUTS,
    Matrix,
    MatrixSpec,
    Rows,
    actuals,
    cutoff_dates,
    dense_grid,
    design_matrix,
    target_days,
)

NAIVE = "naive"
SEASONAL_NAIVE = "seasonal naive"
MOVING_AVERAGE = "moving average 56"
WEEKDAY_MEAN = "weekday mean"
LEVEL_BY_WEEKDAY = "level x weekday"
SEASONAL_SMOOTHING = "seasonal smoothing"

SIMPLE = (NAIVE, SEASONAL_NAIVE, "moving average 28", MOVING_AVERAGE, WEEKDAY_MEAN)
STATISTICAL = (SEASONAL_SMOOTHING, "simple smoothing", "Croston", "TSB", "ADIDA", "IMAPA")
BASELINES = (*SIMPLE, LEVEL_BY_WEEKDAY, *STATISTICAL)
PUBLISHED = (SEASONAL_NAIVE, MOVING_AVERAGE, SEASONAL_SMOOTHING)


def baseline_forecasts(
    features: pl.DataFrame,
    history: pl.DataFrame,
    horizon: int,
    spec: MatrixSpec,
    models: Sequence[str] = PUBLISHED,
) -> pl.DataFrame:
    """Forecasts of baselines: (store_id, item_id, cutoff, ds, step, y_hat, model).

    `features` and `history` (dense, see models.dataset.history) are those of one cutoff; `models`
    are names of BASELINES. Every method knows the closed days, as the boosters do: 0.
    """
    grid = target_days(features, horizon, spec.steps)
    x, closed = design_matrix(features, pl.DataFrame(), horizon, spec)
    values = _simple(x, features, horizon)
    if spec.steps.season > len(WEEK):  # further back than the lags among the features
        ago = _season_ago(grid, history, spec)
        values[SEASONAL_NAIVE] = np.where(ago.is_null(), values[NAIVE], ago.fill_null(0.0))
    wanted = [m for m in models if m in STATISTICAL]
    if wanted:
        fitted = statistical_forecasts(
            regular(history, features, spec), KEYS, horizon, wanted, spec.steps
        )
        joined = grid.join(fitted, on=[*KEYS, "ds"], how="left", maintain_order="left")
        values |= {model: joined[model].to_numpy() for model in wanted}
    return pl.concat(
        grid.with_columns(
            y_hat=pl.Series(np.where(closed, 0.0, values[model])), model=pl.lit(model)
        )
        for model in models
    )


def _simple(x: Rows, features: pl.DataFrame, horizon: int) -> dict[str, Matrix]:
    """Baselines that need no fit; the last one is a level times the weekdays of the store."""

    def column(name: str) -> Matrix:
        return x[:, INPUTS.index(name)].astype(np.float64)

    level = 0.6 * column("mean_56") + 0.4 * column("mean_28")
    return {
        NAIVE: np.repeat(features["lag_1"].to_numpy(), horizon),
        SEASONAL_NAIVE: column("lag"),
        "moving average 28": column("mean_28"),
        MOVING_AVERAGE: column("mean_56"),
        WEEKDAY_MEAN: column("dow_mean"),
        LEVEL_BY_WEEKDAY: level * column("store_dow_index"),
    }


def _season_ago(grid: pl.DataFrame, history: pl.DataFrame, spec: MatrixSpec) -> pl.Series:
    """Units a season before each target step; null where the series is younger or it was closed."""
    ago = pl.col("ds") - pl.duration(days=spec.steps.season * spec.steps.days)
    past = history.select(*KEYS, "ds", "y")
    return grid.with_columns(ago).join(past, on=[*KEYS, "ds"], how="left", maintain_order="left")[
        "y"
    ]


def statistical_forecasts(
    frame: pl.DataFrame,
    keys: list[str],
    horizon: int,
    names: Sequence[str],
    steps: Steps,
    *,
    processes: int = 1,
) -> pl.DataFrame:
    """Forecasts of statsforecast's methods per node: (keys, ds, one column per name), never < 0.

    `frame` holds keys, ds and y without a gap from the first day of each node; a node that a method
    can't be fitted to gets its mean.
    """
    from statsforecast import StatsForecast
    from statsforecast import models as library

    methods = {
        SEASONAL_SMOOTHING: library.SeasonalExponentialSmoothingOptimized(
            season_length=steps.season
        ),
        "simple smoothing": library.SimpleExponentialSmoothingOptimized(),
        "Croston": library.CrostonOptimized(),
        "TSB": library.TSB(alpha_d=0.1, alpha_p=0.1),
        "ADIDA": library.ADIDA(),
        "IMAPA": library.IMAPA(),
        "AutoETS": library.AutoETS(season_length=steps.season),
    }
    for name, method in methods.items():
        method.alias = name
    nodes = frame.select(keys).unique(maintain_order=True).with_row_index("unique_id")
    long = frame.join(nodes, on=keys).select("unique_id", "ds", "y")
    fit = StatsForecast(
        models=[methods[name] for name in names],
        freq=f"{steps.days}d",
        n_jobs=processes,
        fallback_model=library.HistoricAverage(),
    )
    forecasts: pl.DataFrame = fit.forecast(df=long, h=horizon)
    return forecasts.join(nodes, on="unique_id").select(
        *keys, "ds", pl.col(names).fill_nan(0).clip(0)
    )


def regular(history: pl.DataFrame, features: pl.DataFrame, spec: MatrixSpec) -> pl.DataFrame:
    """The history with closed steps put back as a season ago, since the method needs a season."""
    cutoff: date = cutoff_dates(features)[0]
    grid = dense_grid(history, cutoff, spec.steps)
    dense = actuals(grid, history, until=cutoff, steps=spec.steps)
    y, season = pl.col("y"), spec.steps.season
    return dense.with_columns(y=pl.coalesce(y, y.shift(season).over(KEYS), y.mean().over(KEYS)))
