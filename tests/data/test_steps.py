from datetime import date

import pytest

from data.steps import Steps

SUNDAY = date(2017, 9, 10)


@pytest.mark.parametrize(("days", "first", "last"), [(1, 11, 13), (7, 17, 1)])
def test_the_steps_after_a_cutoff_are_days_or_weeks(days: int, first: int, last: int) -> None:
    steps = Steps(days)
    ahead = steps.ahead(SUNDAY, 3)
    assert (ahead[0].day, ahead[-1].day) == (first, last)
    assert steps.between(SUNDAY, ahead[-1]) == ahead
    assert steps.after(ahead[-1], -3) == SUNDAY


def test_a_week_that_is_not_over_is_no_step_yet() -> None:
    assert Steps(7).between(SUNDAY, date(2017, 9, 16)) == []


def test_a_day_is_closed_every_year_and_a_week_only_if_all_of_it_is() -> None:
    day, christmas = ("12-25",), tuple(f"12-{d}" for d in range(25, 32))
    assert Steps(1, day).is_closed(date(2031, 12, 25))
    assert not Steps(1, day).is_closed(date(2031, 12, 26))
    assert not Steps(7, day).is_closed(date(2017, 12, 31))
    assert Steps(7, christmas).is_closed(date(2017, 12, 31))
