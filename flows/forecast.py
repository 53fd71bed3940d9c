"""Forecasts every series for the coming days and keeps what was forecast."""

from datetime import date

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from data import ledger
from data.schema import FEATURE_SERVICE
from data.settings import Settings
from data.warehouse import connect, transaction
from flows.materialize import take_snapshot
from flows.publication import publish_tables
from flows.slots import clock, done, writing
from models import registry
from models.batch import Cold, batch_forecasts, cold_forecasts, plan_gaps


@task
def issue(settings: Settings, snapshot: str) -> tuple[pl.DataFrame, Cold, str]:
    """Forecasts of the champion and of every baseline from the snapshot's cutoff, by `method`.

    Then those of the series that no training chose, and the champion's version.
    """
    champion = registry.load(settings)
    rows = batch_forecasts(settings, snapshot, champion)
    cold = cold_forecasts(settings, snapshot, champion)
    method = pl.col("model").replace({champion.version: champion.method})
    return rows.with_columns(method=method), cold, champion.version


@task
def write(settings: Settings, forecasts: pl.DataFrame, cold: Cold, snapshot_id: str) -> int:
    """Adds the forecasts to the ledger, once per model and cutoff; returns rows of `forecasts`."""
    cutoff: date = forecasts["cutoff"][0]
    with connect(settings) as con:
        known = [m for m in forecasts["model"].unique() if ledger.is_issued(con, cutoff, m)]
        stamp = {
            "snapshot_id": pl.lit(snapshot_id),
            "feature_service": pl.lit(FEATURE_SERVICE),
            "issued_at": pl.lit(clock(settings, con)[1]),
        }
        rows, others = (
            f.filter(~pl.col("model").is_in(known)).with_columns(**stamp)
            for f in (forecasts, cold.rows)
        )
        with transaction(con):
            ledger.append(con, "cold_forecasts", others)
            return ledger.append(con, "forecasts", rows) if rows.height else 0


@flow(flow_run_name="forecast")
def forecast() -> int:
    """Issues the forecasts of all series from the last day of sales; the ledger keeps them."""
    settings = Settings()
    with writing():
        snapshot = take_snapshot(settings)
        forecasts, cold, version = issue(settings, str(snapshot))
        written = write(settings, forecasts, cold, snapshot.name)
        publish_tables(settings, snapshot)
    own = forecasts.filter(pl.col("model") == version)
    daily = own.group_by("ds").agg(units=pl.col("y_hat").sum().round(0)).sort("ds")
    lines = "\n".join(f"| {ds} | {units:,.0f} |" for ds, units in daily.iter_rows())
    create_markdown_artifact(
        key="forecast", markdown=f"| day | units, all series |\n|---|---|\n{lines}\n"
    )
    kept = f"{written:,} rows kept" if written else "already kept"
    series = own.select("store_id", "item_id").unique().height
    gaps, cells = plan_gaps(str(snapshot), settings.horizon, settings.steps)
    lacking = f"; no promotion plan for {len(gaps)} steps from {gaps[0]}" if gaps else ""
    if cells.height:
        lacking += f"; {cells.height} planned cells without a number count as 0, see plan-gaps"
        table = cells.with_columns(pl.col("ds").cast(pl.String)).to_dicts()
        create_table_artifact(key="plan-gaps", table=table, description="Cells without a number")
    others = f"{cold.series} more by what is like them, {cold.without} not at all"
    return done(
        message=f"{series} series x {settings.horizon} steps from {own['cutoff'][0]}, "
        f"{others}, {kept}{lacking}",
        data=written,
    )
