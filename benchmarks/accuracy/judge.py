"""From forecasts and actuals to errors per node, their sums over groups, and intervals."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from data.schema import KEYS
from models.metrics import LEVELS, aggregate, levels_of

HEADLINE = [level for level in LEVELS if level != "department"]  # the five of the mean
GROUP = ["model", "cutoff", "level", "node", "lead_week"]
DRAWS = 1000
LEAST_ORIGINS = 8  # that an interval which counts may rest on


def errors(rows: pl.DataFrame) -> pl.DataFrame:
    """Sums of errors (GROUP, n, sse, sae, y, y_hat) of one model and cutoff at every level.

    `rows`: store_id, item_id, cutoff, ds, step, y, y_hat, model. Days without an actual are out.
    """
    open_rows = rows.filter(pl.col("y").is_not_null())
    nodes = [
        aggregate(open_rows, by, ["y", "y_hat"]).with_columns(level=pl.lit(level))
        for level, by in levels_of(rows).items()
    ]
    return node_sums(pl.concat(nodes), rows["model"][0], rows["cutoff"][0])


def node_sums(nodes: pl.DataFrame, model: str, cutoff: object) -> pl.DataFrame:
    """Sums per node and lead week of (level, node, ds, y, y_hat)."""
    error = pl.col("y") - pl.col("y_hat")
    week = (pl.col("ds") - pl.lit(cutoff)).dt.total_days().sub(1).floordiv(7).add(1)
    return (
        nodes.with_columns(model=pl.lit(model), cutoff=pl.lit(cutoff), lead_week=week)
        .group_by(GROUP)
        .agg(
            n=pl.len(),
            sse=(error**2).sum(),
            sae=error.abs().sum(),
            y=pl.col("y").sum(),
            y_hat=pl.col("y_hat").sum(),
        )
    )


def scale_table(scales: dict[str, pl.DataFrame], cutoff: object) -> pl.DataFrame:
    """Scales of models.metrics.level_scales as one frame with cutoff and level."""
    return pl.concat(
        frame.with_columns(level=pl.lit(level), cutoff=pl.lit(cutoff))
        for level, frame in scales.items()
    )


def scaled(sums: pl.DataFrame, scales: pl.DataFrame, by: Sequence[str] = ()) -> pl.DataFrame:
    """RMSSE, MASE and weight per model, cutoff, level and node, and per column of `by`."""
    keys = ["model", "cutoff", "level", "node", *by]
    total = sums.group_by(keys).agg(pl.col("n", "sse", "sae", "y", "y_hat").sum())
    return total.join(scales, on=["cutoff", "level", "node"]).with_columns(
        rmsse=(pl.col("sse") / pl.col("n") / pl.col("scale")).sqrt(),
        mase=pl.when(pl.col("seasonal") > 0).then(pl.col("sae") / pl.col("n") / pl.col("seasonal")),
    )


def figures(nodes: pl.DataFrame, by: Sequence[str] = ()) -> pl.DataFrame:
    """Per model and level, mean over cutoffs: wrmsse, rmsse, mase; pooled: wape and bias."""
    weighted = (pl.col("rmsse") * pl.col("weight")).sum() / pl.col("weight").sum()
    per_cutoff = nodes.group_by("model", "level", "cutoff", *by).agg(
        wrmsse=weighted,
        rmsse=pl.col("rmsse").mean(),
        mase=pl.col("mase").mean(),
        **{c: pl.col(c).sum() for c in ("sae", "y", "y_hat")},
    )
    return (
        per_cutoff.group_by("model", "level", *by)
        .agg(
            pl.col("wrmsse", "rmsse", "mase").mean(),
            wape=pl.col("sae").sum() / pl.col("y").sum(),
            bias=pl.col("y_hat").sum() / pl.col("y").sum() - 1,
        )
        .sort("level", "wrmsse")
    )


def ratio_interval(
    nodes: pl.DataFrame, levels: Sequence[str], model: str, other: str, *, seed: int
) -> tuple[float, float, float]:
    """Mean WRMSSE over levels of `model` over that of `other`, with its 95 % interval."""
    return interval(nodes, levels, [model, other], lambda loss: loss[0] / loss[1], seed=seed)


def interval(
    nodes: pl.DataFrame,
    levels: Sequence[str],
    models: Sequence[str],
    figure: Callable[[list[float]], float],
    *,
    seed: int,
) -> tuple[float, float, float]:
    """A figure of the models' mean WRMSSE over levels, in their order, with its 95 % interval.

    Bootstrapped over two kinds of clusters at once, the nodes of each level and the origins: days
    of one node, and nodes of one day, err together. Only what all have at an origin counts.
    """
    tables = [_paired(nodes, level, models) for level in levels]

    def drawn_figure(drawn: Sequence[np.ndarray], origin: np.ndarray) -> float:
        loss = [0.0] * len(models)
        for node, (weight, *errors) in zip(drawn, tables, strict=True):
            below = node @ weight
            for k, error in enumerate(errors):
                loss[k] += float((node @ error / below) @ origin)
        return figure(loss)

    rng = np.random.default_rng(seed)

    def draw(n: int) -> np.ndarray:
        return np.bincount(rng.integers(0, n, n), minlength=n).astype(float)

    heights, origins = [len(table[0]) for table in tables], tables[0][0].shape[1]
    draws = [drawn_figure([draw(n) for n in heights], draw(origins)) for _ in range(DRAWS)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    whole = drawn_figure([np.ones(n) for n in heights], np.ones(origins))
    return whole, float(low), float(high)


def origins(nodes: pl.DataFrame, level: str, models: Sequence[str]) -> int:
    """Origins at which all the models were judged at a level."""
    rows = nodes.filter((pl.col("level") == level) & pl.col("model").is_in(list(models)))
    judged = rows.group_by("cutoff").agg(pl.col("model").n_unique())
    return judged.filter(pl.col("model") == len(models)).height


def _paired(nodes: pl.DataFrame, level: str, models: Sequence[str]) -> list[np.ndarray]:
    """Weights (nodes, origins) of a level, and the weighted errors of each model."""
    rows = nodes.filter((pl.col("level") == level) & pl.col("model").is_in(list(models)))
    pairs = rows.pivot(on="model", index=["cutoff", "node", "weight"], values="rmsse")
    pairs = pairs.drop_nulls().sort("cutoff", "node")

    def table(value: pl.Expr) -> np.ndarray:
        wide = pairs.with_columns(v=value).pivot(on="cutoff", index="node", values="v")
        return wide.sort("node").drop("node").fill_null(0.0).to_numpy()

    weight = pl.col("weight")
    return [table(weight), *(table(pl.col(model) * weight) for model in models)]


def tiers_of(features: pl.DataFrame) -> pl.DataFrame:
    """Volume tier 1 (least) … 5 of each series by its mean day of the last 8 weeks."""
    return features.select(
        *KEYS, tier=(pl.col("mean_56").rank("ordinal") * 5 / pl.len()).ceil().cast(pl.Int32)
    )


def worst_bias(rows: pl.DataFrame, group: pl.Expr, least_share: float = 0.0) -> float:
    """Largest |sum of forecasts / sum of actuals - 1| over groups with a share of the units."""
    open_rows = rows.filter(pl.col("y").is_not_null())
    sums = open_rows.group_by(group.alias("group")).agg(pl.col("y", "y_hat").sum())
    big = sums.filter(pl.col("y") >= least_share * pl.col("y").sum())
    return float(big.select((pl.col("y_hat") / pl.col("y") - 1).abs().max()).item())
