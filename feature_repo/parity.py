"""Proof that the online store serves what the offline store would have trained on."""

import polars as pl

from data.schema import DEMAND_FEATURES, KEYS, PROVENANCE, STORE_FEATURES


def parity(online: pl.DataFrame, offline: pl.DataFrame) -> pl.DataFrame:
    """Per feature: series compared, series that differ, largest absolute difference.

    Both frames hold one row per (store_id, item_id). Two missing values are equal, one is not.
    """
    both = online.join(offline, on=KEYS, suffix="_offline", how="full", coalesce=True)
    rows = []
    for name in [*PROVENANCE, *DEMAND_FEATURES, *STORE_FEATURES]:
        left, right = pl.col(name), pl.col(f"{name}_offline")
        differs = both.select((~left.eq_missing(right)).sum()).item()
        gap = None if name in PROVENANCE else both.select((left - right).abs().max()).item()
        rows.append((name, both.height, differs, gap))
    schema = {"feature": pl.String, "series": pl.Int64, "different": pl.Int64, "gap": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")
