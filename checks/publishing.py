"""Publishes what replicas and pages read, from the warehouse and the newest snapshot."""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from checks.exceptions import exceptions
from data import publication
from data.ledger import issued_forecasts
from data.schema import KEYS
from data.settings import Settings
from data.snapshots import read_snapshot
from data.warehouse import Connection, plan_as_of, query
from models.insight import accuracy, mean_prices, scored_overrides
from models.performance import with_actuals

PUBLISHED_DAYS = 84  # cutoffs of the last twelve weeks, more where exceptions look further back
JUDGED_STEPS = 28  # exceptions look at the forecasts of so many days, or weeks


def publish(con: Connection, settings: Settings, snapshot: Path, now: datetime) -> dict[str, int]:
    """Writes every published table as of a snapshot; returns their numbers of rows.

    `now` (UTC) is when it happens.
    """
    taken = read_snapshot(snapshot)
    cutoff, sales, series = taken.cutoff, taken.sales(), taken.series()
    judged_since = settings.steps.after(cutoff, -JUDGED_STEPS)
    issued = issued_forecasts(con, min(cutoff - timedelta(days=PUBLISHED_DAYS), judged_since))
    matured = with_actuals(issued, sales, until=cutoff, steps=settings.steps)
    prices = mean_prices(sales, cutoff)
    own = pl.col("q0.5").is_not_null()  # baselines have no quantiles
    nearest = (
        matured.filter(own & (pl.col("ds") > judged_since))
        .sort("step")
        .unique([*KEYS, "ds"], keep="first")
    )
    until = settings.steps.after(cutoff, settings.horizon)
    plan = plan_as_of(con, now, date.min, until).join(series, on=KEYS, how="semi")
    frames = {
        "forecasts": issued.filter(own).sort(*KEYS, "ds", "cutoff"),
        "plan": plan.filter(pl.col("ds") <= cutoff).sort(*KEYS, "ds"),
        "accuracy": accuracy(matured, prices),
        "figures": query(con, "latest_scores"),
        "decisions": query(con, "decisions"),
        "overrides": scored_overrides(query(con, "overrides"), sales, cutoff, settings.steps),
        "exceptions": exceptions(nearest, prices, plan, sales, series, cutoff, settings.steps),
    }
    about = {
        "snapshot_id": taken.snapshot_id,
        "cutoff": cutoff,
        "since": matured["ds"].min(),
        "until": matured["ds"].max(),
    }
    publication.write(settings.published_dir, frames, about, now)
    return {name: frame.height for name, frame in frames.items()}
