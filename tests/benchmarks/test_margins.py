"""The table of margins says what weeks of worlds measured beside the limits of the code."""

from math import inf

from benchmarks import margins, report
from benchmarks.margins import CLEAN, REAL_YEAR, Week
from checks import gates, quality

PRICES = "rows far from their usual price"
BIASES = "cumulative sum of biases"


def week(shift: str, size: float, seed: int, figures: dict[str, float]) -> Week:
    return Week(seed, shift, size, "2017-10-01", 7, "pass", (), {}, figures)


WEEKS = [
    week(REAL_YEAR, 0.0, -1, {PRICES: 0.015}),
    week(CLEAN, 0.0, 0, {PRICES: 0.001, BIASES: -0.08}),
    week(CLEAN, 0.0, 1, {PRICES: 0.006, BIASES: 0.02}),
    week("demand up", 0.3, 0, {PRICES: 0.007, BIASES: -0.3}),
    week("prices in cents", 0.05, 0, {PRICES: 0.05}),
    week("prices in cents", 0.05, 1, {PRICES: 0.07}),
    week("zeros", 0.05, 0, {PRICES: 0.0}),
]


def test_a_margin_tells_clean_worlds_from_those_that_its_layer_has_to_see() -> None:
    rows = {row["metric"]: row for row in margins.rows(WEEKS)}
    assert set(rows) == {PRICES, BIASES}
    prices = rows[PRICES]
    assert prices["limit"] == (None, quality.LIMITS[PRICES])
    assert (prices["real"], prices["clean"]) == ((0.015, 0.015), (0.001, 0.006))
    assert prices["others"] == (0.007, 0.007)
    assert prices["own"] == {"prices in cents +0.05": 0.06}
    assert rows[BIASES]["limit"] == (-gates.BIAS_CUSUM, gates.BIAS_CUSUM)
    assert rows[BIASES]["own"] == {"demand up +0.3": -0.3}


def test_the_table_shows_the_most_of_one_sided_figures_and_the_range_of_others() -> None:
    lines = margins.table(margins.rows(WEEKS)).splitlines()
    assert lines[2] == (
        f"| {PRICES} | 0.03 | 0.015 | 0.006 | 0.007 | prices in cents +0.05: 0.06 |"
    )
    assert "| -0.25 to 0.25 |  | -0.08 to 0.02 |  | demand up +0.3: -0.3 |" in lines[3]


def test_every_limit_of_quality_and_of_a_day_has_a_margin() -> None:
    known = margins.limits()
    assert set(quality.LIMITS) < set(known)
    assert known["rows of a day against its weekday"] == ("quality", (0.5, 2))
    assert known["rise in the share of zero rows against its weekday"][1][1] == 0.05


def test_the_kept_margins_are_those_of_todays_limits() -> None:
    kept = {row["metric"]: row["limit"] for row in report.read("thresholds")["rows"]}
    for name, (_, (low, high)) in margins.limits().items():
        assert kept[name] == [None if low == -inf else low, high], f"{name}: run `make bench-gates`"
