"""Policies of retraining and the recommendation."""

import pytest

from checks.policies import Standing, policy, recommend


def standing(name: str, loss: float, low: float, trainings: int) -> Standing:
    ratio = loss / 0.5
    return Standing(name, loss, ratio, low, 2 * ratio - low, trainings, 10.0 * trainings)


@pytest.mark.parametrize(
    ("name", "due"),
    [("never", []), ("always", [7, 28, 63]), ("every 28 days", [28, 63]), ("gated", [])],
)
def test_a_clock_asks_by_the_age_of_the_model(name: str, due: list[int]) -> None:
    made = policy(name)
    assert [age for age in (7, 28, 63) if made.is_due(age)] == due
    assert made.gated == (name == "gated") and made.name == name


@pytest.mark.parametrize("name", ["", "every day", "every -1 days", "Always"])
def test_an_unknown_policy_is_named_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match=rf"no policy '{name}'; choose never, always, gated"):
        policy(name)


def test_of_policies_that_cannot_be_told_apart_the_one_that_trains_least_is_chosen() -> None:
    chosen, sentence = recommend(
        [
            standing("never", 0.56, 1.05, 0),
            standing("always", 0.50, 1.0, 11),
            standing("gated", 0.505, 0.99, 2),
        ]
    )
    assert chosen == "gated"
    assert sentence == (
        "Choose `gated`: its loss can't be told from the least one, that of `always` "
        "(+1.0%, 95 % band -1.0% to +3.0%), and it took 2 retrainings (20 CPU seconds) "
        "instead of 11 retrainings (110)."
    )


def test_the_best_policy_is_chosen_when_the_cheaper_ones_are_measurably_worse() -> None:
    chosen, sentence = recommend(
        [standing("never", 0.56, 1.05, 0), standing("always", 0.50, 1.0, 1)]
    )
    assert chosen == "always"
    assert sentence == (
        "Choose `always`: no other policy forecast better, "
        "and it took 1 retraining (10 CPU seconds)."
    )


def test_doing_nothing_is_recommended_when_it_is_the_best() -> None:
    chosen, sentence = recommend(
        [standing("gated", 0.51, 0.98, 0), standing("never", 0.50, 1.0, 0)]
    )
    assert chosen == "never"
    assert "(`gated` did as well within the noise)" in sentence and "no retrainings" in sentence
