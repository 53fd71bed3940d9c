"""Purchases of a few households, to make worlds of."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from benchmarks.worlds import Base
from data.schema import KEYS, PLAN

FIRST = date(2017, 8, 28)


def base(
    households: int = 60, stores: int = 10, items: int = 4, *, first: date = FIRST, days: int = 126
) -> Base:
    """Every household buys something on every third day in one store; every item is promoted."""
    rng = np.random.default_rng(0)
    trips = pl.DataFrame(
        [
            {
                "household": h,
                "store_id": f"s{h % stores}",
                "item_id": f"i{i}",
                "ds": first + timedelta(days=d),
                "y": float(rng.integers(1, 4 + 4 * i)),
                "amount": float(rng.integers(2, 9)),
                "discount": 0.5,
            }
            for h in range(households)
            for d in range(h % 3, days, 3)
            for i in range(items)
        ]
    )
    each = pl.date_range(first, first + timedelta(days=days), "1d", eager=True).alias("ds")
    plan = trips.select(KEYS).unique().sort(KEYS).join(each.to_frame(), how="cross")
    known = datetime(first.year, first.month, 1, tzinfo=UTC) - timedelta(weeks=4)
    plan = plan.with_columns(display=2.0, mailer=1.0, known_at=pl.lit(known))
    return Base(trips, plan.cast(pl.Schema(PLAN)).select(*PLAN))
