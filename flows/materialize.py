"""Computes features as known at each cutoff, checks them, and loads them into the feature store."""

from datetime import date
from pathlib import Path

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_table_artifact

from checks.audits import audit_features
from data import snapshots
from data.settings import Settings
from data.snapshots import read_snapshot
from data.warehouse import connect
from feature_repo import store
from feature_repo.parity import parity
from flows.audits import show
from flows.slots import clock, done, writing
from models.assembly import features_as_known, write_features

READ_AT_ONCE = 1000  # series: each of their online features is an object until it is compared


@task
def take_snapshot(settings: Settings) -> Path:
    """Publishes the state of the data as a snapshot: Parquet that nothing changes any more."""
    with connect(settings) as con:
        _, as_of = clock(settings, con)
        return snapshots.snapshot(con, settings, as_of, settings.horizon).folder


@task
def build(settings: Settings, snapshot: Path) -> list[date]:
    """Writes the feature rows of the snapshot's cutoff and of earlier ones, where they lack."""
    with connect(settings) as con:
        return write_features(settings, con, snapshot)


@task
def check(settings: Settings, cutoff: date, series: int) -> None:
    """Verifies the contract of the newest feature rows; a breach stops before they are loaded."""
    with connect(settings) as con:
        as_of = clock(settings, con)[1]
        show(audit_features(con, settings, cutoff, series, as_of), f"The features of {cutoff}")


@task
def load(settings: Settings, cutoff: date) -> None:
    """Applies the definitions and loads the cutoff's rows into the online store."""
    store.apply(settings)
    store.materialize(settings, cutoff)


@task
def prove_parity(settings: Settings, cutoff: date, series: pl.DataFrame) -> int:
    """Compares online and offline features of all series; a difference fails the run."""
    feast = store.open_store(settings)
    parts = series.iter_slices(READ_AT_ONCE)
    online = pl.concat(store.online_features(feast, part.rows()) for part in parts)
    offline = features_as_known(settings, series, [cutoff])
    table = parity(online, offline.with_columns(pl.col("cutoff").cast(pl.String)))
    create_table_artifact(
        key="online-offline-parity", table=table.to_dicts(), description=f"Features of {cutoff}"
    )
    wrong = table.filter(pl.col("different") > 0)
    if wrong.height:
        raise store.StaleFeatures(
            f"Online and offline differ in {wrong['feature'].to_list()} for the cutoff {cutoff}; "
            "run materialize again and look at the artifact online-offline-parity."
        )
    return table.height


@flow(flow_run_name="materialize")
def materialize() -> str:
    """Brings the feature store up to the last day of sales; earlier cutoffs are filled in."""
    settings = Settings()
    with writing():
        snapshot = take_snapshot(settings)
        taken = read_snapshot(snapshot)
        cutoff, series = taken.cutoff, taken.series()
        written = build(settings, snapshot)
        check(settings, cutoff, series.height)
        load(settings, cutoff)
        features = prove_parity(settings, cutoff, series)
    return done(
        message=f"{series.height} series as of {cutoff}, rows of {len(written)} cutoffs written, "
        f"{features} features equal online and offline, snapshot {taken.snapshot_id}",
        data=str(snapshot),
    )
