"""How busy a day of the calendar is for the whole chain: ridge regression on its daily totals.

A shock of a day hits every series at once, so thousands of series hold no more evidence about the
calendar than their sum does. It is learnt there, with few coefficients; boosters learn the rest.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_repo.calendar import is_closed, public_holidays
from models.dataset import MatrixSpec, cutoff_dates

Profile = tuple[float, ...]

HARMONICS = 3  # of the course over the month: wages and benefits are paid at its start
HOLIDAY_OFFSETS = (-2, -1, 0, 1)  # days from a public holiday
RIDGE = 3.0  # days of average that each coefficient is drawn to zero by
LEVEL_HALF_LIFE = 21  # days; what moves more slowly than this is the level, not the calendar
FORGETTING = 200  # days after which a day counts half in the regression
TINY = 1e-9
ROUNDS = 4  # of level and calendar in turn
LEVEL_WEIGHTS = {28: 0.4, 56: 0.6}  # of the means over the last so many days
SHARE = 0.3  # of the calendar's forecast in the whole; the rest is the booster's


@lru_cache(maxsize=4096)
def _regressors(day: date, country: str) -> tuple[float, ...]:
    """Weekday, place in the month, and holidays around a day."""
    weekday = [float(day.isoweekday() == d) for d in range(1, 8)]
    length = ((day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day
    angle = 2 * np.pi * (day.day - 1) / length
    month = [f(k * angle) for k in range(1, HARMONICS + 1) for f in (np.sin, np.cos)]
    holidays = [
        float(near in public_holidays(country, near.year))
        for near in (day - timedelta(days=offset) for offset in HOLIDAY_OFFSETS)
    ]
    return (*weekday, *(float(m) for m in month), *holidays)


def _matrix(days: Sequence[date], country: str) -> NDArray[np.float64]:
    return np.array([_regressors(day, country) for day in days])


def fit_profile(history: pl.DataFrame, cutoff: date, country: str) -> Profile:
    """Coefficients of the log factor of a day, from the chain's totals up to the cutoff.

    `history` is the dense (store_id, item_id, ds, y) of models.dataset.history; days on which the
    whole chain sold nothing are left out. Level and calendar
    are estimated in turn: the level is a two-sided exponential mean of the totals over the factors,
    the factors a ridge regression of the totals over the level, newer days weighing more.
    """
    totals = history.filter(pl.col("ds") <= cutoff).group_by("ds").agg(pl.col("y").sum())
    totals = totals.filter(pl.col("y") > 0).sort("ds")
    days, y = totals["ds"].to_list(), totals["y"].to_numpy()
    x = _matrix(days, country)
    age = np.array([(cutoff - day).days for day in days], dtype=float)
    weight = 0.5 ** (age / FORGETTING)
    near = 0.5 ** (np.abs(age[:, None] - age[None, :]) / LEVEL_HALF_LIFE)
    near /= near.sum(axis=1, keepdims=True)
    gram = (x * weight[:, None]).T @ x + RIDGE * np.eye(x.shape[1])
    coefficients = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        level = near @ (y / np.exp(x @ coefficients))
        coefficients = np.linalg.solve(gram, (x * weight[:, None]).T @ np.log(y / level))
    return tuple(float(c) for c in coefficients)


@lru_cache(maxsize=8192)
def _factor(day: date, profile: Profile, country: str) -> float:
    return float(np.exp(np.dot(_regressors(day, country), profile)))


@lru_cache(maxsize=1024)
def _around(
    cutoff: date, horizon: int, profile: Profile, country: str, closed_days: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors of the days after a cutoff (horizon,), and the mean factor of the last n open days.

    The means are (longest window,), n - 1 their index.
    """
    after = [_factor(cutoff + timedelta(days=k), profile, country) for k in range(1, horizon + 1)]
    days = [cutoff - timedelta(days=k) for k in range(max(LEVEL_WEIGHTS))]
    is_open = np.array([not is_closed(day, closed_days) for day in days])
    factors = np.where(is_open, [_factor(day, profile, country) for day in days], 0.0)
    return np.array(after), np.cumsum(factors) / np.maximum(np.cumsum(is_open), 1)


def calendar_forecast(
    features: pl.DataFrame, horizon: int, profile: Profile, spec: MatrixSpec
) -> NDArray[np.float64]:
    """Level of each series times the factor of each target day, (features.height * horizon,).

    The level is a mean of the last open days, freed of how busy just these days are. Rows are
    ordered by series, then by step. Closed days have no forecast of their own: the caller knows.
    """
    cutoffs = cutoff_dates(features).to_list()
    around = {
        c: _around(c, horizon, profile, spec.holiday_country, spec.closed_days)
        for c in set(cutoffs)
    }
    age = features["age_days"].fill_null(0).to_numpy().astype(int)
    level = np.zeros(features.height)
    for window, weight in LEVEL_WEIGHTS.items():
        last = np.minimum(age, window - 1)  # a young series is younger than the window is long
        usual = np.array([around[c][1][n] for c, n in zip(cutoffs, last, strict=True)])
        level += weight * features[f"mean_{window}"].to_numpy() / np.maximum(usual, TINY)
    after = np.stack([around[c][0] for c in cutoffs])
    return (level[:, None] * after).ravel()


def with_calendar(
    boosted: NDArray[np.float64], calendar: NDArray[np.float64], closed: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The point forecast: a fixed mean of the booster's and the calendar's; 0 on closed days."""
    return np.where(closed, 0.0, boosted + SHARE * (calendar - boosted))
