"""What the retrain gate is told: quality, drift and performance of one day, from frames. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from checks import gates
from checks.drift import FeatureDrift, weekly_drift
from checks.gates import DecidedOn
from checks.quality import against_history
from checks.report import ContractReport
from data.schema import KEYS
from data.settings import Settings
from feature_repo.calendar import feasts, plain_holidays
from feature_repo.store_weeks import COVARIATES, store_weeks
from models.dataset import history
from models.decay import (
    Coverage,
    coverage_80,
    cusum,
    log_ratios,
    naive_weeks,
    weekly_losses,
)
from models.forecaster import Manifest
from models.metrics import level_scales
from models.performance import with_actuals

DRAWS = 500  # bootstrap draws of the coverage
JUDGED_DAYS = 56  # matured days that a decision looks at; two horizons


@dataclass(frozen=True)
class Decay:
    """What matured forecasts say, of the days of JUDGED_DAYS that no holiday is near."""

    weeks: pl.DataFrame
    matured_days: int
    loss_cusum: float | None
    bias_cusum: float | None
    loss_ratio: float | None
    naive_ratio: float | None
    naive_weeks: int
    coverage: Coverage | None

    @property
    def lost(self) -> list[date]:
        """Last days of the newest weeks in a row that were no better than seasonal naive."""
        return self.weeks["week"].tail(self.naive_weeks).to_list()


@dataclass(frozen=True)
class Evidence:
    """Everything measured on one day. `muted` names the holiday that keeps drift unjudged."""

    until: date
    version: str
    quality: ContractReport
    drift: list[FeatureDrift]
    muted: str
    decay: Decay

    def measured(self) -> DecidedOn:
        """Arguments of checks.gates.decide_retrain, but for failed contracts, age and history."""
        decay, coverage = self.decay, self.decay.coverage
        return DecidedOn(
            drifted=[d.feature for d in self.drift if d.drifted],
            n_features=len(self.drift),
            muted=self.muted,
            matured_days=decay.matured_days,
            loss_cusum=decay.loss_cusum,
            bias_cusum=decay.bias_cusum,
            loss_ratio=decay.loss_ratio,
            naive_ratio=decay.naive_ratio,
            naive_weeks=decay.naive_weeks,
            coverage_80=coverage.share if coverage else None,
            coverage_low=coverage.low if coverage else None,
            coverage_high=coverage.high if coverage else None,
        )


def evidence(
    settings: Settings,
    *,
    issued: pl.DataFrame,
    sales: pl.DataFrame,
    plan: pl.DataFrame,
    series: pl.DataFrame,
    model: Manifest,
    until: date,
) -> Evidence:
    """Measures the state of a day, as everything was known then.

    `issued` are the ledger's forecasts (FORECAST and `model`) of `model` and of seasonal naive,
    `sales` and `plan` (schema SALES and PLAN) what was known, the plan of past days. `series` are
    those that are forecast.
    """
    week = until - timedelta(days=7)
    fresh = sales.filter((pl.col("ds") > week) & (pl.col("ds") <= until))
    rows = store_weeks(sales, plan, series, until=until)
    first: date = rows["week"].min() or until  # type: ignore[assignment]
    quiet = holidays_of(first, until, settings.holiday_country)
    muted = {w for w in rows["week"].unique().to_list() if _holiday_in(w, quiet)}
    return Evidence(
        until=until,
        version=model.version,
        quality=against_history(fresh, sales, steps=settings.steps),
        drift=weekly_drift(
            rows, COVARIATES, until=until, muted=muted, statistics=settings.drift_statistics
        ),
        muted=_holiday_in(until, quiet),
        decay=decay(settings, issued, sales, series, model=model, until=until),
    )


def decay(
    settings: Settings,
    issued: pl.DataFrame,
    sales: pl.DataFrame,
    series: pl.DataFrame,
    *,
    model: Manifest,
    until: date,
) -> Decay:
    """Layer of performance alone; arguments as for `evidence`."""
    version, backtest = model.version, model.backtest["naive ratio"]
    since = until - timedelta(days=JUDGED_DAYS)
    recent = issued.filter((pl.col("ds") > since) & (pl.col("ds") <= until))
    scored = with_actuals(recent, sales, until=until, steps=settings.steps)
    own = scored.filter(pl.col("model") == version)
    scale_day: date = own["cutoff"].min() if own.height else until  # type: ignore[assignment]
    dense = history(sales, series.select(KEYS), scale_day, settings.steps)
    holidays = holidays_of(since, until, settings.holiday_country)
    near = {h + timedelta(days=k) for h in holidays for k in range(-gates.NEAR_HOLIDAY, 2)}
    scales = level_scales(dense, season=settings.steps.season)
    weeks = weekly_losses(scored, scales, version=version, until=until, quiet=near)
    newest = weeks.tail(4)
    ratios = log_ratios(weeks, backtest)
    bias = [b for b in weeks["bias"].to_list() if b is not None]
    naive = _ratio(newest)
    month = own.filter(pl.col("ds") > until - timedelta(days=28))
    return Decay(
        weeks=weeks,
        matured_days=own["ds"].n_unique() * settings.steps.days,
        loss_cusum=cusum(ratios, gates.LOSS_SLACK) if ratios else None,
        bias_cusum=_two_sided(bias, gates.BIAS_SLACK) if bias else None,
        loss_ratio=None if naive is None else naive / backtest,
        naive_ratio=naive,
        naive_weeks=naive_weeks(weeks),
        coverage=coverage_80(month, model.calibration, draws=DRAWS, seed=settings.seed),
    )


def _ratio(weeks: pl.DataFrame) -> float | None:
    """Loss over that of seasonal naive, of all the weeks together."""
    loss, naive = float(weeks["loss"].sum()), float(weeks["naive_loss"].sum())
    return loss / naive if naive else None


def _two_sided(values: Sequence[float], slack: float) -> float:
    """CUSUM of too much or of too little, with the sign of the larger one."""
    above, below = cusum(values, slack), cusum([-v for v in values], slack)
    return above if above >= below else -below


def holidays_of(since: date, until: date, country: str) -> list[date]:
    """Public holidays and feasts of the years of a range of days, and of those beside it."""
    years = range(since.year - 1, until.year + 2)
    return [day for year in years for of in (plain_holidays, feasts) for day in of(country, year)]


def _holiday_in(week: date, holidays: Sequence[date]) -> str:
    """The holiday in the week that ends on a day, as text; empty if there is none."""
    found = [h for h in holidays if 0 <= (week - h).days < 7]
    return str(found[0]) if found else ""
