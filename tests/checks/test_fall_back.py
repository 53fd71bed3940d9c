"""What serves after a fall back."""

from dataclasses import replace
from datetime import date
from typing import Any, cast

import pytest

from checks.fall_back import choose
from checks.replay_decisions import FELL_BACK, Decision, previous
from models.baselines import NAIVE, SEASONAL_NAIVE
from models.forecaster import LIGHTGBM, Forecaster

LOST = [date(2017, 10, 1), date(2017, 10, 8)]


class Model:
    """A forecaster as the choice sees it."""

    def __init__(self, version: str, method: str) -> None:
        self.version, self.method = version, method
        self.repeats = method != LIGHTGBM


def chosen(
    before: Model | None,
    *,
    champion: Model | None = None,
    winners: str = "",
    method: str = SEASONAL_NAIVE,
    lost: list[date] = LOST,
) -> str:
    """Version that serves; `winners` beat seasonal naive, 9 repeats the last week."""
    found = choose(
        cast(Forecaster, champion or Model("7", LIGHTGBM)),
        before=cast("Forecaster | None", before),
        last_week=lambda: cast(Forecaster, Model("9", method)),
        lost=lost,
        beats_naive=lambda model: model.version in winners,
    )
    return found.version


def test_the_version_before_serves_only_if_it_beats_seasonal_naive() -> None:
    before = Model("6", LIGHTGBM)
    assert chosen(before, winners="6") == "6"
    assert chosen(before) == "9"
    assert chosen(None) == "9"


def test_by_hand_there_are_no_lost_weeks_and_nobody_is_asked() -> None:
    assert chosen(Model("6", LIGHTGBM), winners="6", lost=[]) == "9"
    assert chosen(None, method=NAIVE, lost=[]) == "9"


@pytest.mark.parametrize("before", [Model("6", SEASONAL_NAIVE), Model("7", LIGHTGBM)])
def test_one_that_repeats_or_is_the_champion_is_no_version_before(before: Model) -> None:
    assert chosen(before, winners="67") == "9"


def test_in_weekly_data_the_last_week_has_to_beat_seasonal_naive_too() -> None:
    assert chosen(None, method=NAIVE) == "7"
    assert chosen(None, method=NAIVE, winners="9") == "9"


def test_a_champion_that_repeats_serves_on() -> None:
    champion = Model("8", SEASONAL_NAIVE)
    assert chosen(Model("6", LIGHTGBM), champion=champion, winners="6") == "8"


def decision(serves: str, fell_back: str | None = None) -> Decision:
    measured: dict[str, Any] = {} if fell_back is None else {FELL_BACK: fell_back}
    made = Decision("gated", LOST[0], "pass", (), measured, None, serves, 0.0)
    return replace(made, outcome="fall_back") if fell_back else made


@pytest.mark.parametrize(
    ("decisions", "before"),
    [
        ([], None),
        ([decision("1")], None),
        ([decision("1"), decision("2"), decision("2")], "1"),
        ([decision("2"), decision("1", "1")], None),  # gone back to: 2 is the one that failed
        ([decision("2"), decision("3", "1")], "1"),
        ([decision("2"), decision("naive", "naive")], "2"),
        ([decision("2"), decision("3", "naive")], "naive"),
    ],
)
def test_a_replay_goes_back_to_what_the_alias_previous_would_name(
    decisions: list[Decision], before: str | None
) -> None:
    assert previous("1", decisions) == before
