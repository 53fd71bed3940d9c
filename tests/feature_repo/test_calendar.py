from datetime import date

import numpy as np

from data.steps import Steps
from feature_repo.calendar import CALENDAR_FEATURES, calendar_matrix, calendar_row, feasts

THANKSGIVING = date(2017, 11, 23)


def row(day: date) -> dict[str, float]:
    return dict(zip(CALENDAR_FEATURES, calendar_row(day, "US", 1), strict=True))


def test_a_holiday_is_known_and_its_neighbours_count_the_days() -> None:
    assert row(date(2017, 7, 4))["is_holiday"] == 1
    assert row(date(2017, 7, 2))["days_to_holiday"] == 2
    assert row(date(2017, 7, 6))["days_since_holiday"] == 2


def test_a_feast_is_no_holiday_like_others() -> None:
    assert row(THANKSGIVING)["is_holiday"] == 0
    assert row(THANKSGIVING)["days_to_feast"] == row(THANKSGIVING)["days_since_feast"] == 0
    assert row(date(2017, 11, 21))["days_to_feast"] == 2
    assert row(date(2017, 4, 15))["days_to_feast"] == 1


def test_thanksgiving_is_a_feast_where_it_is_kept() -> None:
    assert sorted(feasts("US", 2017)) == [date(2017, 4, 16), THANKSGIVING, date(2017, 12, 25)]
    assert sorted(feasts("DE", 2017)) == [date(2017, 4, 16), date(2017, 12, 25)]


def test_holidays_of_the_next_year_are_near_too() -> None:
    assert row(date(2017, 12, 30))["days_to_holiday"] == 2


def test_the_matrix_starts_the_day_after_the_cutoff_and_marks_closed_days() -> None:
    x, closed = calendar_matrix(date(2017, 12, 23), 3, "US", Steps(1, ("12-25",)))
    assert x.shape == (3, len(CALENDAR_FEATURES))
    assert x[0, 0] == date(2017, 12, 24).isoweekday()
    assert np.array_equal(closed, [False, True, False])


def test_closed_days_repeat_every_year() -> None:
    assert Steps(1, ("12-25",)).is_closed(date(2031, 12, 25))
    assert not Steps(1, ("12-25",)).is_closed(date(2031, 12, 26))
