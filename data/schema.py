"""Column names and types of the frames and tables that the rooms exchange."""

import polars as pl

KEYS = ["store_id", "item_id"]
UTC = pl.Datetime("us", "UTC")

SALES: dict[str, pl.DataType | type[pl.DataType]] = {
    "store_id": pl.String,
    "item_id": pl.String,
    "ds": pl.Date,
    "y": pl.Float64,
    "price": pl.Float64,
    "known_at": UTC,
}
PLAN: dict[str, pl.DataType | type[pl.DataType]] = {
    "store_id": pl.String,
    "item_id": pl.String,
    "ds": pl.Date,
    "display": pl.Float64,
    "mailer": pl.Float64,
    "known_at": UTC,
}

WINDOWS = (7, 14, 28, 56, 84)
WEEK = range(1, 8)  # ISO weekdays, Monday is 1; also lags of one week

FEATURE_SERVICE = "demand_v1"
DEMAND_FEATURES = [
    *[f"mean_{w}" for w in WINDOWS],
    "mean_ever",
    "std_28",
    "zero_share_28",
    "days_since_sale",
    "age_days",
    "price_28",
    "price_ratio",
    "display_28",
    "mailer_28",
    *[f"lag_{k}" for k in WEEK],
    *[f"dow_mean_{d}" for d in WEEK],
]
STORE_FEATURES = ["store_mean_28", "store_mean_56", *[f"store_dow_index_{d}" for d in WEEK]]
PROVENANCE = ["cutoff", "snapshot_id"]  # carried in the feature row itself, as text
VIEWS: dict[str, tuple[list[str], list[str]]] = {  # view: (join keys, fields)
    "demand": (KEYS, [*PROVENANCE, *DEMAND_FEATURES]),
    "store_demand": (["store_id"], STORE_FEATURES),
}
EVENT_TIME = "event_timestamp"
CREATED = "created"

QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


def quantile_column(level: float) -> str:
    """Name of the forecast column of a quantile level, 0 < level < 1: `q0.025`, `q0.5`."""
    return f"q{level:g}"


QUANTILE_COLUMNS = [quantile_column(q) for q in QUANTILES]
FORECAST = [*KEYS, "cutoff", "ds", "step", "y_hat", *QUANTILE_COLUMNS]

SPOOL_OPEN, SPOOL_CLOSED = ".open", ".jsonl"  # a spool file that is written to, one that is whole
