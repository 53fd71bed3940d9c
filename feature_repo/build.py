"""Feature rows of a cutoff from everything the warehouse holds, cut down to what was known."""

from datetime import date, datetime, timedelta

import polars as pl

from data.schema import KEYS
from data.steps import Steps
from feature_repo.transforms import demand_features, store_features


def known_versions(versions: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The newest version of each (store_id, item_id, ds) with `known_at` not after `as_of`.

    `versions` holds every version (schema SALES or PLAN), in the order of their publication.
    """
    known = versions.filter(pl.col("known_at") <= as_of)
    return known.sort("known_at", maintain_order=True).unique(
        [*KEYS, "ds"], keep="last", maintain_order=True
    )


def feature_rows(
    sales: pl.DataFrame,
    plan: pl.DataFrame,
    series: pl.DataFrame,
    *,
    cutoff: date,
    snapshot_id: str,
    steps: Steps,
) -> dict[str, pl.DataFrame]:
    """Rows of every feature view as of one cutoff, by view; `sales` and `plan` as known then."""
    sales = sales.filter(pl.col("ds") <= cutoff)
    # The past plan: what is ahead joins by target day, not as a feature of the cutoff.
    plan = plan.filter(pl.col("ds").is_between(cutoff - timedelta(days=28), cutoff))
    demand = demand_features(sales, plan, series, cutoff, steps)
    provenance = [
        pl.lit(str(cutoff)).alias("cutoff"),
        pl.lit(snapshot_id).alias("snapshot_id"),
    ]
    return {
        "demand": demand.with_columns(provenance),
        "store_demand": store_features(sales, series, cutoff, steps),
    }


def feature_rows_as_known(
    sales_versions: pl.DataFrame,
    plan_versions: pl.DataFrame,
    series: pl.DataFrame,
    *,
    cutoff: date,
    as_of: datetime,
    snapshot_id: str,
    steps: Steps,
) -> dict[str, pl.DataFrame]:
    """Rows of every feature view as of a cutoff, from what of all versions was known at `as_of`."""
    recent = pl.col("ds").is_between(cutoff - timedelta(days=28), cutoff)
    return feature_rows(
        known_versions(sales_versions, as_of),
        known_versions(plan_versions.filter(recent), as_of),
        series,
        cutoff=cutoff,
        snapshot_id=snapshot_id,
        steps=steps,
    )
