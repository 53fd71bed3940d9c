"""Calendar features of target days: pure functions of the date."""

from datetime import date
from functools import lru_cache

import holidays
import numpy as np
from numpy.typing import NDArray

from data.steps import Steps

CALENDAR_FEATURES = ["dow", "dom", "is_holiday", "days_to_holiday", "days_since_holiday"]
FAR = 15  # days; further than two weeks from a holiday is all the same


@lru_cache(maxsize=64)
def public_holidays(country: str, year: int) -> tuple[date, ...]:
    """Public holidays of a country in a year, sorted (`holidays` library)."""
    return tuple(sorted(holidays.country_holidays(country, years=year)))


@lru_cache(maxsize=4096)
def calendar_row(day: date, country: str, days: int) -> tuple[float, ...]:
    """The CALENDAR_FEATURES of the target step of `days` days that ends with `day`.

    `dow` is its place in the season: the ISO weekday of a day, the ISO week of a week.
    """
    near = [
        (h - day).days
        for year in (day.year - 1, day.year, day.year + 1)
        for h in public_holidays(country, year)
        if abs((h - day).days) <= FAR
    ]
    ahead = min((d for d in near if d >= 0), default=FAR)
    behind = min((-d for d in near if d <= 0), default=FAR)
    place = day.isoweekday() if days == 1 else day.isocalendar().week
    return (place, day.day, float(behind < days), ahead, behind)


@lru_cache(maxsize=1024)
def calendar_matrix(
    cutoff: date, horizon: int, country: str, steps: Steps
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Calendar of the `horizon` steps after a cutoff.

    Returns an array (horizon, len(CALENDAR_FEATURES)) and the mask of closed steps (horizon,).
    """
    ahead = steps.ahead(cutoff, horizon)
    closed = np.array([steps.is_closed(ds) for ds in ahead])
    return np.array([calendar_row(ds, country, steps.days) for ds in ahead]), closed
