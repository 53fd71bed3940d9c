"""Models that are wrong, each in its own way."""

from collections.abc import Callable

import polars as pl

Forecast = Callable[[pl.DataFrame, pl.DataFrame, int], pl.DataFrame]


def raises(forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int) -> pl.DataFrame:
    """Forecasts the made-up series of the try-out, and fails on real ones."""
    if features["store_id"][0] != "-":
        raise RuntimeError("no such leaf")
    return forecast(features, plan, h)


def wrong_features(
    forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int
) -> pl.DataFrame:
    """Reads a feature that this server does not have."""
    return forecast(features.filter(pl.col("mean_365") > 0), plan, h)


def negative(
    forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int
) -> pl.DataFrame:
    return forecast(features, plan, h).with_columns(y_hat=pl.lit(-1.0))


def crossed(forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int) -> pl.DataFrame:
    return forecast(features, plan, h).with_columns(pl.col("q0.9").alias("q0.1"))


def short(forecast: Forecast, features: pl.DataFrame, plan: pl.DataFrame, h: int) -> pl.DataFrame:
    return forecast(features, plan, h).head(1)


Make = Callable[..., pl.DataFrame] | None
