"""Feast definitions: the one place that declares entities, sources, views and services.

Only feast is imported here, because the Feast CLI loads this file by its stem, outside the package.
"""

import os
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String

FEATURES_DIR = os.path.join(os.environ.get("SHELFCAST_STATE_DIR", "data/state"), "features")
OWNER = "data-science@shelfcast.example"
# One cutoff a day: a row that is older than a day is not the row that was asked for.
TTL = timedelta(days=1)

store = Entity(
    name="store",
    join_keys=["store_id"],
    value_type=ValueType.STRING,
    description="A shop of the retailer.",
    owner=OWNER,
)
item = Entity(
    name="item",
    join_keys=["item_id"],
    value_type=ValueType.STRING,
    description="What is forecast in a store: a department or a product category.",
    owner=OWNER,
)


def _source(view: str) -> FileSource:
    return FileSource(
        name=f"{view}_source",
        path=os.path.join(FEATURES_DIR, view, "*", "*.parquet"),
        timestamp_field="event_timestamp",
        # When the row could first be known: as-known retrieval filters by it.
        created_timestamp_column="created",
        description=f"Rows of {view}, one folder a cutoff, one file a time of knowledge.",
        owner=OWNER,
    )


demand = FeatureView(
    name="demand",
    entities=[store, item],
    ttl=TTL,
    schema=[
        Field(name="cutoff", dtype=String, description="Last day of sales used, ISO date."),
        Field(name="snapshot_id", dtype=String, description="State of the data it is made from."),
        *(
            Field(name=f"mean_{w}", dtype=Float64, description=f"Units a step, last {w} days.")
            for w in (7, 14, 28, 56, 84)
        ),
        Field(name="mean_ever", dtype=Float64, description="Units a step since the first sale."),
        Field(name="std_28", dtype=Float64, description="Deviation of units a step, 28 days."),
        Field(
            name="zero_share_28",
            dtype=Float64,
            description="Share of steps without a sale.",
        ),
        Field(name="days_since_sale", dtype=Float64, description="Days since the last sale."),
        Field(name="age_days", dtype=Float64, description="Days since the first sale."),
        Field(name="price_28", dtype=Float64, description="Mean price a unit, last 28 days."),
        Field(name="price_ratio", dtype=Float64, description="Price of 7 days over 84 days."),
        Field(name="display_28", dtype=Float64, description="Products on display a step, 28 days."),
        Field(
            name="mailer_28", dtype=Float64, description="Products in the mailer a step, 28 days."
        ),
        *(
            Field(name=f"lag_{k}", dtype=Float64, description=f"Units {k - 1} steps before cutoff.")
            for k in range(1, 8)
        ),
        *(
            Field(
                name=f"dow_mean_{d}",
                dtype=Float64,
                description=f"Units on ISO weekday {d}, 8 weeks.",
            )
            for d in range(1, 8)
        ),
    ],
    source=_source("demand"),
    online=True,
    description="Level, variation, price and weekday profile of one series as of a cutoff.",
    owner=OWNER,
    tags={"grain": "store x item x step"},
)

store_demand = FeatureView(
    name="store_demand",
    entities=[store],
    ttl=TTL,
    schema=[
        Field(
            name="store_mean_28", dtype=Float64, description="Units a step of the store, 28 days."
        ),
        Field(
            name="store_mean_56", dtype=Float64, description="Units a step of the store, 56 days."
        ),
        *(
            Field(
                name=f"store_dow_index_{d}",
                dtype=Float64,
                description=f"Store's units on ISO weekday {d} over its mean step, 84 days.",
            )
            for d in range(1, 8)
        ),
    ],
    source=_source("store_demand"),
    online=True,
    description="Level and weekday profile of a whole store as of a cutoff.",
    owner=OWNER,
    tags={"grain": "store x step"},
)

demand_v1 = FeatureService(
    name="demand_v1",
    features=[demand, store_demand],
    description="What version 1 of the demand models reads, in training and in serving.",
    owner=OWNER,
)
