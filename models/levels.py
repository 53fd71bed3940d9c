"""Forecasts of a store, an item or the whole chain: means add up, quantiles come from paths."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import KEYS, QUANTILE_COLUMNS, QUANTILES, quantile_column
from models.conformal import Calibration
from models.dataset import Matrix
from models.metrics import DEPARTMENT, LEVELS
from models.paths import DRAWS, SEED, Dependence, Draws, sample


def _rectangle(forecasts: pl.DataFrame) -> tuple[pl.DataFrame, Matrix]:
    """Keys and cutoff of each series, and its forecasts (n, steps) by step 1, 2, …."""
    rows = forecasts.sort(*KEYS, "cutoff", "step")
    series = rows.select(*KEYS, "cutoff").unique(maintain_order=True)
    return series, rows["y_hat"].to_numpy().reshape(series.height, -1)


def _length(forecasts: pl.DataFrame) -> timedelta:
    """How long a step of the forecasts is."""
    ds, cutoff, step = forecasts.select("ds", "cutoff", "step").row(0)
    length: timedelta = (ds - cutoff) / step
    return length


def _quantiles(draws: Draws, levels: Sequence[float]) -> Matrix:
    """Quantiles (…, levels) of draws (…, draws): the draw of rank ceil(q n)."""
    n = draws.shape[-1]
    rank = np.clip(np.ceil(n * np.asarray(levels)).astype(int) - 1, 0, n - 1)
    return np.sort(draws, axis=-1)[..., rank].astype(np.float64)


def level_forecast(
    forecasts: pl.DataFrame,
    calibration: Calibration,
    dependence: Dependence,
    level: str,
    *,
    draws: int = DRAWS,
) -> pl.DataFrame:
    """Forecasts per node of a level: node, its keys, cutoff, ds, step, y_hat, quantiles.

    `forecasts` (schema FORECAST, the same steps 1, 2, … of every series) holds every series of the
    nodes: a store's forecast is the sum of the series that are given. `level` is a key of
    models.metrics.LEVELS. The quantiles of all levels come from the same `draws` sample paths, as
    quantiles do not add up; a node of one series has that series' own quantiles. Raises ValueError
    for an unknown level.
    """
    series, y_hat = _rectangle(forecasts)
    nodes, at = _nodes(series, level)
    mean = _sums(y_hat, at, nodes.height)
    steps = y_hat.shape[1]
    bands = np.zeros((nodes.height, steps, len(QUANTILES)))
    alone = np.bincount(at, minlength=nodes.height)[at] == 1
    own = forecasts.sort(*KEYS, "cutoff", "step").select(QUANTILE_COLUMNS).to_numpy()
    bands[at[alone]] = own.reshape(len(at), steps, -1)[alone]
    together, among = np.unique(at[~alone], return_inverse=True)
    several = _pairs(series.filter(~alone))
    paths = sample(several, y_hat[~alone], calibration, dependence, draws=draws)
    summed = _summed(paths, among, (len(together), steps, draws))
    for k, n in enumerate(together):
        bands[n] = _quantiles(summed[k], QUANTILES)
    return _frame(nodes, LEVELS[level], mean, bands, _length(forecasts))


def level_pit(
    scored: pl.DataFrame,
    calibration: Calibration,
    dependence: Dependence,
    level: str,
    *,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Matrix:
    """Randomised probability integral transform (nodes, steps) of what the nodes of a level sold.

    `scored` are forecasts as in level_forecast with their actuals `y`; NaN on days without one.
    The rank of the actual among the sample paths, drawn at random among equals: uniform when the
    paths are right, for counts of any size; see models.conformal.pit.
    """
    series, y_hat = _rectangle(scored)
    nodes, at = _nodes(series, level)
    y = scored.sort(*KEYS, "cutoff", "step")["y"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    sold = _sums(y.reshape(y_hat.shape), at, nodes.height)
    paths = sample(_pairs(series), y_hat, calibration, dependence, draws=draws)
    summed = _summed(paths, at, (*sold.shape, draws))
    below = (summed < sold[..., None]).sum(axis=2)
    equal = (summed == sold[..., None]).sum(axis=2) + 1
    v = np.random.default_rng(seed).uniform(size=sold.shape)
    return np.where(np.isnan(sold), np.nan, (below + v * equal) / (draws + 1))


def _nodes(series: pl.DataFrame, level: str) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """The nodes of a level (cutoff, keys), and the number of the node of each series."""
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no level; the levels are {', '.join(LEVELS)}.")
    keys = ["cutoff", *LEVELS[level]]
    series = series.with_columns(department=DEPARTMENT)
    nodes = series.select(keys).unique().sort(keys)
    at = series.join(nodes.with_row_index("n"), on=keys, how="left", maintain_order="left")["n"]
    return nodes, at.to_numpy().astype(np.int64)


def _pairs(series: pl.DataFrame) -> list[tuple[str, str]]:
    return list(series.select(KEYS).iter_rows())


def _sums(values: Matrix, at: NDArray[np.int64], nodes: int) -> Matrix:
    """Sums (nodes, steps) of the rows (series, steps) of each node."""
    result = np.zeros((nodes, values.shape[1]))
    np.add.at(result, at, values)
    return result


def _summed(
    paths: Iterator[tuple[int, Draws]], at: NDArray[np.int64], shape: tuple[int, int, int]
) -> Draws:
    """Sums (nodes, steps, draws) of the paths of each node's series."""
    result = np.zeros(shape, dtype=np.float32)
    for row, path in paths:
        result[at[row]] += path
    return result


def _frame(
    nodes: pl.DataFrame, keys: list[str], mean: Matrix, bands: Matrix, length: timedelta
) -> pl.DataFrame:
    steps = mean.shape[1]
    flat = bands.reshape(-1, len(QUANTILES))
    return (
        nodes.with_columns(
            node=pl.concat_str([pl.lit(""), *keys], separator="/"),
            step=pl.int_ranges(1, steps + 1, dtype=pl.Int32),
        )
        .explode("step")
        .with_columns(
            ds=pl.col("cutoff") + pl.lit(length) * pl.col("step"),
            y_hat=pl.Series(mean.ravel()),
        )
        .select("node", *keys, "cutoff", "ds", "step", "y_hat")
        .with_columns(pl.Series(c, flat[:, i]) for i, c in enumerate(QUANTILE_COLUMNS))
    )


def sum_quantiles(
    forecasts: pl.DataFrame,
    calibration: Calibration,
    dependence: Dependence,
    levels: Sequence[float],
    *,
    first_step: int = 1,
    draws: int = 2 * DRAWS,
) -> pl.DataFrame:
    """Units of each series over all steps from `first_step`: mean and quantiles of the sum.

    What an order has to cover: the quantile of the sum over a lead time at a one-sided service
    level, any number between 0 and 1, as `q0.95`. `forecasts` as in level_forecast. Columns
    store_id, item_id, cutoff, first_ds, last_ds, y_hat and one per level.
    """
    series, y_hat = _rectangle(forecasts)
    bands = np.zeros((series.height, len(levels)))
    pairs = list(series.select(KEYS).iter_rows())
    for row, path in sample(pairs, y_hat, calibration, dependence, draws=draws):
        bands[row] = _quantiles(path[first_step - 1 :].sum(axis=0), levels)
    length = _length(forecasts)
    return series.with_columns(
        first_ds=pl.col("cutoff") + length * first_step,
        last_ds=pl.col("cutoff") + length * y_hat.shape[1],
        y_hat=pl.Series(y_hat[:, first_step - 1 :].sum(axis=1)),
    ).with_columns(pl.Series(quantile_column(q), bands[:, i]) for i, q in enumerate(levels))
