"""Calendar features of target days: pure functions of the date."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache

import holidays
import numpy as np
from numpy.typing import NDArray

CALENDAR_FEATURES = ["dow", "dom", "is_holiday", "days_to_holiday", "days_since_holiday"]
FAR = 15  # days; further than two weeks from a holiday is all the same


def is_closed(day: date, closed_days: Sequence[str]) -> bool:
    """Whether `day` is one of the month-day texts (`12-25`) on which every store is closed."""
    return f"{day:%m-%d}" in closed_days


@lru_cache(maxsize=64)
def public_holidays(country: str, year: int) -> tuple[date, ...]:
    """Public holidays of a country in a year, sorted (`holidays` library)."""
    return tuple(sorted(holidays.country_holidays(country, years=year)))


@lru_cache(maxsize=4096)
def calendar_row(day: date, country: str) -> tuple[float, ...]:
    """The CALENDAR_FEATURES of one target day."""
    near = [
        (h - day).days
        for year in (day.year - 1, day.year, day.year + 1)
        for h in public_holidays(country, year)
        if abs((h - day).days) <= FAR
    ]
    ahead = min((d for d in near if d >= 0), default=FAR)
    behind = min((-d for d in near if d <= 0), default=FAR)
    return (day.isoweekday(), day.day, float(ahead == 0), ahead, behind)


@lru_cache(maxsize=1024)
def calendar_matrix(
    cutoff: date, horizon: int, country: str, closed_days: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Calendar of the `horizon` days after a cutoff.

    Returns an array (horizon, len(CALENDAR_FEATURES)) and the mask of closed days (horizon,).
    """
    days = [cutoff + timedelta(days=step) for step in range(1, horizon + 1)]
    closed = np.array([is_closed(d, closed_days) for d in days])
    return np.array([calendar_row(d, country) for d in days]), closed
