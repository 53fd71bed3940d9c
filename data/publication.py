"""What replicas and pages read of the warehouse: Parquet, since only its writer may open it."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from data.schema import KEYS, QUANTILE_COLUMNS, UTC

Types = dict[str, pl.DataType | type[pl.DataType]]

NODE: Types = {"store_id": pl.String, "item_id": pl.String, "department": pl.String}
# Each is a file NAME.parquet. What a column means is said by its namesake in serving/api.
TABLES: dict[str, Types] = {
    "forecasts": {  # those of models, not of baselines; sorted by KEYS, ds and cutoff
        **dict.fromkeys(KEYS, pl.String),
        "ds": pl.Date,
        "cutoff": pl.Date,
        "step": pl.Int32,
        "model": pl.String,
        "snapshot_id": pl.String,
        "y_hat": pl.Float64,
        **dict.fromkeys(QUANTILE_COLUMNS, pl.Float64),
    },
    "plan": {  # the promotion plan of days that are over, sorted by KEYS and ds
        **dict.fromkeys(KEYS, pl.String),
        "ds": pl.Date,
        "display": pl.Float64,
        "mailer": pl.Float64,
    },
    "accuracy": {  # sorted by value, largest first
        "level": pl.String,
        **NODE,
        "model": pl.String,
        "weeks": pl.Int64,
        "units": pl.Float64,
        "value": pl.Float64,
        "wape": pl.Float64,
        "bias": pl.Float64,
        "coverage_80": pl.Float64,
        "value_added": pl.Float64,
    },
    "figures": {
        "model": pl.String,
        "cutoff": pl.Date,
        "metric": pl.String,
        "value": pl.Float64,
    },
    "decisions": {  # newest first; measurements is a JSON object
        "decided_at": UTC,
        "gate": pl.String,
        "outcome": pl.String,
        "reasons": pl.List(pl.String),
        "measurements": pl.String,
    },
    "exceptions": {  # sorted by value, largest first
        **dict.fromkeys(KEYS, pl.String),
        "kind": pl.String,
        "reason": pl.String,
        "value": pl.Float64,
        "since": pl.Date,
        "until": pl.Date,
    },
    "overrides": {  # newest first
        **dict.fromkeys(KEYS, pl.String),
        "since": pl.Date,
        "until": pl.Date,
        "units": pl.Float64,
        "reason": pl.String,
        "expires_at": UTC,
        "override_id": pl.String,
        "author": pl.String,
        "created_at": UTC,
        "baseline": pl.Float64,
        "actual": pl.Float64,
        "value_added": pl.Float64,
    },
}
ABOUT = "publication.json"


def write(
    folder: Path, frames: Mapping[str, pl.DataFrame], about: Mapping[str, object], now: datetime
) -> None:
    """Replaces those of TABLES that `frames` has, and then says when.

    `about` are further facts for publication.json. Raises ValueError for an unknown table.
    """
    for name, frame in frames.items():
        write_table(folder, name, frame)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".about.{os.getpid()}.part"
    part.write_text(json.dumps({"published_at": now, **about}, default=str, indent=1))
    part.rename(folder / ABOUT)


def write_table(folder: Path, name: str, frame: pl.DataFrame) -> None:
    """Replaces one of TABLES; who reads it sees the old file or the new one, whole."""
    if name not in TABLES:
        raise ValueError(f"{name!r} is not published; expected one of {', '.join(TABLES)}.")
    folder.mkdir(parents=True, exist_ok=True)
    typed = frame.select(list(TABLES[name])).cast(pl.Schema(TABLES[name]))
    part = folder / f".{name}.{os.getpid()}.part"
    typed.write_parquet(part, row_group_size=10_000)
    part.rename(folder / f"{name}.parquet")


def scan(folder: Path, name: str) -> pl.LazyFrame:
    """A published table, empty when nothing is published yet."""
    path = folder / f"{name}.parquet"
    return pl.scan_parquet(path) if path.exists() else pl.LazyFrame(schema=TABLES[name])


def about(folder: Path) -> dict[str, Any] | None:
    """`published_at` and the other facts of publication.json; None before the first one."""
    try:
        facts: dict[str, Any] = json.loads((folder / ABOUT).read_text())
    except FileNotFoundError:
        return None
    return facts
