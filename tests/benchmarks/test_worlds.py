"""Worlds change what they say and nothing else; what the gate said of them is counted right."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks import promotion, recall, worlds
from benchmarks.margins import CLEAN, Week
from benchmarks.worlds import SHIFTS, THANKSGIVING_WEEK, Shift, world
from data.schema import KEYS, SALES

from .conftest import FIRST, base

SEED = 3
ON = [*KEYS, "ds"]


BASE = base()
CASES = [(shift, size) for shift in SHIFTS for size in shift.sizes]


@pytest.mark.parametrize(("shift", "size"), CASES, ids=lambda v: getattr(v, "name", v))
def test_a_world_is_the_clean_one_until_its_shift_begins(shift: Shift, size: float) -> None:
    start = shift.start(SEED, size)
    clean, shifted = world(BASE, SEED, None, 0, start), world(BASE, SEED, shift, size, start)
    assert start.weekday() == 0
    for before, after in ((clean.sales, shifted.sales), (clean.plan, shifted.plan)):
        assert before.columns == after.columns
        assert before.filter(pl.col("ds") < start).equals(after.filter(pl.col("ds") < start))
    assert not (clean.sales.equals(shifted.sales) and clean.plan.equals(shifted.plan))
    again = world(BASE, SEED, shift, size, start)
    assert shifted.sales.equals(again.sales)
    assert shifted.plan.equals(again.plan)


def of(name: str) -> tuple[pl.DataFrame, pl.DataFrame, float]:
    """Sales of both worlds since the larger shift of a name began, with that size."""
    shift = next(s for s in SHIFTS if s.name == name)
    size = shift.sizes[1]
    start = shift.start(SEED, size)
    both = [world(BASE, SEED, s, size, start).sales for s in (None, shift)]
    clean, shifted = (sales.filter(pl.col("ds") >= start) for sales in both)
    return clean, shifted, size


def ratio(clean: pl.DataFrame, shifted: pl.DataFrame, column: str) -> pl.Series:
    both = clean.join(shifted, on=ON, how="left", suffix="_shifted", maintain_order="left")
    return both[f"{column}_shifted"] / both[column]


@pytest.mark.parametrize("name", ["prices up", "prices down", "prices up a little"])
def test_prices_change_by_the_size_and_quantities_not_at_all(name: str) -> None:
    clean, shifted, size = of(name)
    assert ratio(clean, shifted, "price").to_numpy() == pytest.approx(1 + size)
    assert shifted["y"].equals(clean["y"])


def test_without_discounts_the_price_is_that_of_the_shelf() -> None:
    clean, shifted, _ = of("discounts ended")
    times = BASE.trips.group_by(ON).agg(pl.len(), pl.col("discount").sum())
    assert (times["discount"] == times["len"] * 0.5).all()  # what the base says
    assert (ratio(clean, shifted, "price") > 1).all()
    assert shifted["y"].equals(clean["y"])


@pytest.mark.parametrize(
    ("name", "column", "factor"),
    [("quantities x 100", "y", 100.0), ("prices in cents", "price", 100.0), ("zeros", "y", 0.0)],
)
def test_a_fault_hits_that_share_of_the_rows(name: str, column: str, factor: float) -> None:
    clean, shifted, size = of(name)
    found = ratio(clean, shifted, column)
    assert set(found.round(6)) == {1.0, factor}
    assert (found != 1.0).mean() == pytest.approx(size, abs=0.02)
    other = {"y": "price", "price": "y"}[column]
    assert shifted[other].equals(clean[other])


@pytest.mark.parametrize("name", ["units doubled", "units doubled in rows"])
def test_doubled_units_cost_half_so_that_what_is_paid_stays(name: str) -> None:
    clean, shifted, size = of(name)
    found = ratio(clean, shifted, "y")
    assert set(found) <= {1.0, 2.0}
    assert (found == 2.0).mean() == pytest.approx(size, abs=0.03)
    paid = (shifted["y"] * shifted["price"]).to_numpy()
    assert paid == pytest.approx((clean["y"] * clean["price"]).to_numpy())


def test_shuffled_quantities_keep_the_sum_of_each_day_and_lose_their_series() -> None:
    clean, shifted, _ = of("quantities shuffled")
    days = [f.group_by("ds").agg(pl.col("y").sum()).sort("ds") for f in (clean, shifted)]
    assert days[0].equals(days[1])
    assert shifted["price"].equals(clean["price"])
    by_item = [f.group_by("item_id").agg(pl.col("y").mean())["y"] for f in (clean, shifted)]
    assert by_item[1].std() < 0.2 * by_item[0].std()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["stores missing", "stock-outs", "rows missing"])
def test_what_is_missing_is_that_share_and_the_rest_is_as_it_was(name: str) -> None:
    clean, shifted, size = of(name)
    assert shifted.join(clean, on=clean.columns, how="anti").is_empty()
    keys = {"stores missing": ["store_id"], "stock-outs": KEYS, "rows missing": ON}[name]
    left = shifted.select(keys).n_unique() / clean.select(keys).n_unique()
    assert left == pytest.approx(1 - size, abs=0.03)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("demand up", 1.5), ("demand down", 0.7), ("new competitor", 0.7)],
)
def test_demand_moves_with_whole_trips(name: str, expected: float) -> None:
    clean, shifted, _ = of(name)
    assert shifted["y"].sum() / clean["y"].sum() == pytest.approx(expected, abs=0.05)
    stores = [
        f.group_by("store_id").agg(pl.col("y").sum()).sort("store_id") for f in (clean, shifted)
    ]
    untouched = (stores[0]["y"] == stores[1]["y"]).sum()
    assert untouched == (5 if name == "new competitor" else 0)


def test_promotions_change_in_the_plan_alone_and_thanksgiving_in_its_two_weeks() -> None:
    shift = next(s for s in SHIFTS if s.plan)
    start = shift.start(SEED, 2.0)
    clean, shifted = world(BASE, SEED, None, 0, start), world(BASE, SEED, shift, 2.0, start)
    assert clean.sales.equals(shifted.sales)
    after = shifted.plan.filter(pl.col("ds") >= start)
    assert after.select(pl.col("display", "mailer").unique()).row(0) == (4.0, 2.0)
    assert after["known_at"].min() == datetime(start.year, start.month, start.day, tzinfo=UTC)

    before, moved, size = of("holiday moved")
    week = pl.col("ds").is_between(THANKSGIVING_WEEK, THANKSGIVING_WEEK + timedelta(days=6))
    early = before.filter(week).with_columns(pl.col("ds") - timedelta(weeks=int(size)))
    assert early.sort(ON).equals(
        moved.join(early.select("ds").unique(), on="ds", how="semi").sort(ON)
    )


def test_a_base_without_households_to_count_is_no_base() -> None:
    assert BASE.households == 60
    drawn = world(BASE, 1, None, 0, FIRST).sales["y"].sum()
    assert drawn != world(BASE, 2, None, 0, FIRST).sales["y"].sum()
    assert drawn == pytest.approx(worlds.as_it_was(BASE).sales["y"].sum(), rel=0.3)
    assert set(worlds.as_it_was(BASE).sales.columns) <= set(SALES)


# ------------------------------------------------------------------------ what was said of them


def weeks(shift: str, size: float, seed: int, word: str) -> list[Week]:
    letters = {letter: outcome for outcome, letter in recall.LETTERS.items()}
    return [
        Week(seed, shift, size, str(FIRST + timedelta(weeks=k)), 7 * k + 7, letters[c], (), {}, {})
        for k, c in enumerate(word)
    ]


def said(**of_name: Sequence[str]) -> list[Week]:
    """A word per seed for each named shift, in both of its sizes; all others are seen at once."""
    found = [w for seed, word in enumerate(of_name["clean"]) for w in weeks(CLEAN, 0.0, seed, word)]
    for shift, size in CASES:
        own = recall.OF_LAYER.get(shift.layer, ".")
        for seed, word in enumerate(of_name.get(shift.name.replace(" ", "_"), [own, own])):
            found += weeks(shift.name, size, seed, word)
    return found


def test_recall_delay_and_layers_are_counted_from_what_the_gate_said() -> None:
    found = recall.rows(
        said(
            clean=["??.P", "?..D", "?.Q."],
            prices_up=["..D", "......"],  # one missed
            demand_up=["DP", "P"],  # another layer first
            zeros=["PDQ", "Q"],  # poisoned data that was trained on
            holiday_moved=["P..", ".D."],
        )
    )
    rows = {row["metric"]: row for row in found}
    n = 2 * len([c for c in CASES if c[0].layer != "none"])
    ours: dict[str, Any] = {metric: row["ours"] for metric, row in rows.items()}
    assert ours["seeded_worlds"] == n
    assert ours["drift_recall"] == round((n - 2) / n, 4)
    assert ours["right_layer_share"] == round((n - 2 - 2 - 2) / (n - 2), 4)
    assert (ours["retrains_on_poisoned_data"], rows["retrains_on_poisoned_data"]["met"]) == (
        2,
        False,
    )
    assert ours["alerts_on_poisoned_data"] == 2
    assert ours["clean_weeks"] == 8
    for what in ("retrains", "alerts", "holds"):
        assert ours[f"false_{what}_per_40_clean_weeks"] == 5
    assert ours["recall: prices up +0.25 (drift)"] == 0.5
    assert ours["delay: prices up +0.25 (drift)"] == 21
    assert rows["recall: prices up +0.25 (drift)"]["worlds"] == "..D ......"
    assert ours["delay: demand up +0.3 (performance)"] == 10.5
    assert [ours[f"{c}: holiday moved +1 (none)"] for c in recall.CONTROLS] == [0.5, 0.5, 0.0]


# ------------------------------------------------------------------------ trials of the promotion


def losses(noise: float, gain: float = 0.0) -> pl.DataFrame:
    """Losses of fits that differ by chance, the other configuration better by `gain`."""
    rng = np.random.default_rng(1)
    fits = [("same", s, 1.0) for s in promotion.SEEDS]
    fits += [("other", s, 1.0 - gain) for s in promotion.OTHER_SEEDS]
    return pl.DataFrame(
        [
            (f"s{s}", "i", FIRST + timedelta(days=4 * o), model, seed, factor * chance)
            for model, seed, factor in fits
            for o in range(6)
            for s, chance in enumerate(np.exp(noise * rng.standard_normal(40)))
        ],
        schema=[*KEYS, "cutoff", "model", "seed", "loss"],
        orient="row",
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[[pl.DataFrame], dict[str, Any]]:
    monkeypatch.setattr(promotion, "TRIALS", 20)
    return lambda found: {row["metric"]: row for row in promotion.rows_of(found)}


def test_models_that_differ_by_chance_are_seldom_promoted_and_a_better_one_is(quick) -> None:
    found = quick(losses(noise=0.01))
    assert found["aa_promotions_per_100"]["ours"] <= 5
    assert found["planted_2pct_promotions_per_100"]["ours"] == 20


def test_noise_hides_what_is_two_percent_better(quick) -> None:
    found = quick(losses(noise=2.0))
    assert found["planted_2pct_promotions_per_100"]["ours"] < 10


def test_a_planted_challenger_is_two_percent_better_whatever_its_fits_were() -> None:
    planted = [promotion.trials(losses(0.01, gain), planted=True) for gain in (0.0, 0.5, -0.5)]
    assert planted == [promotion.TRIALS] * 3


@pytest.mark.parametrize(("most", "met"), [(True, [True, False]), (False, [False, True])])
def test_a_target_is_the_most_or_the_least_that_may_be(most: bool, met: list[bool]) -> None:
    assert [promotion._row("it", n, 5, most=most)["met"] for n in (4, 6)] == met
