"""Evidence of a day is made of frames, and a manager can read what the gate made of it."""

from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from checks.account import MEANING, account
from checks.evidence import Evidence, decay, evidence, holidays_of
from checks.gates import GateDecision, decide_retrain
from checks.monitoring import decide, monitoring
from data.schema import FORECAST, KEYS
from data.settings import Settings
from models.baselines import SEASONAL_NAIVE
from models.conformal import GRID, LEADS, Calibration

UNTIL = date(2017, 9, 10)
NOW = datetime.fromisoformat("2017-09-11T10:00:00+00:00")
EASTER = date(2017, 4, 16)  # a feast, and no public holiday of the US
MODEL: Any = SimpleNamespace(
    version="3",
    calibration=Calibration(28, [], [0.1], {}, [[list(GRID)] * LEADS]),
    backtest={"naive ratio": 0.5},
)


class Champion:
    version = "3"
    repeats = False
    trained_cutoff = UNTIL - timedelta(days=30)


@pytest.fixture(scope="module")
def issued(sales: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
    """Version 3 misses the truth by one unit, naive by three, from six cutoffs a week apart."""
    cutoffs = pl.DataFrame({"cutoff": [UNTIL - timedelta(weeks=k) for k in range(6)]})
    steps = pl.DataFrame({"step": range(1, 29)}, schema={"step": pl.Int32})
    grid = series.join(cutoffs, how="cross").join(steps, how="cross")
    grid = grid.with_columns(ds=pl.col("cutoff") + pl.duration(days=pl.col("step")))
    truth = grid.join(sales.select(*KEYS, "ds", "y"), on=[*KEYS, "ds"], how="left")
    y = pl.col("y").fill_null(0.0)
    quantiles = {c: y + 1 for c in FORECAST if c.startswith("q0")} | {"q0.1": y - 1}
    own = truth.with_columns(y_hat=y + 1, model=pl.lit("3"), **quantiles)
    naive = truth.with_columns(y_hat=y + 3, model=pl.lit(SEASONAL_NAIVE))
    return pl.concat([own, naive], how="diagonal").drop("y")


@pytest.fixture(scope="module")
def seen(
    issued: pl.DataFrame, sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> Evidence:
    return evidence(
        Settings(_env_file=None, drift_statistics="scipy"),
        issued=issued,
        sales=sales,
        plan=plan,
        series=series,
        model=MODEL,
        until=UNTIL,
    )


def test_matured_forecasts_are_measured_by_week(seen: Evidence) -> None:
    decay = seen.decay
    assert decay.matured_days == 35
    assert decay.naive_ratio == pytest.approx(1 / 3)
    assert decay.loss_ratio == pytest.approx(2 / 3)
    assert decay.loss_cusum == 0
    assert decay.naive_weeks == 0
    assert decay.coverage is not None
    assert 0.8 < decay.coverage.share < 1  # sales at the ends of intervals count in part
    assert decay.bias_cusum is not None
    assert decay.bias_cusum > 0


def test_days_near_a_holiday_say_nothing_of_decay(seen: Evidence) -> None:
    labor_day = next(w for w in seen.decay.weeks.rows(named=True) if w["week"] == UNTIL)
    full = next(w for w in seen.decay.weeks.rows(named=True) if w["week"] == date(2017, 8, 27))
    assert labor_day["rows"] / 5 < full["rows"] / 3  # five cutoffs reach the one, three the other
    assert seen.muted == "2017-09-04"
    assert seen.drift == []


def test_a_holiday_of_the_next_year_is_near_and_those_of_older_years_are_known(
    issued: pl.DataFrame, sales: pl.DataFrame, series: pl.DataFrame
) -> None:
    until = date(2017, 12, 31)
    weeks = pl.duration(days=(until - UNTIL).days)
    issued, sales = (
        issued.with_columns(pl.col("ds", "cutoff") + weeks),
        sales.with_columns(pl.col("ds") + weeks),
    )
    settings = Settings(_env_file=None)
    newest = decay(settings, issued, sales, series, model=MODEL, until=until).weeks.row(
        -1, named=True
    )
    quiet = issued.filter(pl.col("ds").is_between(date(2017, 12, 27), date(2017, 12, 30)))
    assert newest["rows"] == quiet.filter(pl.col("model") == "3").height  # not New Year's eve
    assert {date(2015, 7, 4), EASTER} <= set(holidays_of(date(2015, 6, 1), until, "US"))


@pytest.mark.score("monitoring", 7)
def test_what_was_measured_is_what_the_gate_is_asked(seen: Evidence) -> None:
    trainings = [NOW - timedelta(days=29), NOW - timedelta(days=12), NOW - timedelta(days=31)]
    state = monitoring(
        Champion(),  # type: ignore[arg-type]
        seen,
        failed_checks=[],
        trainings=trainings,
        now=NOW,
        timezone="America/New_York",
    )
    assert (state.days_since_training, state.recent_trainings) == (12, 2)
    assert state.model_age_days == 30
    decision = decide(state)
    assert decision.outcome == "retrain"
    assert "the model is 30 days old, more than 28" in decision.reasons
    assert decision.train


@pytest.mark.parametrize(
    ("began", "now", "days"),
    [
        ("2017-09-04T07:09", "2017-09-11T07:00", 7),  # by the schedule, a week later
        ("2017-09-04T23:30", "2017-09-11T00:10", 7),
        ("2017-11-05T06:00", "2017-11-12T06:00", 7),
        ("2018-03-11T00:30", "2018-03-18T00:20", 7),  # a day of 23 hours between
        ("2017-09-11T06:00", "2017-09-11T23:59", 0),
        ("2017-08-12T07:00", "2017-09-11T07:00", 30),
        ("2017-08-12T06:59", "2017-09-11T07:00", None),  # longer ago than trainings are counted
    ],
)
def test_the_cooldown_counts_days_of_the_business_as_a_replay_does(
    seen: Evidence, began: str, now: str, days: int | None
) -> None:
    zone = ZoneInfo("America/New_York")
    begun, asked = (datetime.fromisoformat(t).replace(tzinfo=zone) for t in (began, now))
    state = monitoring(
        Champion(),  # type: ignore[arg-type]
        seen,
        failed_checks=[],
        trainings=[begun],
        now=asked,
        timezone=zone.key,
    )
    assert state.days_since_training == days


def test_sales_that_were_never_like_this_hold_the_gate(
    issued: pl.DataFrame, sales: pl.DataFrame, plan: pl.DataFrame, series: pl.DataFrame
) -> None:
    recent = pl.col("ds") > UNTIL - timedelta(days=7)
    cents = sales.with_columns(pl.when(recent).then(pl.col("price") * 100).otherwise("price"))
    state = monitoring(
        Champion(),  # type: ignore[arg-type]
        evidence(
            Settings(_env_file=None, drift_statistics="scipy"),
            issued=issued,
            sales=cents,
            plan=plan,
            series=series,
            model=MODEL,
            until=UNTIL,
        ),
        failed_checks=["sales: rows"],
        trainings=[],
        now=NOW,
        timezone="America/New_York",
    )
    assert state.failed_checks == ["history: rows far from their usual price", "sales: rows"]
    assert decide(state).outcome == "hold"
    assert state.days_since_training is None


HEALTHY: dict[str, Any] = {
    "failed_checks": [],
    "drifted": ["price"],
    "n_features": 4,
    "muted": "",
    "matured_days": 28,
    "loss_cusum": 0.1,
    "bias_cusum": -0.05,
    "loss_ratio": 1.0,
    "naive_ratio": 0.7,
    "naive_weeks": 0,
    "coverage_80": 0.8,
    "coverage_low": 0.78,
    "coverage_high": 0.82,
    "model_age_days": 28,
    "days_since_training": None,
    "recent_trainings": 0,
}


def test_an_account_says_outcome_meaning_reasons_and_limits() -> None:
    decision = decide_retrain(**HEALTHY)
    text = account(decision, "scheduled retraining")
    assert text.startswith("# alert: scheduled retraining\n")
    assert f"{MEANING['alert']} A training follows." in text
    assert all(f"- {reason}" in text for reason in decision.reasons)
    assert "| Did the conditions of trade move? Drifted | price of 4 features |" in text
    band = "Sales that the 80 % band holds, with 95 % bounds | 0.8 (0.78 to 0.82) | 0.72 to 0.88 |"
    assert band in text
    muted = account(decide_retrain(**HEALTHY | {"muted": "2017-11-23", "drifted": []}), "x")
    assert "not judged, 2017-11-23 is a holiday" in muted
    unknown = account(decide_retrain(**HEALTHY | {"naive_ratio": None}), "x")
    assert "No training follows." in unknown
    assert "not measured" in unknown


def test_every_outcome_has_a_meaning_and_promotions_are_told_too() -> None:
    for outcome in ("hold", "insufficient", "pass", "alert", "retrain", "fall_back"):
        assert MEANING[outcome]  # type: ignore[index]
    seen = {"ratio": 1.02, "ratio_upper": 1.04, "limit": 1.0, "shadow heavier_mb": 3.0}
    text = account(GateDecision("promote", "hold", ("no better",), seen), "version 4")
    assert text.startswith("# hold: version 4\n\nFor: model. What to do: docs/runbook.md#a-chal")
    assert "\n- no better\n\n| measured | value | limit |\n" in text
    assert "| ratio | 1.02 |  |\n| ratio_upper | 1.04 | below 1 |" in text
    assert "| shadow heavier_mb | 3 | 200 |" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "For: model. What to do: docs/runbook.md#the-retraining-gate-says-alert"),
        ({"failed_checks": ["rows"]}, "For: data. What to do: docs/runbook.md#the-retraining-gate"),
        ({"drifted": []}, ""),
    ],
)
def test_who_has_to_look_at_a_decision_is_said(changes: dict[str, Any], said: str) -> None:
    text = account(decide_retrain(**HEALTHY | changes), "x")
    assert said in text
    assert ("For: " in text) == bool(said)
