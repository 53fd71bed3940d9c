import json
from dataclasses import asdict, replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.schema import QUANTILES
from models import conformal
from models.conformal import GRID, LEADS, Calibration

RNG = np.random.default_rng(2)
N = 60_000
MEANS = RNG.gamma(0.5, 8, N) + 0.02
STEPS = RNG.integers(1, 29, N)
# Fatter than Poisson, fatter still at long leads, and 5 % below what was forecast.
ACTUALS = RNG.poisson(0.95 * MEANS * RNG.gamma(8 / STEPS**0.5, STEPS**0.5 / 8, N)).astype(float)
OLD, NEW = slice(0, N // 2), slice(N // 2, N)


def scored(y: np.ndarray, y_hat: np.ndarray, step: np.ndarray, item: str = "i") -> pl.DataFrame:
    frame = pl.DataFrame({"y": y, "y_hat": y_hat, "step": step})
    return frame.with_columns(store_id=pl.lit("s"), item_id=pl.lit(item))


def days(rows: slice) -> pl.DataFrame:
    return scored(ACTUALS[rows], MEANS[rows], STEPS[rows])


def quantiles(rows: pl.DataFrame, table: Calibration, levels: tuple[float, ...]) -> np.ndarray:
    y_hat, step = (rows[c].to_numpy() for c in ("y_hat", "step"))
    return conformal.apply(y_hat, step, table.times(rows), table, levels)


@pytest.fixture(scope="module")
def table() -> Calibration:
    return conformal.calibrate(days(OLD), horizon=28)


def test_new_days_fall_where_the_distribution_says_in_every_tier_and_week(
    table: Calibration,
) -> None:
    u = conformal.pit(days(NEW), table, seed=5)
    tier = np.searchsorted(np.quantile(MEANS, [0.2, 0.4, 0.6, 0.8]), MEANS[NEW])
    week = (STEPS[NEW] - 1) // 7
    for low, high in ((0.1, 0.9), (0.025, 0.975)):
        inside = (u > low) & (u < high)
        assert abs(inside.mean() - (high - low)) < 0.01
        cells = [inside[(tier == t) & (week == w)].mean() for t in range(5) for w in range(4)]
        assert max(abs(c - (high - low)) for c in cells) < 0.05


def test_quantiles_are_passed_as_often_as_they_say(table: Calibration) -> None:
    bands = quantiles(days(NEW), table, QUANTILES)
    for i, q in enumerate(QUANTILES):  # a count that equals its quantile is neither
        below = (ACTUALS[NEW] < bands[:, i]).mean()
        up_to = (ACTUALS[NEW] <= bands[:, i]).mean()
        assert below - 0.01 <= q <= up_to + 0.01


def test_the_transform_agrees_with_the_quantiles(table: Calibration) -> None:
    rows = days(NEW)[:5000]
    y, u = rows["y"].to_numpy(), conformal.pit(rows, table)
    bands = quantiles(rows, table, (0.1, 0.9))
    assert (u[y < bands[:, 0]] <= 0.1 + 1e-9).all() and (u[y > bands[:, 0]] >= 0.1 - 1e-9).all()
    assert (u[y < bands[:, 1]] <= 0.9 + 1e-9).all() and (u[y > bands[:, 1]] >= 0.9 - 1e-9).all()


def test_coverage_of_counts_is_what_the_draws_give_on_average_and_needs_none(
    table: Calibration,
) -> None:
    rows = days(NEW)[:3000]
    share = conformal.inside(rows, table, 0.8)
    drawn = [conformal.pit(rows, table, seed=k) for k in range(200)]
    expected = np.mean([(u > 0.1) & (u <= 0.9) for u in drawn], axis=0)
    assert np.abs(share - expected).max() < 0.15 and abs((share - expected).mean()) < 0.002
    assert share.min() >= 0 and share.max() <= 1
    y, bands = rows["y"].to_numpy(), quantiles(rows, table, (0.1, 0.9))
    closed = ((y >= bands[:, 0]) & (y <= bands[:, 1])).mean()
    assert closed > 0.85 and abs(share.mean() - 0.8) < 0.02


def test_a_rank_has_the_finite_sample_correction() -> None:
    u = np.arange(1.0, 200.0) / 200  # 199 values: 90 % is the 180th, 10 % the 20th
    ranks = dict(zip(GRID, conformal._ranks(u, u), strict=True))
    assert ranks[0.9] == u[179] and ranks[0.1] == u[19]
    assert ranks[0.975] == u[194] and ranks[0.025] == u[4]  # 195 and 5 of 199


def test_a_forecast_of_zero_has_quantiles_of_zero(table: Calibration) -> None:
    rows = scored(np.zeros(3), np.zeros(3), np.array([1, 2, 28]))
    assert not quantiles(rows, table, QUANTILES).any()


def test_a_service_level_of_any_height_can_be_asked_for(table: Calibration) -> None:
    rows = scored(np.zeros(1), np.array([3.0]), np.array([4]))
    bands = quantiles(rows, table, (0.9, 0.93, 0.98, 0.999))
    assert (np.diff(bands) >= 0).all() and bands[0, -1] > bands[0, 0]


def test_few_days_make_one_tier_and_none_is_refused() -> None:
    few = conformal.calibrate(days(slice(60)), horizon=28)
    assert few.edges == [] and len(few.ranks) == 1 and len(few.ranks[0]) == LEADS
    with pytest.raises(ValueError, match="no day with a forecast above 0"):
        conformal.calibrate(scored(np.ones(5), np.zeros(5), np.ones(5, dtype=int)), horizon=28)


def two_items(rows: slice, seed: int) -> pl.DataFrame:
    """A clumpy item and a calm one of the same means, as many days of each."""
    rng, mean = np.random.default_rng(seed), MEANS[rows]
    clumpy = scored(rng.poisson(mean * rng.gamma(0.5, 2, len(mean))), mean, STEPS[rows], "clumpy")
    return pl.concat([clumpy, scored(rng.poisson(mean), mean, STEPS[rows], "calm")])


def test_a_calm_item_has_narrower_intervals_than_a_clumpy_one_and_both_hold() -> None:
    table = conformal.calibrate(two_items(OLD, 1), horizon=28)
    assert table.items["calm"] < 1 < table.items["clumpy"]
    rows = two_items(NEW, 2)
    bands = quantiles(rows, table, (0.1, 0.9))
    one = pl.lit("one").alias("item_id")
    same = conformal.calibrate(two_items(OLD, 1).with_columns(one), horizon=28)
    rows = rows.with_columns(
        own=pl.Series(conformal.pit(rows, table)),
        alike=pl.Series(conformal.pit(rows.with_columns(one), same)),
        width=pl.Series(bands[:, 1] - bands[:, 0]),
    )
    for item in ("calm", "clumpy"):
        of = rows.filter(pl.col("item_id") == item)
        own, alike = (of[c].is_between(0.1, 0.9).mean() for c in ("own", "alike"))
        assert abs(own - 0.8) < 0.06 < abs(alike - 0.8)
    widths = dict(rows.group_by("item_id").agg(pl.col("width").mean()).iter_rows())
    assert widths["calm"] < 0.7 * widths["clumpy"]


def test_a_series_leaves_the_dispersion_of_its_item_as_its_days_tell() -> None:
    rows = two_items(OLD, 1)
    calm, one = rows.filter(pl.col("item_id") == "calm"), pl.lit("one").alias("item_id")
    odd = rows.filter(pl.col("item_id") == "clumpy").select(pl.col("*").exclude("store_id"))
    few = odd.head(3).with_columns(one, store_id=pl.lit("few"))
    many = odd.head(3000).with_columns(one, store_id=pl.lit("many"))
    table = conformal.calibrate(
        pl.concat([rows, calm.with_columns(one), few, many], how="diagonal"), horizon=28
    )
    asked = [("s", "one"), ("few", "one"), ("new", "one"), ("many", "one"), ("s", "never seen")]
    own, few_days, new, many_days, unseen = table.times(
        pl.DataFrame(asked, ["store_id", "item_id"], orient="row")
    ).tolist()
    assert own <= new < many_days and abs(np.log2(few_days / new)) <= 0.5
    assert new == table.items["one"] and unseen == 1.0


def test_a_calibration_is_plain_json_and_the_same_twice() -> None:
    table = conformal.calibrate(two_items(OLD, 1), horizon=28)
    again = conformal.calibrate(two_items(OLD, 1), horizon=28)
    assert Calibration(**json.loads(json.dumps(asdict(table)))) == again


@settings(max_examples=40, deadline=None)
@given(
    arrays(float, 40, elements=st.floats(-5, 500)),
    arrays(float, 40, elements=st.floats(0, 500)),
    arrays(int, 40, elements=st.integers(1, 14)),
    st.sampled_from(conformal.TIMES),
)
def test_quantiles_ascend_and_are_never_negative(
    y: np.ndarray, y_hat: np.ndarray, step: np.ndarray, times: float
) -> None:
    y_hat[0] = 1.0
    table = replace(
        conformal.calibrate(scored(y, y_hat, step), horizon=14), items={"i": times}, series={}
    )
    bands = quantiles(scored(y, y_hat * 3, step), table, QUANTILES)
    assert (np.diff(bands, axis=1) >= 0).all() and (bands >= 0).all() and np.isfinite(bands).all()
    u = conformal.pit(scored(y, y_hat, step), table)
    assert (u >= 0).all() and (u <= 1).all()
