"""Series that no training chose: the features of their own days, and why some have no forecast."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import polars as pl

from data.schema import KEYS, PLAN
from data.steps import Steps
from feature_repo.transforms import demand_features


@dataclass(frozen=True)
class Beside:
    """Series of a snapshot's sales that are not among those that were chosen.

    `own` (KEYS, DEMAND_FEATURES) are features at the cutoff of those that can be forecast from what
    is like them; `without` says of each other one why it can't.
    """

    own: pl.DataFrame
    without: dict[tuple[str, str], str]

    @cached_property
    def at(self) -> dict[tuple[str, str], int]:
        """The row in `own` of each series of it."""
        return {(s, i): n for n, (s, i) in enumerate(self.own[KEYS].iter_rows())}


def beside(sales: pl.LazyFrame, series: pl.DataFrame, *, active_days: int, steps: Steps) -> Beside:
    """The series of `sales` (schema SALES, up to the cutoff) that are not among `series` (KEYS).

    One can be forecast that has sold within `active_days` of the last day of sales, as those must
    that training chooses, in a store or of an item that was chosen. What was promoted of them is
    not known: those features are null.
    """
    cutoff: date = (
        sales.select(pl.col("ds").max()).collect().item() or date.max
    )  # without sales any
    others = sales.join(series.lazy(), on=KEYS, how="anti").collect()
    since = pl.lit(cutoff, pl.Date) - pl.duration(days=active_days)
    last = (
        others.group_by(KEYS)
        .agg(last=pl.col("ds").filter(pl.col("y") > 0).max())
        .with_columns(
            why=pl.when(pl.col("last").is_null())
            .then(pl.lit("has never sold anything"))
            .when(pl.col("last") <= since)
            .then(pl.format("has sold nothing since {}", "last"))
            .when(~_known("store_id", series) & ~_known("item_id", series))
            .then(pl.lit("has a store and an item of which the model learnt no series"))
        )
        .sort(KEYS)
    )
    chosen, rest = last.filter(pl.col("why").is_null()), last.filter(pl.col("why").is_not_null())
    plan = pl.DataFrame(schema=pl.Schema(PLAN))
    own = demand_features(others, plan, chosen, cutoff, steps)
    unknown = [pl.lit(None, pl.Float64).alias(c) for c in ("display_28", "mailer_28")]
    return Beside(
        own=own.with_columns(unknown),
        without={(s, i): why for s, i, why in rest.select(*KEYS, "why").iter_rows()},
    )


def _known(name: str, series: pl.DataFrame) -> pl.Expr:
    return pl.col(name).is_in(series[name].unique().to_list())
