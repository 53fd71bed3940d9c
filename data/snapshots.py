"""Snapshots: the data as it was known at one instant, in Parquet that nothing changes again."""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from data.schema import KEYS
from data.settings import Settings
from data.steps import Steps
from data.warehouse import Connection, as_utc, known_at_morning, plan_as_of, query, sales_as_of

ID_LENGTH = 16


class NothingKnown(LookupError):
    """No sales, or no series, are known at the instant that was asked for."""


@dataclass(frozen=True)
class Snapshot:
    """What was known at `as_of` (UTC) with sales up to `cutoff`.

    `folder` holds sales.parquet (`schema.SALES`, every sale up to the cutoff), plan.parquet
    (`schema.PLAN` of the series, steps 1 to horizon after the cutoff), series.parquet (KEYS) and
    snapshot.json.
    """

    snapshot_id: str
    cutoff: date
    as_of: datetime
    folder: Path

    def sales(self) -> pl.DataFrame:
        """Every sale up to the cutoff, as `schema.SALES`."""
        return pl.read_parquet(self.folder / "sales.parquet")

    def series(self) -> pl.DataFrame:
        """The series that are forecast (KEYS)."""
        return pl.read_parquet(self.folder / "series.parquet")

    def plan(self) -> pl.DataFrame:
        """The promotion plan of the steps ahead, as `schema.PLAN`."""
        return pl.read_parquet(self.folder / "plan.parquet")


def snapshot(con: Connection, settings: Settings, as_of: datetime, horizon: int) -> Snapshot:
    """Write the snapshot of `as_of`, or find it: the same state always has the same id.

    The folder appears whole or not at all, and one that exists is left as it is. Series are chosen
    on what was known at the first cutoff only. Raises `NothingKnown`.
    """
    as_of = as_utc(as_of)
    cutoff = last_day(con, settings, as_of)
    series = first_series(con, settings, as_of)
    ahead = settings.steps.ahead(cutoff, horizon)
    plan = plan_as_of(con, as_of, ahead[0], ahead[-1])
    frames = {
        "sales": sales_as_of(con, as_of).filter(pl.col("ds") <= cutoff),
        "plan": plan.join(series, on=KEYS, how="semi", maintain_order="left"),
        "series": series,
    }
    batches = query(con, "published_batches", as_of=as_of)["batch_id"].to_list()
    snapshot_id = _identity(batches, cutoff, frames)
    folder = settings.snapshots_dir / snapshot_id
    if not folder.exists():
        _write(folder, frames, {"snapshot_id": snapshot_id, "cutoff": cutoff, "as_of": as_of})
    return read_snapshot(folder)


def read_snapshot(folder: Path) -> Snapshot:
    """The record of a snapshot's folder; its `as_of` is that of the first time it was taken."""
    record = json.loads((folder / "snapshot.json").read_text())
    return Snapshot(
        snapshot_id=record["snapshot_id"],
        cutoff=date.fromisoformat(record["cutoff"]),
        as_of=datetime.fromisoformat(record["as_of"]),
        folder=folder,
    )


def last_day(con: Connection, settings: Settings, as_of: datetime) -> date:
    """The last `ds` that is over at `as_of` and has sales known then. Raises `NothingKnown`."""
    cutoff = query(con, "last_known_day", as_of=as_utc(as_of), timezone=settings.timezone).item()
    if cutoff is None:
        raise NothingKnown(
            f"No sales were known at {as_of:%Y-%m-%d %H:%M %Z}: run the ingest first, "
            "or ask for a later time."
        )
    assert isinstance(cutoff, date)
    return cutoff


def first_series(con: Connection, settings: Settings, as_of: datetime) -> pl.DataFrame:
    """The series (KEYS, sorted) that the first training chooses, on what it could know.

    The same for every later `as_of`, so that no later day decides what is forecast; for an earlier
    one, those that could be chosen then. Raises `NothingKnown` when there is none.
    """
    first = known_at_morning(settings.first_cutoff, settings.timezone)
    known = sales_as_of(con, min(first, as_utc(as_of)))
    series = choose_series(
        known,
        settings.first_cutoff,
        min_days=settings.series_min_days,
        active_days=settings.series_active_days,
        steps=settings.steps,
    )
    if series.is_empty():
        raise NothingKnown(
            f"No series has {settings.series_min_days} selling days by {settings.first_cutoff} "
            f"with one in the last {settings.series_active_days} days, among sales from "
            f"{known['ds'].min()!s} to {known['ds'].max()!s}: set SHELFCAST_FIRST_CUTOFF or "
            "SHELFCAST_SERIES_MIN_DAYS to suit the data."
        )
    return series


def choose_series(
    sales: pl.DataFrame, cutoff: date, *, min_days: int, active_days: int, steps: Steps
) -> pl.DataFrame:
    """Series (KEYS, sorted) with min_days days of y > 0 by the cutoff, one in its active_days.

    A step with y > 0 counts all its days; the active days are those that end with the cutoff.
    `sales`: `schema.SALES`.
    """
    return (
        sales.filter((pl.col("ds") <= cutoff) & (pl.col("y") > 0))
        .group_by(KEYS)
        .agg(days=pl.col("ds").n_unique() * steps.days, last=pl.col("ds").max())
        .filter(
            (pl.col("days") >= min_days) & (pl.col("last") > cutoff - timedelta(days=active_days))
        )
        .select(KEYS)
        .sort(KEYS)
    )


def _identity(batches: list[str], cutoff: date, frames: dict[str, pl.DataFrame]) -> str:
    """The content counts as well as the batches: one batch may bring many instants of knowledge."""
    digest = hashlib.sha256("\n".join([*batches, cutoff.isoformat()]).encode())
    for name, frame in frames.items():
        digest.update(f"\n{name}\n".encode())
        digest.update(frame.write_csv(null_value="\\N", quote_style="non_numeric").encode())
    return digest.hexdigest()[:ID_LENGTH]


def _write(folder: Path, frames: dict[str, pl.DataFrame], record: dict[str, object]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        for name, frame in frames.items():
            frame.write_parquet(unfinished / f"{name}.parquet")
        text = {k: v.isoformat() if isinstance(v, date) else v for k, v in record.items()}
        (unfinished / "snapshot.json").write_text(json.dumps(text, indent=2) + "\n")
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except OSError:
        if not folder.exists():  # otherwise another process wrote the same snapshot first
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
