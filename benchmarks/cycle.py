"""One week of production in a world: delivered, forecast from, decided on.

Deliveries go through contract and history, features, forecasts of one model, evidence and the
decision; all by the functions that production uses.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from benchmarks import margins
from benchmarks.worlds import Base, World, world
from checks import intake
from checks.evidence import evidence
from checks.gates import GateDecision, decide_retrain
from checks.intake import Intake
from data.ledger import failed_checks
from data.schema import KEYS
from data.settings import Settings
from data.snapshots import choose_series
from data.steps import Steps
from data.warehouse import Connection, known_at_morning, sales_as_of
from feature_repo.build import feature_rows
from models import forecaster
from models.assembly import matrix_spec, needed_cutoffs
from models.backtest import TrainingData
from models.baselines import SEASONAL_NAIVE
from models.dataset import target_days
from models.forecaster import Forecaster
from models.training import train

MODEL_SEED = 99  # the world that the one model of all worlds is trained on
ISSUES = 12  # newest forecasts that a decision reads


@dataclass(frozen=True)
class Run:
    """One seed's warehouse, with the model and the series of its clean world."""

    settings: Settings
    con: Connection
    model: Forecaster
    series: pl.DataFrame
    folder: Path

    def deliver(self, sales: pl.DataFrame, until: date) -> tuple[list[str], dict[str, float]]:
        """Delivers rows the morning after a day: the checks that refused them, all figures."""
        as_of = self.morning(until)
        taken = deliver(self.con, self.settings, self.folder, sales, as_of)
        failed = failed_checks(self.con, as_of) if taken.publication is None else []
        return failed, margins.of_delivery(taken.report)

    def forget(self, since: date) -> None:
        """Undoes what was delivered after a day's morning."""
        times = {"landing": "known_at", "sales": "known_at", "quarantine": "known_at"}
        times |= {"ingest_log": "as_of", "contract_results": "checked_at"}
        for table, column in times.items():
            self.con.execute(f"DELETE FROM {table} WHERE {column} > $1", [self.morning(since)])

    def morning(self, day: date) -> datetime:
        return known_at_morning(day, self.settings.timezone)

    def issue(self, sales: pl.DataFrame, plan: pl.DataFrame, cutoff: date) -> pl.DataFrame:
        """Forecasts of the model and of seasonal naive from a cutoff."""
        features = features_of(self.settings, sales, plan, self.series, cutoff)
        horizon = self.model.horizon
        ahead = plan.filter(pl.col("ds").is_between(cutoff, cutoff + timedelta(days=horizon)))
        own = self.model.forecast(features, ahead, horizon)
        own = own.with_columns(model=pl.lit(self.model.version))
        return pl.concat([own, seasonal_naive(sales, features, horizon)], how="diagonal_relaxed")

    def week(
        self, made: World, issued: list[pl.DataFrame], cutoff: date
    ) -> tuple[GateDecision, dict[str, float]]:
        """Delivers the week that ends at a cutoff, forecasts from it and asks the gate; with all
        that was measured on the way."""
        days = pl.col("ds").is_between(cutoff - timedelta(days=6), cutoff)
        failed, figures = self.deliver(made.sales.filter(days), cutoff)
        if failed:
            reason = f"refused: {', '.join(failed)}"
            return GateDecision("retrain", "hold", (reason,), {}), figures
        sales = sales_as_of(self.con, self.morning(cutoff))
        plan = made.plan.filter(pl.col("known_at") <= self.morning(cutoff))
        issued.append(self.issue(sales, plan, cutoff))
        seen = evidence(
            self.settings,
            issued=pl.concat(issued[-ISSUES:]),
            sales=sales,
            plan=plan.filter(pl.col("ds") <= cutoff),
            series=self.series,
            model=self.model.manifest,
            until=cutoff,
        )
        unusual = [f"{seen.quality.contract}: {r.check}" for r in seen.quality.failures]
        # Age, cooldown and cap read a clock, no data: they are left out.
        decision = decide_retrain(
            failed_checks=unusual,
            model_age_days=0,
            days_since_training=None,
            recent_trainings=0,
            **seen.measured(),
        )
        backtest = self.model.manifest.backtest["naive ratio"]
        return decision, figures | margins.of_evidence(seen, backtest)


def deliver(
    con: Connection, settings: Settings, folder: Path, sales: pl.DataFrame, as_of: datetime
) -> Intake:
    """Takes the rows as a file that is delivered at a time."""
    path = folder / "delivery.parquet"
    sales.write_parquet(path)
    return intake.take(
        con, settings, source="parquet", path=str(path), since=None, until=None, as_of=as_of
    )


def features_of(
    settings: Settings, sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame, cutoff: date
) -> pl.DataFrame:
    """The features of each series at a cutoff (DEMAND and STORE features), without Feast."""
    views = feature_rows(sales, plan, series, cutoff=cutoff, snapshot_id="", steps=settings.steps)
    one = views["demand"].join(views["store_demand"], on="store_id")
    return one.with_columns(cutoff=pl.lit(cutoff))


def seasonal_naive(sales: pl.DataFrame, features: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """The same weekday's sales in the week before the cutoff, for every week ahead."""
    weeks = (pl.col("step") - 1) // 7 + 1
    last = sales.select(*KEYS, pl.col("ds").alias("then"), y_hat="y")
    return (
        target_days(features, horizon, Steps())
        .with_columns(then=pl.col("ds") - pl.duration(days=7 * weeks))
        .join(last, on=[*KEYS, "then"], how="left", maintain_order="left")
        .with_columns(pl.col("y_hat").fill_null(0.0), model=pl.lit(SEASONAL_NAIVE))
        .drop("then")
    )


def series_of(settings: Settings, sales: pl.DataFrame) -> pl.DataFrame:
    """The series that are forecast, chosen at the first cutoff as the system does."""
    return choose_series(
        sales,
        settings.first_cutoff,
        min_days=settings.series_min_days,
        active_days=settings.series_active_days,
        steps=settings.steps,
    )


def known_next_morning(sales: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """The sales as versions (schema SALES), each known at 06:00 of the next day."""
    morning = pl.col("ds").cast(pl.Datetime("us")).dt.offset_by("1d6h")
    local = morning.dt.replace_time_zone(timezone).dt.convert_time_zone("UTC")
    return sales.with_columns(known_at=local)


def train_model(settings: Settings, base: Base, folder: Path) -> None:
    """Trains the one model of all worlds, with the default parameters, unless it is there."""
    if (folder / forecaster.DIGESTS).exists():
        return
    cutoff = settings.first_cutoff
    made = world(base, MODEL_SEED, None, 0, cutoff)
    sales = made.sales.filter(pl.col("ds") <= cutoff)
    series = series_of(settings, sales)
    first: date = sales["ds"].min()  # type: ignore[assignment]
    cutoffs = needed_cutoffs(first, cutoff, settings.horizon, settings.steps)
    data = TrainingData(
        cutoff=cutoff,
        horizon=settings.horizon,
        snapshot_id="worlds",
        features=pl.concat(features_of(settings, sales, made.plan, series, c) for c in cutoffs),
        sales=sales.join(series, on=KEYS, how="semi"),
        plan=made.plan.join(series, on=KEYS, how="semi"),
        spec=matrix_spec(settings, series),
        versions=known_next_morning(sales, settings.timezone),
        timezone=settings.timezone,
        stockouts_missing=settings.stockouts_missing,
    )
    journal = folder.with_suffix(".journal")
    training = train(data, storage=journal, name="worlds", trials=1, seconds=600, seed=7)
    manifest = replace(training.manifest, version=folder.name)
    forecaster.save(folder, training.booster_text, manifest)
