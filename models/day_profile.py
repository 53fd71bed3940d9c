"""How busy a day of the calendar is for the whole chain: ridge regression on its totals.

A shock of a day hits every series at once, so thousands of series hold no more evidence about the
calendar than their sum does. It is learnt there, with few coefficients; a store bends the week of
the chain towards its own; boosters learn the rest.
In weekly data a week stands where a day does.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.schema import WEEK
from data.steps import Steps
from feature_repo.calendar import feasts, plain_holidays
from models.dataset import Matrix, MatrixSpec, cutoff_dates, numbers

SHARE = 0.3  # of the calendar in the point forecast

WEEKDAY = "weekday {}"
HARMONICS = 3  # of the course over the month, as wages are paid at its start, and over the year
KINDS = ("holiday", "feast")
HOLIDAY_OFFSETS = (-2, -1, 0, 1)  # days from a holiday or a feast
RIDGE = 3.0  # steps of average that each coefficient is drawn to zero by
FEAST_RIDGE = 0.5  # of feasts: a year holds one or two, and what they do is far from zero
OWN_RIDGE = 1.0  # of a holiday or a feast by its own name, beside all holidays or feasts together
LEVEL_HALF_LIFE = 21  # steps; what moves more slowly than this is the level, not the calendar
FORGETTING = 200  # steps after which one counts half in the regression
TINY = 1e-9
ROUNDS = 4  # of level and calendar in turn
LEVEL_WEIGHTS = {28: 0.4, 56: 0.6}  # of the means over the last so many days
STORE_POWER = 0.6  # of a store's own week
STORE_PRIOR = 20.0  # units of a weekday that hold it back
WEEKS = 12  # that a store's index of a weekday is the mean of


@dataclass(frozen=True)
class Profile:
    """What bears on the log factor of a step and by how much, by name.

    `variance` is that of the log total of a step around its level and factor, counting noise apart.
    """

    coefficients: tuple[tuple[str, float], ...]
    variance: float


def _waves(name: str, place: int, length: float) -> dict[str, float]:
    """Sines and cosines of a place in a cycle of some length."""
    angle = 2 * np.pi * place / length
    orders = range(1, HARMONICS + 1)
    return {
        f"{name} {f.__name__} {k}": float(f(k * angle)) for k in orders for f in (np.sin, np.cos)
    }


def _season(ds: date, steps: Steps) -> dict[str, float]:
    """Weekday of a day, place in the year of a week."""
    if steps.days == 1:
        return {WEEKDAY.format(ds.isoweekday()): 1.0}
    return _waves("year", ds.timetuple().tm_yday, 365.25)


def _holidays(day: date, country: str) -> Iterator[str]:
    """What the holidays and feasts around a day are called, of all together and by name."""
    for offset in HOLIDAY_OFFSETS:
        near = day - timedelta(days=offset)
        for kind, of in zip(KINDS, (plain_holidays, feasts), strict=True):
            if name := of(country, near.year).get(near):
                yield f"{kind} {offset:+d}"
                yield f"{kind} {offset:+d} {name}"


@lru_cache(maxsize=4096)
def _regressors(ds: date, country: str, steps: Steps) -> dict[str, float]:
    """Season, place in the month, and holidays around a step, by name; of all its days."""
    days, found = steps.dates(ds), defaultdict[str, float](float, _season(ds, steps))
    for day in days:
        length = ((day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day
        for name, value in _waves("month", day.day - 1, length).items():
            found[name] += value / len(days)
        for name in _holidays(day, country):
            found[name] += 1
    return dict(found)


def _ridge(name: str) -> float:
    """Steps of average that the coefficient of a regressor is drawn to zero by."""
    kind, *rest = name.split(" ", maxsplit=2)
    if kind in KINDS and len(rest) > 1:
        return OWN_RIDGE
    return FEAST_RIDGE if kind == "feast" else RIDGE


def fit_profile(history: pl.DataFrame, cutoff: date, spec: MatrixSpec) -> Profile:
    """The chain's calendar from its totals up to the cutoff.

    `history` is the dense (store_id, item_id, ds, y) of models.dataset.history; steps in which the
    whole chain sold nothing are left out. Level and calendar are estimated in turn: the level is a
    two-sided exponential mean of the totals over the factors, the factors a ridge regression of the
    totals over the level, newer steps weighing more. A season that was not seen twice can't be told
    from the level and has no effect.
    """
    totals = history.filter(pl.col("ds") <= cutoff).group_by("ds").agg(pl.col("y").sum())
    totals = totals.filter(pl.col("y") > 0).sort("ds")
    days, y = totals["ds"].to_list(), totals["y"].to_numpy()
    steps = spec.steps
    found = [_regressors(day, spec.holiday_country, steps) for day in days]
    age = np.array([(cutoff - day).days / steps.days for day in days])
    unknown = days if age.max() + 1 < 2 * steps.season else []
    seasons = {name for day in unknown for name in _season(day, steps)}
    names = sorted({name for row in found for name in row} - seasons)
    x = np.array([[row.get(name, 0.0) for name in names] for row in found])
    weight = 0.5 ** (age / FORGETTING)
    near = 0.5 ** (np.abs(age[:, None] - age[None, :]) / LEVEL_HALF_LIFE)
    near /= near.sum(axis=1, keepdims=True)
    gram = (x * weight[:, None]).T @ x + np.diag([_ridge(name) for name in names])
    coefficients = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        level = near @ (y / np.exp(x @ coefficients))
        coefficients = np.linalg.solve(gram, (x * weight[:, None]).T @ np.log(y / level))
    counting = 1 / level  # variance of the logarithm of a Poisson count
    missed = (np.log(y / level) - x @ coefficients) ** 2 - counting
    variance = max(float(np.average(missed, weights=weight)), 0.0)
    return Profile(tuple(zip(names, coefficients.tolist(), strict=True)), variance)


@lru_cache(maxsize=1024)
def unseen(cutoff: date, horizon: int, profile: Profile, country: str, steps: Steps) -> Matrix:
    """Variance (horizon,) of the steps' log factors from holidays that history does not hold.

    Of what such a holiday does by its own name nothing is known but how far the regression draws it
    to zero. As the prior of a Bayesian (Lindley and Smith 1972) that is a variance: the one of a
    step over the steps of average that it is drawn by.
    """
    known = {name for name, _ in profile.coefficients}
    variances = np.zeros(horizon)
    for k, ds in enumerate(steps.ahead(cutoff, horizon)):
        for name, value in _regressors(ds, country, steps).items():
            if name.startswith(KINDS) and name not in known:
                variances[k] += profile.variance * value**2 / _ridge(name)
    return variances


@lru_cache(maxsize=8192)
def _factor(ds: date, profile: Profile, country: str, steps: Steps) -> float:
    found = _regressors(ds, country, steps)
    return float(np.exp(sum(c * found.get(name, 0.0) for name, c in profile.coefficients)))


@lru_cache(maxsize=1024)
def _around(
    cutoff: date, horizon: int, profile: Profile, country: str, steps: Steps
) -> tuple[Matrix, Matrix]:
    """Factors of the steps after a cutoff (horizon,), and the mean of the open ones of n last days.

    The means are (longest window,), n - 1 their index.
    """
    after = [_factor(ds, profile, country, steps) for ds in steps.ahead(cutoff, horizon)]
    days = [cutoff - timedelta(days=k) for k in range(max(LEVEL_WEIGHTS))]
    is_open = np.array([k % steps.days == 0 and not steps.is_closed(d) for k, d in enumerate(days)])
    factors = np.where(is_open, [_factor(day, profile, country, steps) for day in days], 0.0)
    return np.array(after), np.cumsum(factors) / np.maximum(np.cumsum(is_open), 1)


def calendar_forecast(
    features: pl.DataFrame,
    horizon: int,
    profile: Profile,
    spec: MatrixSpec,
    closed: NDArray[np.bool_],
) -> Matrix:
    """Level of each series times the factor of each target step, (features.height * horizon,).

    The level is a mean of the last open steps, freed of how busy just these are; the factor is that
    of the chain, in daily data bent to the week of the store. Rows are ordered by series, then by
    step, as are the days that are `closed` (n,): those are forecast as 0.
    """
    cutoffs = cutoff_dates(features).to_list()
    around = {
        c: _around(c, horizon, profile, spec.holiday_country, spec.steps) for c in set(cutoffs)
    }
    age = np.nan_to_num(numbers(features, ["age_days"])[:, 0]).astype(int)
    level = np.zeros(features.height)
    for window, weight in LEVEL_WEIGHTS.items():
        last = np.minimum(age, window - 1)  # a young series is younger than the window is long
        usual = np.array([around[c][1][n] for c, n in zip(cutoffs, last, strict=True)])
        level += weight * features[f"mean_{window}"].to_numpy() / np.maximum(usual, TINY)
    result = level[:, None] * np.stack([around[c][0] for c in cutoffs])
    if spec.steps.days == 1:
        first = np.array([c.isoweekday() for c in cutoffs])  # of Monday = 0: that of the first step
        weekday = (first[:, None] + np.arange(horizon)) % 7
        result *= np.take_along_axis(_store_week(features, profile), weekday, axis=1)
    return np.where(closed, 0.0, result.ravel())


def averaged(boosted: Matrix, calendar: Matrix, share: float = SHARE) -> Matrix:
    """The point forecast (n,): the booster's (n,) and the calendar's (n,), which has a `share`."""
    return boosted + share * (calendar - boosted)


def _store_week(features: pl.DataFrame, profile: Profile) -> Matrix:
    """Factors (rows, Monday … Sunday) from the week of the chain towards that of each store."""
    coefficients = dict(profile.coefficients)
    chain = np.exp([coefficients.get(WEEKDAY.format(d), 0.0) for d in WEEK])
    own = numbers(features, [f"store_dow_index_{d}" for d in WEEK]) * chain.mean() / chain
    units = features["store_mean_28"].to_numpy()[:, None] * WEEKS
    return np.asarray(((units * own + STORE_PRIOR) / (units + STORE_PRIOR)) ** STORE_POWER)
