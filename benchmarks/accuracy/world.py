"""A year of sales in a state folder of the benchmark's own, cut down to what each origin knew."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from checks import intake
from data import snapshots
from data.settings import Settings
from data.snapshots import read_snapshot
from data.sources import days_available
from data.warehouse import connect, known_at_morning, query
from feature_repo import store
from feature_repo.build import feature_rows_as_known


def load(settings: Settings) -> None:
    """Loads all that the source holds, through its contract, once; a second call changes nothing.

    Each row is known the morning after its day: what an origin reads is cut by that.
    """
    with connect(settings) as con:
        if query(con, "last_day")["ds"][0] is None:
            _, until = days_available(con, settings, settings.source)
            intake.take(
                con,
                settings,
                source=settings.source,
                path="",
                since=None,
                until=None,
                as_of=known_at_morning(until + timedelta(days=1), settings.timezone),
            )
    store.apply(settings)


def snapshot_of(settings: Settings, cutoff: date) -> Path:
    """Folder of the snapshot that was known the morning after a cutoff."""
    mark = settings.snapshots_dir / f"at-{cutoff}"
    if not mark.exists():
        with connect(settings) as con:
            as_of = known_at_morning(cutoff, settings.timezone)
            taken = snapshots.snapshot(con, settings, as_of, settings.horizon)
        mark.symlink_to(taken.folder.name)
    return mark.resolve()


def build_features(settings: Settings, snapshot: Path, cutoffs: Sequence[date]) -> None:
    """Writes the feature rows of the cutoffs that the offline store lacks, as known then."""
    missing = sorted(set(cutoffs) - set(store.offline_cutoffs(settings)))
    if not missing:
        return
    taken = read_snapshot(snapshot)
    series = taken.series()
    with connect(settings) as con:
        sales = query(con, "sales_versions")
        plan = query(con, "plan_versions", since=None, until=missing[-1])
    for day in missing:
        as_of = known_at_morning(day, settings.timezone)
        rows = feature_rows_as_known(
            sales,
            plan,
            series,
            cutoff=day,
            as_of=as_of,
            snapshot_id=taken.snapshot_id,
            steps=settings.steps,
        )
        for view, frame in rows.items():
            store.write_offline(settings, view, frame, cutoff=day, created=as_of)


def all_sales(settings: Settings) -> pl.DataFrame:
    """Every sale that the source holds, to judge forecasts by."""
    with connect(settings) as con:
        return query(con, "sales_versions")
