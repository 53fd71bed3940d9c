"""What `bench-accuracy-full` compares, and where: origins before the headline."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

from benchmarks.accuracy.lab import Cell, Variant
from models import gbm
from models.dataset import INPUTS
from models.explain import group_of

WEEKS = 12  # of weekly origins before the newest, and the age of the oldest model
MONTH = 4  # weeks between two trainings of what is not judged by age
HISTORIES = (12, 16, 20, 24)  # weeks of sales, 8 of which the first features rest on
DEFAULTS = Variant("defaults", gbm.DEFAULTS)
CALENDAR = "the chain's own calendar"

Fits = list[tuple[date, ...]]  # the origins of each training, the first of them its own cutoff


@dataclass(frozen=True)
class Origins:
    """The origins of the four tables, all of them found from the newest."""

    last: date

    @property
    def weekly(self) -> list[date]:
        return [self.last - timedelta(weeks=k) for k in range(WEEKS, -1, -1)]

    def every(self, weeks: int) -> Fits:
        """Trainings of the weekly origins, each in use until the next."""
        return [tuple(self.weekly[k : k + weeks]) for k in range(0, WEEKS + 1, weeks)]

    @property
    def monthly(self) -> Fits:
        """Two trainings 4 weeks apart; the second is in use for the newest 5 origins."""
        return [tuple(self.weekly[-1 - 2 * MONTH : -1 - MONTH]), tuple(self.weekly[-1 - MONTH :])]

    @property
    def newest(self) -> Fits:
        """The trainings that know the longest histories, 4 weeks apart."""
        return [tuple(self.weekly[-1 - MONTH : -1]), (self.last,)]

    @property
    def searched(self) -> list[date]:
        """Folds of the search; their days end with the first origin that is judged."""
        first = self.monthly[0][0]
        return [first - timedelta(weeks=k * MONTH) for k in (2, 1)]


def without() -> list[Variant]:
    """The defaults without each group of inputs, and without the calendar that they are mixed with.

    The groups are those that a planner reads.
    """
    groups: dict[str, list[str]] = {}
    for name in INPUTS:
        groups.setdefault(group_of(name), []).append(name)
    dropped = [
        replace(DEFAULTS, name=f"without {group}", hidden=tuple(names))
        for group, names in groups.items()
    ]
    return [*dropped, replace(DEFAULTS, name=f"without {CALENDAR}", share=0.0)]


def histories() -> list[Variant]:
    """The defaults on so many weeks of sales."""
    return [replace(DEFAULTS, name=f"{n} weeks", weeks=n) for n in HISTORIES]


def cells_of(plan: Origins, tuned: Variant) -> list[Cell]:
    """Every cell; the defaults are fitted every week and forecast from all later origins."""
    aged = [Cell(DEFAULTS, tuple(plan.weekly[k:])) for k in range(WEEKS + 1)]
    one_thing = [Cell(v, o) for o in plan.monthly for v in (tuned, *without())]
    short = [Cell(v, o) for o in plan.newest for v in histories()]
    return sorted([*aged, *one_thing, *short], key=lambda c: (c.variant.weeks or 0, c.fitted))
