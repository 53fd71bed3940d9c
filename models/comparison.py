"""Paired evidence: two models on the same rows, neither of which has seen them."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from data.schema import KEYS


@dataclass(frozen=True)
class Comparison:
    """Loss of a challenger over that of the champion, with its upper 95 % bound."""

    ratio: float
    ratio_upper: float
    rows: int


def compare(
    challenger: pl.DataFrame, champion: pl.DataFrame, scales: pl.DataFrame, *, draws: int, seed: int
) -> Comparison:
    """Ratio of scaled squared errors, bootstrapped over series (clusters), one-sided 95 %.

    Both frames have (store_id, item_id, ds, y, y_hat); only rows in both with an actual count.
    `scales` is the series level of models.metrics.level_scales. Raises ValueError when the frames
    share no row: a missing score is no evidence.
    """
    on = [*KEYS, "cutoff", "ds"]
    rows = challenger.filter(pl.col("y").is_not_null()).join(
        champion.select(*on, champion_y_hat="y_hat"), on=on
    )
    if rows.is_empty():
        raise ValueError("Challenger and champion share no forecast day; there is no evidence.")
    node = pl.concat_str([pl.lit(""), *KEYS], separator="/").alias("node")
    losses = (
        rows.with_columns(node)
        .join(scales, on="node")
        .group_by("node")
        .agg(
            new=(((pl.col("y") - pl.col("y_hat")) ** 2) / pl.col("scale") * pl.col("weight")).sum(),
            old=(
                ((pl.col("y") - pl.col("champion_y_hat")) ** 2) / pl.col("scale") * pl.col("weight")
            ).sum(),
        )
        .sort("node")
    )
    new, old = losses["new"].to_numpy(), losses["old"].to_numpy()
    rng = np.random.default_rng(seed)
    sample = rng.integers(0, len(new), size=(draws, len(new)))
    ratios = new[sample].sum(axis=1) / old[sample].sum(axis=1)
    return Comparison(float(new.sum() / old.sum()), float(np.quantile(ratios, 0.95)), rows.height)
