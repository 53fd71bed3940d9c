"""Calendar features of target days: pure functions of the date."""

from collections.abc import Iterable
from datetime import date
from functools import lru_cache

import holidays
import numpy as np
from dateutil.easter import easter
from numpy.typing import NDArray

from data.steps import Steps

CALENDAR_FEATURES = [
    *("dow", "dom", "is_holiday", "days_to_holiday", "days_since_holiday"),
    *("days_to_feast", "days_since_feast"),
]
FAR = 15  # days; further than two weeks from a holiday is all the same
THANKSGIVING = "Thanksgiving Day"


@lru_cache(maxsize=64)
def public_holidays(country: str, year: int) -> dict[date, str]:
    """Public holidays of a country in a year with their names, by day (`holidays` library)."""
    return dict(sorted(holidays.country_holidays(country, years=year).items()))


@lru_cache(maxsize=64)
def feasts(country: str, year: int) -> dict[date, str]:
    """Feasts of a year with their names, by day: Easter, Christmas, Thanksgiving where it is kept.

    Families eat at home on them: shops are full on the days before and nearly empty on the day, so
    that other holidays tell nothing of a feast, and one feast tells of the others.
    """
    public = public_holidays(country, year)
    thanksgiving = {day: name for day, name in public.items() if name == THANKSGIVING}
    return {easter(year): "Easter Sunday", **thanksgiving, date(year, 12, 25): "Christmas Day"}


@lru_cache(maxsize=64)
def plain_holidays(country: str, year: int) -> dict[date, str]:
    """Public holidays of a year that are no feasts, with their names, by day."""
    kept = feasts(country, year)
    return {day: name for day, name in public_holidays(country, year).items() if day not in kept}


def _distances(day: date, of: Iterable[date]) -> tuple[int, int]:
    """Days to the next of some days, and since the last of them; FAR at most."""
    away = [(other - day).days for other in of]
    ahead = min((d for d in away if d >= 0), default=FAR)
    behind = min((-d for d in away if d <= 0), default=FAR)
    return min(ahead, FAR), min(behind, FAR)


@lru_cache(maxsize=4096)
def calendar_row(day: date, country: str, days: int) -> tuple[float, ...]:
    """The CALENDAR_FEATURES of the target step of `days` days that ends with `day`.

    `dow` is its place in the season: the ISO weekday of a day, the ISO week of a week. Feasts are
    no holidays here.
    """
    years = (day.year - 1, day.year, day.year + 1)
    to_holiday = _distances(day, [h for y in years for h in plain_holidays(country, y)])
    to_feast = _distances(day, [f for y in years for f in feasts(country, y)])
    place = day.isoweekday() if days == 1 else day.isocalendar().week
    return (place, day.day, float(to_holiday[1] < days), *to_holiday, *to_feast)


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
