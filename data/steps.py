"""The steps that sales and forecasts go in: days, or weeks that are named by their last day."""

from dataclasses import dataclass
from datetime import date, timedelta

SEASONS = {1: 7, 7: 52}  # steps after which sales are like themselves again, by a step's days


@dataclass(frozen=True)
class Steps:
    """The length of a step in days, 1 or 7, and the days on which every store is closed.

    A step is named by its last day, the `ds` of its row. Horizons, leads and lags count steps;
    spans of time that are named in days (a mean over 28 days) hold the steps that end in them.
    `closed_days` are month-day texts (`12-25`).
    """

    days: int = 1
    closed_days: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What people call the steps that a model forecasts."""
        return {1: "forecast days", 7: "last days of forecast weeks"}[self.days]

    @property
    def unit(self) -> str:
        """What people call one step."""
        return {1: "day", 7: "week"}[self.days]

    @property
    def season(self) -> int:
        """Steps of a season: a week of days, a year of weeks."""
        return SEASONS[self.days]

    def after(self, ds: date, steps: int) -> date:
        """The step so many steps after `ds`; before it for a negative number."""
        return ds + timedelta(days=self.days * steps)

    def ahead(self, cutoff: date, horizon: int) -> list[date]:
        """The steps 1 … horizon after a cutoff."""
        return [self.after(cutoff, k) for k in range(1, horizon + 1)]

    def between(self, after: date, until: date) -> list[date]:
        """The steps after `after`, which is one, up to `until`."""
        return self.ahead(after, (until - after).days // self.days)

    def dates(self, ds: date) -> list[date]:
        """The days of the step `ds`, in order."""
        return [ds - timedelta(days=k) for k in reversed(range(self.days))]

    def is_closed(self, ds: date) -> bool:
        """Whether every store is closed on all days of the step."""
        return all(f"{day:%m-%d}" in self.closed_days for day in self.dates(ds))
