"""Weekly losses against a plain loop, Page's sum, and bounds that know of stores."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.baselines import SEASONAL_NAIVE
from models.conformal import GRID, LEADS, Calibration
from models.decay import coverage_80, cusum, log_ratios, naive_weeks, weekly_losses
from models.metrics import level_scales

UNTIL = date(2017, 10, 8)


@pytest.fixture(scope="module")
def scored() -> pl.DataFrame:
    """Two stores, 14 days, two cutoffs; version 3 misses by one unit, naive by two."""
    rows = []
    for model, error in (("3", 1.0), (SEASONAL_NAIVE, -2.0)):
        for back in (14, 7):
            cutoff = UNTIL - timedelta(days=back)
            for k in range(1, 15):
                ds = cutoff + timedelta(days=k)
                rows += [
                    (model, s, "i", cutoff, ds, 5.0 + v, 5.0 + v + error, 4.0, 9.0)
                    for v, s in enumerate(("a", "b"))
                ]
    names = ["model", "store_id", "item_id", "cutoff", "ds", "y", "y_hat", "q0.1", "q0.9"]
    return pl.DataFrame(rows, names, orient="row")


@pytest.fixture(scope="module")
def scales() -> dict[str, pl.DataFrame]:
    days = [UNTIL - timedelta(days=15 + k) for k in range(30)]
    rows = [(s, "i", d, float((k * 7) % 5)) for s in ("a", "b") for k, d in enumerate(days)]
    return level_scales(pl.DataFrame(rows, ["store_id", "item_id", "ds", "y"], orient="row"))


def losses(
    scored: pl.DataFrame, scales: dict[str, pl.DataFrame], **options: object
) -> pl.DataFrame:
    return weekly_losses(scored, scales, version="3", until=UNTIL, **{"quiet": (), **options})


def test_the_loss_is_the_root_mean_squared_scaled_error_of_a_week(
    scored: pl.DataFrame, scales: dict[str, pl.DataFrame]
) -> None:
    weeks = losses(scored, scales)
    assert weeks["week"].to_list() == [UNTIL - timedelta(days=7), UNTIL]
    parts = []
    for level, scale in scales.items():
        both = level in ("total", "item")  # one node of two stores: errors add up
        size = 2.0 if both else 1.0
        root = (size**2 / scale["scale"]).sqrt()
        parts.append((root * scale["weight"]).sum() / scale["weight"].sum())
    assert weeks["loss"].to_list() == pytest.approx([np.mean(parts)] * 2)
    assert weeks["naive_loss"].to_list() == pytest.approx([2 * np.mean(parts)] * 2)
    assert weeks["bias"].to_list() == pytest.approx([1 / 5.5] * 2)


def test_quiet_days_and_days_to_come_take_no_part(
    scored: pl.DataFrame, scales: dict[str, pl.DataFrame]
) -> None:
    worse = pl.when(pl.col("ds") == UNTIL).then(pl.col("y") + 90).otherwise("y_hat")
    odd = scored.with_columns(y_hat=worse)
    assert losses(odd, scales)["loss"][1] > 2 * losses(scored, scales)["loss"][1]
    quiet = losses(odd, scales, quiet={UNTIL})
    assert quiet["loss"].to_list() == pytest.approx(losses(scored, scales)["loss"].to_list())
    early = weekly_losses(scored, scales, version="3", until=UNTIL - timedelta(days=3), quiet=())
    assert early["week"].max() == UNTIL - timedelta(days=3)


def test_a_cutoff_without_the_naive_forecast_is_no_evidence(
    scored: pl.DataFrame, scales: dict[str, pl.DataFrame]
) -> None:
    lone = scored.filter((pl.col("model") == "3") | (pl.col("cutoff") != scored["cutoff"].min()))
    assert set(losses(lone, scales)["rows"]) == {14}
    assert losses(scored.filter(pl.col("model") == "3"), scales).is_empty()


@given(st.lists(st.floats(-1, 1), max_size=30), st.floats(0, 0.5))
@pytest.mark.score("monitoring", 7)
def test_the_cumulative_sum_is_the_worst_run_of_weeks_up_to_now(
    values: list[float], slack: float
) -> None:
    runs = [sum(v - slack for v in values[k:]) for k in range(len(values))]
    assert cusum(values, slack) == pytest.approx(max([0.0, *runs]), abs=1e-9)


def test_good_weeks_are_no_credit_for_bad_ones() -> None:
    assert cusum([-5, -5, 0.3, 0.3], 0.1) == pytest.approx(0.4)
    assert cusum([0.3, 0.3, -5], 0.1) == 0


def test_weeks_no_better_than_naive_count_from_the_newest_back() -> None:
    weeks = pl.DataFrame({"loss": [2.0, 0.5, 1.0, 1.2], "naive_loss": [1.0] * 4})
    assert naive_weeks(weeks) == 2
    assert naive_weeks(weeks.head(2)) == 0
    assert naive_weeks(weeks.clear()) == 0
    assert log_ratios(weeks, 0.5)[1] == pytest.approx(0)


def test_coverage_has_wider_bounds_when_a_store_misses_as_a_whole() -> None:
    rng = np.random.default_rng(1)
    together = np.repeat(rng.random(50) < 0.8, 40)
    plain = Calibration(28, [], [0.1], {}, [[list(GRID)] * LEADS])
    alone = rng.permutation(together)
    found = []
    for inside in (together, alone):
        stores = np.repeat([f"s{k}" for k in range(50)], 40)
        frame = pl.DataFrame({"store_id": stores}).with_columns(item_id=pl.lit("i"))
        frame = frame.with_columns(y=pl.Series(np.where(inside, 5.0, 30.0)))
        frame = frame.with_columns(y_hat=5.0, step=pl.lit(3))
        found.append(coverage_80(frame, plain, draws=400, seed=1))
    assert found[0].share == pytest.approx(together.mean())
    assert found[0].share == found[1].share
    assert found[0].high - found[0].low > 2 * (found[1].high - found[1].low)
    assert found[0].low < found[0].share < found[0].high


def test_without_an_actual_there_is_no_coverage(scored: pl.DataFrame) -> None:
    plain = Calibration(28, [], [0.1], {}, [[list(GRID)] * LEADS])
    assert coverage_80(scored.clear(), plain, draws=10, seed=1) is None
    blank = scored.with_columns(pl.lit(None, pl.Float64).alias("y"))
    assert coverage_80(blank, plain, draws=10, seed=1) is None
