"""The calendar of the whole chain: what it finds, and what it does to a level."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from data.schema import PLAN
from feature_repo.build import feature_rows
from models.dataset import MatrixSpec, history
from models.day_profile import calendar_forecast, fit_profile, unseen

CUTOFF, FIRST = date(2017, 9, 10), date(2017, 1, 1)
SPEC = MatrixSpec(("i0",), "US", ("12-25",))
OPEN = np.zeros(2 * 28, dtype=bool)  # of two series


def busy(day: date) -> float:
    """A chain that sells twice as much on Saturdays and half as much again until the fifth."""
    return (2.0 if day.isoweekday() == 6 else 1.0) * (1.5 if day.day <= 5 else 1.0)


@pytest.fixture(scope="module")
def sales() -> pl.DataFrame:
    days = [FIRST + timedelta(days=k) for k in range((CUTOFF - FIRST).days + 1)]
    levels = {("s0", "i0"): 40.0, ("s1", "i0"): 4.0}
    rows = [(*key, d, level * busy(d), 1.0) for key, level in levels.items() for d in days]
    return pl.DataFrame(rows, schema=["store_id", "item_id", "ds", "y", "price"], orient="row")


@pytest.fixture(scope="module")
def features(sales: pl.DataFrame) -> pl.DataFrame:
    series, plan = sales.select("store_id", "item_id").unique(), pl.DataFrame(schema=PLAN)
    views = feature_rows(sales, plan, series, cutoff=CUTOFF, snapshot_id="x", steps=SPEC.steps)
    return views["demand"].join(views["store_demand"], on="store_id").sort("store_id")


def test_weekdays_and_the_course_of_the_month_are_found(
    sales: pl.DataFrame, features: pl.DataFrame
) -> None:
    dense = history(sales, features, CUTOFF, SPEC.steps)
    forecast = calendar_forecast(features, 28, fit_profile(dense, CUTOFF, SPEC), SPEC, OPEN)
    days = [CUTOFF + timedelta(days=k) for k in range(1, 29)]
    expected = 40 * np.array([busy(day) for day in days])
    assert np.abs(forecast[:28] / expected - 1).mean() < 0.1
    assert forecast[28:] == pytest.approx(forecast[:28] / 10, rel=0.02)


def test_a_store_bends_the_week_of_the_chain_towards_its_own(
    sales: pl.DataFrame, features: pl.DataFrame
) -> None:
    profile = fit_profile(history(sales, features, CUTOFF, SPEC.steps), CUTOFF, SPEC)
    quiet = features.with_columns(store_dow_index_6=pl.lit(0.5), store_dow_index_1=pl.lit(2.0))
    usual, bent = (
        calendar_forecast(f, 14, profile, SPEC, OPEN[:28])[:14] for f in (features, quiet)
    )
    weekday = np.array([(CUTOFF + timedelta(days=k)).isoweekday() for k in range(1, 15)])
    same = np.isin(weekday, (2, 3, 4, 5, 7))
    assert bent[same] == pytest.approx(usual[same])
    assert (bent[weekday == 1] > 1.3 * usual[weekday == 1]).all()
    assert (bent[weekday == 6] < 0.6 * usual[weekday == 6]).all()
    small = quiet.with_columns(store_mean_28=pl.lit(0.01))  # has shown next to nothing
    assert calendar_forecast(small, 14, profile, SPEC, OPEN[:28])[:14] == pytest.approx(
        usual, rel=0.05
    )


def _factors(days: dict[date, float], target: date, *, first: date = FIRST) -> list[float]:
    """How busy the three days up to the target are, for a flat chain but for some days."""
    sold = pl.select(ds=pl.date_range(first, CUTOFF)).with_columns(
        store_id=pl.lit("s0"),
        item_id=pl.lit("i0"),
        y=3.0 * pl.col("ds").replace_strict(days, default=1.0),
        price=pl.lit(1.0),
    )
    series, plan = sold.select("store_id", "item_id").unique(), pl.DataFrame(schema=PLAN)
    views = feature_rows(sold, plan, series, cutoff=CUTOFF, snapshot_id="x", steps=SPEC.steps)
    features = views["demand"].join(views["store_demand"], on="store_id")
    profile = fit_profile(history(sold, series, CUTOFF, SPEC.steps), CUTOFF, SPEC)
    ahead = (target - CUTOFF).days
    open_days = np.zeros(ahead, dtype=bool)
    return list(calendar_forecast(features, ahead, profile, SPEC, open_days)[-3:] / 3)


def test_one_feast_tells_of_another_and_a_holiday_does_not() -> None:
    thanksgiving, columbus = date(2017, 11, 23), date(2017, 10, 9)
    easter = {date(2017, 4, 14): 1.6, date(2017, 4, 15): 1.6, date(2017, 4, 16): 0.4}
    before, eve, feast = _factors(easter, thanksgiving)
    assert before > 1.05 and eve > 1.05 and feast < 0.9
    assert _factors(easter, columbus) == pytest.approx([1, 1, 1], abs=0.04)
    assert _factors({date(2017, 7, 4): 2.0}, thanksgiving) == pytest.approx([1, 1, 1], abs=0.04)


def test_a_holiday_does_again_what_it_did_rather_than_what_others_did() -> None:
    columbus, first = date(2017, 10, 9), date(2016, 1, 1)
    again = _factors({date(2016, 10, 10): 2.0}, columbus, first=first)[-1]
    other = _factors({date(2016, 9, 5): 2.0}, columbus, first=first)[-1]
    assert again > 1.08 > 1.05 > other


def _uneven(first: date, units: float) -> pl.DataFrame:
    """A chain that sells ten to forty times so many units a day, the more the later in a month."""
    days = pl.select(ds=pl.date_range(first, CUTOFF))
    y = units * (pl.col("ds").dt.day() + 9)
    return days.with_columns(store_id=pl.lit("s0"), item_id=pl.lit("i0"), y=y)


@pytest.mark.parametrize(("first", "seen"), [(FIRST, False), (date(2016, 1, 1), True)])
def test_days_around_a_holiday_are_uncertain_until_history_holds_it(
    first: date, seen: bool
) -> None:
    profile = fit_profile(_uneven(first, 100.0), CUTOFF, SPEC)
    variances = unseen(CUTOFF, 35, profile, SPEC.holiday_country, SPEC.steps)
    columbus = (date(2017, 10, 9) - CUTOFF).days - 1
    around = slice(columbus - 2, columbus + 2)
    assert profile.variance > 0 and np.delete(variances, around) == pytest.approx(0)
    assert variances[around] == pytest.approx([0.0 if seen else profile.variance] * 4)


def test_what_counting_alone_does_makes_no_day_uncertain() -> None:
    assert fit_profile(_uneven(FIRST, 0.1), CUTOFF, SPEC).variance == 0


def test_a_flat_chain_is_forecast_at_its_level(sales: pl.DataFrame) -> None:
    flat = sales.with_columns(y=pl.lit(3.0))
    profile = fit_profile(history(flat, flat, CUTOFF, SPEC.steps), CUTOFF, SPEC)
    assert [c for _, c in profile.coefficients] == pytest.approx(
        [0.0] * len(profile.coefficients), abs=1e-9
    )


def test_later_sales_do_not_move_the_profile(sales: pl.DataFrame) -> None:
    early = CUTOFF - timedelta(days=28)
    later = sales.with_columns(y=pl.when(pl.col("ds") > early).then(99.0).otherwise("y"))
    left, right = (
        fit_profile(history(s, s, early, SPEC.steps), early, SPEC) for s in (sales, later)
    )
    assert left == right


def test_a_day_on_which_the_chain_sold_nothing_teaches_nothing(sales: pl.DataFrame) -> None:
    shut = sales.with_columns(y=pl.when(pl.col("ds") == date(2017, 7, 4)).then(0.0).otherwise("y"))
    for frame in (sales, shut):
        profile = fit_profile(history(frame, frame, CUTOFF, SPEC.steps), CUTOFF, SPEC)
        assert np.isfinite([c for _, c in profile.coefficients]).all()


def test_the_level_of_a_young_series_counts_the_days_since_its_first_sale(
    features: pl.DataFrame, sales: pl.DataFrame
) -> None:
    profile = fit_profile(history(sales, sales, CUTOFF, SPEC.steps), CUTOFF, SPEC)
    young = features.with_columns(age_days=pl.lit(0.0), mean_28=80.0, mean_56=80.0)
    # Its only day is the cutoff, a Sunday, which is no busier than a Monday.
    monday = calendar_forecast(young, 1, profile, SPEC, OPEN[:2])[0]
    assert monday == pytest.approx(80, rel=0.15)


def test_a_closed_day_is_forecast_as_zero(features: pl.DataFrame, sales: pl.DataFrame) -> None:
    profile = fit_profile(history(sales, sales, CUTOFF, SPEC.steps), CUTOFF, SPEC)
    closed = np.array([False, True, False, True])
    forecast = calendar_forecast(features, 2, profile, SPEC, closed)
    assert ((forecast == 0) == closed).all()
