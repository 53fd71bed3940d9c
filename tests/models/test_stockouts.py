"""Silences that are planted are found, and few others."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from data.schema import KEYS
from data.steps import Steps
from models.backtest import TrainingData
from models.dataset import training_cutoffs
from models.stockouts import STOCKOUTS, probable_stockouts, without_stockouts

DAILY = Steps()
FIRST, DAYS, SERIES = date(2017, 1, 2), 250, 80
PROFILE = np.array([0.6, 0.6, 0.8, 0.9, 1.2, 1.6, 1.3])


def planted(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clumpy sales of SERIES series; in every second one a gap in which about 25 units were due."""
    rng = np.random.default_rng(seed)
    days = [FIRST + timedelta(days=k) for k in range(DAYS)]
    profile = PROFILE[[d.weekday() for d in days]]
    rows, gaps = [], []
    for s in range(SERIES):
        rate = rng.uniform(0.4, 6)
        y = rng.poisson(rate * profile * rng.gamma(2, 0.5, DAYS)).astype(float)
        store, item = f"s{s % 8}", f"i{s // 8}"
        if s % 2 == 0:
            length = int(np.ceil(25 / rate)) + 2
            at = int(rng.integers(100, DAYS - length))
            y[at : at + length] = 0
            gaps.append((store, item, days[at], days[at + length - 1]))
        rows += [(store, item, d, v) for d, v in zip(days, y, strict=True)]
    columns = ["store_id", "item_id", "ds", "y"]
    return (
        pl.DataFrame(rows, schema=columns, orient="row"),
        pl.DataFrame(gaps, schema=[*columns[:2], "first", "last"], orient="row"),
    )


@pytest.fixture(scope="module")
def world() -> tuple[pl.DataFrame, pl.DataFrame]:
    return planted(1)


def test_planted_gaps_are_found_and_little_else(
    world: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    history, gaps = world
    marks = probable_stockouts(history, DAILY)
    hits = marks.join(gaps, on=["store_id", "item_id"]).filter(
        (pl.col("first_ds") <= pl.col("last")) & (pl.col("last_ds") >= pl.col("first"))
    )
    recall = hits.select("store_id", "item_id").n_unique() / gaps.height
    precision = hits.height / marks.height
    print(f"recall {recall:.2f}, precision {precision:.2f} on {gaps.height} planted gaps")
    assert recall >= 0.9 and precision >= 0.9


def test_a_probability_is_that_of_a_naive_loop(world: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    history, _ = world
    mark = probable_stockouts(history, DAILY).row(0, named=True)
    mine = history.filter(
        (pl.col("store_id") == mark["store_id"]) & (pl.col("item_id") == mark["item_id"])
    ).sort("ds")
    before = mine.filter(pl.col("ds") < mark["first_ds"])
    window = before["y"].to_numpy()[-84:]
    m, v = window.mean(), window.var(ddof=1)
    a = max((v - m) / m**2, 0.01)
    probability, expected = 1.0, 0.0
    day = mark["first_ds"]
    while day <= mark["last_ds"]:
        same = before.filter(pl.col("ds").dt.weekday() == day.isoweekday())["y"].to_numpy()[-12:]
        rate = (same.sum() + 4 * m) / (len(same) + 4)
        probability *= (1 + a * rate) ** (-1 / a)
        expected += rate
        day += timedelta(days=1)
    assert mark["probability"] == pytest.approx(probability)
    assert mark["expected_units"] == pytest.approx(expected)


def test_a_weekday_without_sales_is_no_silence() -> None:
    days = [FIRST + timedelta(days=k) for k in range(DAYS)]
    y = [0.0 if d.isoweekday() in (6, 7) else 9.0 + k % 3 for k, d in enumerate(days)]
    series = pl.DataFrame({"ds": days, "y": y}).with_columns(
        store_id=pl.lit("s"), item_id=pl.lit("i")
    )
    assert probable_stockouts(series, DAILY).is_empty()


def test_a_closed_store_is_told_from_an_empty_shelf() -> None:
    days = [FIRST + timedelta(days=k) for k in range(DAYS)]
    shut = [5.0 + k % 4 if not 200 <= k < 206 else 0.0 for k in range(DAYS)]
    empty = [5.0 + k % 4 if not 210 <= k < 216 else 0.0 for k in range(DAYS)]
    rows = [
        pl.DataFrame({"ds": days, "y": y}).with_columns(store_id=pl.lit(s), item_id=pl.lit(i))
        for s, i, y in (
            ("a", "x", shut),
            ("a", "y", shut),
            ("b", "x", empty),
            ("b", "y", [7.0] * DAYS),
        )
    ]
    marks = probable_stockouts(pl.concat(rows), DAILY)
    assert dict(marks.select("store_id", "whole_store").iter_rows()) == {"a": True, "b": False}
    assert marks["days"].to_list() == [6, 6, 6]
    assert marks.columns == STOCKOUTS


def test_a_young_or_silent_series_is_not_marked() -> None:
    days = [FIRST + timedelta(days=k) for k in range(60)]
    young = pl.DataFrame({"ds": days, "y": [9.0] * 20 + [0.0] * 40})
    never = pl.DataFrame({"ds": days, "y": [0.0] * 60})
    for series in (young, never):
        named = series.with_columns(store_id=pl.lit("s"), item_id=pl.lit("i"))
        assert probable_stockouts(named, DAILY).is_empty()


def test_a_silence_of_weeks_is_marked_from_the_weeks_of_the_same_days() -> None:
    weekly = Steps(7)
    weeks = weekly.ahead(FIRST, 20)
    sold = [9.0, 11.0, 8.0, 12.0] * 4 + [0.0] * 3 + [10.0]
    series = pl.DataFrame({"ds": weeks, "y": sold, "store_id": "s", "item_id": "i"})
    (mark,) = probable_stockouts(series, weekly).iter_rows(named=True)
    assert (mark["first_ds"], mark["last_ds"], mark["days"]) == (weeks[16], weeks[18], 3)
    assert mark["expected_units"] == pytest.approx(30)
    masked = without_stockouts(series, probable_stockouts(series, weekly))
    assert masked["y"].null_count() == 3


def test_marked_days_are_missing_and_nothing_else_moves(
    world: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    history, _ = world
    marks = probable_stockouts(history, DAILY)
    masked = without_stockouts(history, marks)
    assert masked["y"].null_count() == marks["days"].sum() > 0
    kept = masked["y"].is_not_null()
    assert_frame_equal(masked.filter(kept), history.filter(kept))


def test_boosters_do_not_learn_from_marked_days_when_told_so(training_frames: TrainingData) -> None:
    gap = pl.col("ds").is_between(date(2017, 7, 1), date(2017, 7, 20))
    mine = (pl.col("store_id") == "s0") & (pl.col("item_id") == "i0")
    silent = training_frames.sales.filter(~(gap & mine))
    off = replace(training_frames, sales=silent, versions=silent)
    on = replace(off, stockouts_missing=True)
    assert not off.stockouts_missing
    first = off.features["cutoff"].min()
    learned = pl.col("cutoff").is_in(training_cutoffs(off.cutoff, first, off.spec.steps))
    missing = off.grid.filter(gap & mine & learned).height
    left_out = off.training_set(off.cutoff).num_data() - on.training_set(on.cutoff).num_data()
    assert left_out == missing > 0
    counted = on.left_out
    assert counted.select(KEYS).unique().rows() == [("s0", "i0")]
    assert counted["ds"].to_list() == off.grid.filter(gap & mine & learned)["ds"].unique().to_list()
    assert off.left_out.is_empty()
    # A fold before the gap was over knows nothing of it.
    early = date(2017, 6, 30)
    assert on.training_set(early).num_data() == off.training_set(early).num_data()
