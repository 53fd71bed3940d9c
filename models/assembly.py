"""Collects what a training or a forecast reads: features through Feast, sales from the snapshot."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from data.schema import EVENT_TIME, KEYS, STORE_FEATURES, UTC
from data.settings import Settings
from data.snapshots import read_snapshot
from data.steps import Steps
from data.warehouse import Connection, known_at_morning, query
from feature_repo.build import feature_rows_as_known
from feature_repo.store import (
    StaleFeatures,
    historical_features,
    offline_cutoffs,
    write_offline,
)
from models.backtest import TrainingData, fold_cutoffs
from models.dataset import MatrixSpec, training_cutoffs
from models.training import TUNING_FOLDS

WARM_UP_DAYS = 56  # sales that the features of the first training cutoff rest on
YEAR_DAYS = 366  # a hole so long parts a row of a mistyped year from the history


def history_begins(versions: pl.DataFrame, series: pl.DataFrame, cutoff: date) -> date:
    """The first day of sales that features of the `series` (KEYS) up to a cutoff rest on.

    `versions` are all versions of the sales. What other series sold before says nothing of these, a
    row that came late nothing of the cutoffs before it was known, and what lies before a year in
    which nothing was sold is no history. Without any sales it is the cutoff.
    """
    own = versions.join(series, on=KEYS, how="semi").filter(pl.col("ds") <= cutoff)
    goes_on = pl.col("ds").diff() <= timedelta(days=YEAR_DAYS)
    starts = own.select("ds").unique().sort("ds").filter(~goes_on.fill_null(value=False))
    came = pl.col("known_at").dt.date() - pl.duration(days=1)
    known = own.filter(pl.col("ds") >= starts["ds"].max()).select(pl.max_horizontal("ds", came))
    return min(known.min().item() or cutoff, cutoff)


def needed_cutoffs(first_day: date, cutoff: date, horizon: int, steps: Steps) -> list[date]:
    """Cutoffs whose features a training at `cutoff` reads, on sales that begin at `first_day`.

    Raises ValueError when there is too little history for the folds.
    """
    first = date.fromordinal(first_day.toordinal() + WARM_UP_DAYS)
    folds = fold_cutoffs(cutoff, horizon, TUNING_FOLDS + 1, steps)
    if folds[0] <= first:
        raise ValueError(
            f"Training at {cutoff} needs sales of at least 8 weeks before its first fold "
            f"{folds[0]}, and those that were known in time begin on {first_day}; choose a later "
            "cutoff or load older sales."
        )
    return sorted({*training_cutoffs(cutoff, first, steps), *folds, cutoff})


def features_as_known(
    settings: Settings, series: pl.DataFrame, cutoffs: Sequence[date]
) -> pl.DataFrame:
    """Features of each series at each cutoff as known the morning after it, through Feast.

    Series that had not sold by a cutoff have no row. Raises StaleFeatures naming a cutoff that
    the feature store does not hold the rows of, or not of their stores.
    """
    times = pl.DataFrame(
        {
            "asked": list(cutoffs),
            EVENT_TIME: [known_at_morning(c, settings.timezone) for c in cutoffs],
        },
        schema={"asked": pl.Date, EVENT_TIME: UTC},
    )
    asked = series.select(KEYS).join(times, how="cross")
    rows = historical_features(settings, asked.drop("asked")).with_columns(asked["asked"])
    found = rows.filter(pl.col("cutoff") == pl.col("asked").cast(pl.String))
    half = found.filter(pl.any_horizontal(pl.col(STORE_FEATURES).is_null()))
    missing = sorted((set(cutoffs) - set(found["asked"])) | set(half["asked"]))
    if missing:
        raise StaleFeatures(
            f"The feature store does not hold all rows of cutoff {missing[0]} ({len(missing)} "
            "cutoffs are missing); run the materialize deployment first."
        )
    return found.drop("asked").with_columns(pl.col("cutoff").str.to_date())


def write_features(settings: Settings, con: Connection, snapshot: Path) -> list[date]:
    """Writes feature rows of the snapshot's cutoff and of earlier ones that a training reads.

    Each as known the morning after its cutoff. Returns the cutoffs that the offline store lacked.
    """
    taken = read_snapshot(snapshot)
    cutoff, series = taken.cutoff, taken.series()
    versions = query(con, "sales_versions")
    first_day = history_begins(versions, series, cutoff)
    plans = query(con, "plan_versions", since=first_day, until=cutoff)
    wanted = set(needed_cutoffs(first_day, cutoff, settings.horizon, settings.steps))
    missing = sorted(wanted - set(offline_cutoffs(settings)))
    for day in missing:
        as_of = known_at_morning(day, settings.timezone)
        frames = feature_rows_as_known(
            versions,
            plans,
            series,
            cutoff=day,
            as_of=as_of,
            snapshot_id=taken.snapshot_id,
            steps=settings.steps,
        )
        for view, frame in frames.items():
            write_offline(settings, view, frame, cutoff=day, created=as_of)
    return missing


def training_data(
    settings: Settings, folder: Path, versions: pl.DataFrame, plan: pl.DataFrame
) -> TrainingData:
    """Everything a training at the snapshot's cutoff reads.

    `versions` and `plan` are all versions of the sales and of the promotion plan, of past and
    coming days.
    """
    taken = read_snapshot(folder)
    cutoff, sales, series = taken.cutoff, taken.sales(), taken.series()
    first_day = history_begins(versions, series, cutoff)
    cutoffs = needed_cutoffs(first_day, cutoff, settings.horizon, settings.steps)
    return TrainingData(
        cutoff=cutoff,
        horizon=settings.horizon,
        snapshot_id=taken.snapshot_id,
        features=features_as_known(settings, series, cutoffs),
        sales=sales.join(series, on=KEYS, how="semi"),
        plan=plan.join(series, on=KEYS, how="semi"),
        spec=matrix_spec(settings, series),
        versions=versions.join(series, on=KEYS, how="semi"),
        timezone=settings.timezone,
        stockouts_missing=settings.stockouts_missing,
    )


def matrix_spec(settings: Settings, series: pl.DataFrame) -> MatrixSpec:
    """What the matrix of these series depends on besides its frames."""
    items = tuple(sorted(series["item_id"].unique().to_list()))
    return MatrixSpec(items, settings.holiday_country, settings.closed_days, settings.steps.days)
