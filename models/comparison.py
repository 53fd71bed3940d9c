"""Paired evidence: two models on the same rows, neither of which has seen them."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import KEYS
from models.metrics import DEPARTMENT

Matrix = NDArray[np.float64]

DRAWS = 2000
ON = [*KEYS, "cutoff", "ds"]
SLICES = ("department", "store decile", "volume decile", "promoted")


@dataclass(frozen=True)
class Comparison:
    """Loss of a challenger over that of the champion, with its 95 % bound (one-sided, upper).

    `slices` has (slice, value, ratio, lower): per slice the ratio and its one-sided lower bound.
    """

    ratio: float
    ratio_upper: float
    rows: int
    origins: int
    blocks: int
    slices: pl.DataFrame


def paired_losses(
    challenger: pl.DataFrame, champion: pl.DataFrame, scales: pl.DataFrame
) -> pl.DataFrame:
    """Scaled squared errors of both, `new` and `old`, on the rows that have an actual.

    Both frames have (store_id, item_id, cutoff, ds, y_hat), the challenger's `y` as well. `scales`
    is (store_id, item_id, cutoff, scale, weight). Raises ValueError unless both give a number for
    the same series and days: without the rows that a model left out its loss would be less.
    """
    both = challenger.join(
        champion.select(*ON, champion_y_hat="y_hat"), on=ON, how="full", coalesce=True
    )
    _require_numbers(both)
    rows = both.filter(pl.col("y").is_not_null()).join(scales, on=[*KEYS, "cutoff"])
    per_unit = pl.col("weight") / pl.col("scale")
    return rows.with_columns(
        new=(pl.col("y") - pl.col("y_hat")) ** 2 * per_unit,
        old=(pl.col("y") - pl.col("champion_y_hat")) ** 2 * per_unit,
    )


def _require_numbers(both: pl.DataFrame) -> None:
    for model, y_hat in (("challenger", "y_hat"), ("champion", "champion_y_hat")):
        lacking = both.filter(~pl.col(y_hat).is_finite().fill_null(False)).sort(ON)
        if not lacking.is_empty():
            store, item, cutoff, ds = lacking.select(ON).row(0)
            raise ValueError(
                f"The {model} has no number for {lacking.height} of {both.height} forecasts, the "
                f"first that of {store}/{item} for {ds} from {cutoff}, so the models can't be "
                "compared; look at that series' features and train again."
            )


def scales_of(rows: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
    """Scale and weight of the series of `rows` by cutoff: (store_id, item_id, cutoff, …).

    `series` is the level of that name of models.metrics.level_scales.
    """
    node = pl.concat_str([pl.lit(""), *KEYS], separator="/").alias("node")
    keyed = rows.select(*KEYS, "cutoff").unique().with_columns(node)
    return keyed.join(series, on="node").drop("node")


def with_slices(losses: pl.DataFrame, plan: pl.DataFrame) -> pl.DataFrame:
    """The rows with a column per SLICES; deciles by units sold before the origin, 1 the least."""
    planned = plan.filter(pl.col("display") + pl.col("mailer") > 0).select(*KEYS, "ds").unique()
    series = losses.group_by(KEYS).agg(pl.col("weight").mean())
    stores = series.group_by("store_id").agg(pl.col("weight").sum())
    return (
        losses.drop("weight")
        .join(deciles(series, KEYS, "volume decile"), on=KEYS)
        .join(deciles(stores, ["store_id"], "store decile"), on="store_id")
        .join(planned.with_columns(promoted=pl.lit("yes")), on=[*KEYS, "ds"], how="left")
        .with_columns(pl.col("promoted").fill_null("no"), department=DEPARTMENT)
    )


def deciles(units: pl.DataFrame, keys: list[str], name: str) -> pl.DataFrame:
    """The decile of each row by `weight` as (keys, name), "1" the least."""
    rank = (pl.col("weight").rank("ordinal") - 1) * 10 // pl.len() + 1
    return units.select(*keys, rank.cast(pl.Int64).cast(pl.String).alias(name))


def compare(losses: pl.DataFrame, *, seed: int, draws: int = DRAWS) -> Comparison:
    """Ratio of the sums of `new` and `old`, with bounds from a two-way cluster bootstrap.

    Stores and origins (cutoffs) are drawn with replacement, independently, and a row counts as
    often as its store times its origin: errors of one store and of one fit are not independent
    (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1(2), 2007). `losses` may have the
    columns SLICES.
    """
    sums = _sums(losses, pl.lit("all"))
    new, old = sums.pop("all")
    blocks, origins = new.shape
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws).astype(float)
    weeks = rng.multinomial(origins, np.full(origins, 1 / origins), size=draws).astype(float)

    def ratios(new: Matrix, old: Matrix) -> Matrix:
        above, below = (((drawn @ part) * weeks).sum(axis=1) for part in (new, old))
        return np.asarray(np.divide(above, below, out=np.ones(draws), where=below > 0))

    found = [
        (name, value, new.sum() / old.sum(), float(np.quantile(ratios(new, old), 0.05)))
        for name in SLICES
        if name in losses.columns
        for value, (new, old) in sorted(_sums(losses, pl.col(name)).items())
        if old.sum() > 0
    ]
    return Comparison(
        ratio=float(new.sum() / old.sum()),
        ratio_upper=float(np.quantile(ratios(new, old), 0.95)),
        rows=losses.height,
        origins=origins,
        blocks=blocks,
        slices=pl.DataFrame(found, schema=["slice", "value", "ratio", "lower"], orient="row"),
    )


def _sums(losses: pl.DataFrame, slice_by: pl.Expr) -> dict[str, tuple[Matrix, Matrix]]:
    """Per slice the sums of `new` and of `old`, each as a matrix (stores, origins)."""
    blocks = losses["store_id"].unique().sort()
    origins = losses["cutoff"].unique().sort()
    cells = losses.group_by(slice_by.alias("slice"), "store_id", "cutoff").agg(
        pl.col("new", "old").sum()
    )
    tables: dict[str, tuple[Matrix, Matrix]] = {}
    for (value,), rows in cells.group_by("slice"):
        at = (
            blocks.search_sorted(rows["store_id"]).to_numpy(),
            origins.search_sorted(rows["cutoff"]).to_numpy(),
        )
        new, old = np.zeros((2, len(blocks), len(origins)))
        new[at], old[at] = rows["new"].to_numpy(), rows["old"].to_numpy()
        tables[str(value)] = new, old
    return tables
