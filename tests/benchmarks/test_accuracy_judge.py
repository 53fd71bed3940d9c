"""What the accuracy benchmark draws from forecasts, against loops that a reader can check."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from benchmarks.accuracy import judge
from benchmarks.accuracy.methods import Bench
from benchmarks.accuracy.uncertain import coverage_table, plain_step
from data.settings import Settings
from models.metrics import level_scales, wrmsse

CUTOFFS = [date(2017, 9, 10), date(2017, 9, 17)]


def scored(model: str, factor: float, cutoff: date, seed: int = 0) -> pl.DataFrame:
    """Two stores x three items x 28 days; forecasts are off by `factor` times the same noise."""
    rng = np.random.default_rng([seed, cutoff.toordinal()])
    rows = []
    for s in "ab":
        for i in "xyz":
            for k in range(1, 29):
                y = float(rng.poisson(4))
                off = y + factor * rng.normal()
                rows.append((s, i, cutoff, cutoff + timedelta(days=k), k, y, off, model))
    names = ["store_id", "item_id", "cutoff", "ds", "step", "y", "y_hat", "model"]
    return pl.DataFrame(rows, schema=names, orient="row")


def scales_at(cutoff: date) -> dict[str, pl.DataFrame]:
    past = scored("past", 0.0, cutoff - timedelta(days=28), seed=5)
    return level_scales(past.select("store_id", "item_id", "ds", "y"))


@pytest.fixture(scope="module")
def nodes() -> pl.DataFrame:
    sums = [judge.errors(scored(m, f, c)) for m, f in (("a", 1), ("b", 2)) for c in CUTOFFS]
    scales = [judge.scale_table(scales_at(c), c) for c in CUTOFFS]
    return judge.scaled(pl.concat(sums), pl.concat(scales))


def test_wrmsse_from_sums_is_the_metric_of_the_models_room(nodes: pl.DataFrame) -> None:
    table = judge.figures(nodes).filter(pl.col("model") == "a")
    found = dict(table.select("level", "wrmsse").iter_rows())
    each = [wrmsse(scored("a", 1, c), scales_at(c)) for c in CUTOFFS]
    for level, value in found.items():
        assert value == pytest.approx(np.mean([e[level] for e in each]))
    assert set(found) == set(each[0]) - {"mean"}


def test_twice_the_error_is_twice_the_loss_with_an_interval_around_it(nodes: pl.DataFrame) -> None:
    for level in ("total", "store", "series"):
        value, low, high = judge.ratio_interval(nodes, [level], "b", "a", seed=1)
        assert value == pytest.approx(2) and low == pytest.approx(2) and high == pytest.approx(2)


def test_the_interval_of_a_ratio_holds_it_and_is_not_a_point(nodes: pl.DataFrame) -> None:
    other = [judge.errors(scored("c", 1, c, seed=9)) for c in CUTOFFS]
    scales = [judge.scale_table(scales_at(c), c) for c in CUTOFFS]
    both = pl.concat([nodes, judge.scaled(pl.concat(other), pl.concat(scales))])
    value, low, high = judge.ratio_interval(both, ["series"], "c", "a", seed=1)
    assert low < value < high


def test_errors_by_lead_week_add_up(nodes: pl.DataFrame) -> None:
    sums = judge.errors(scored("a", 1, CUTOFFS[0]))
    assert sorted(sums["lead_week"].unique()) == [1, 2, 3, 4]
    series = sums.filter(pl.col("level") == "series")
    frame = scored("a", 1, CUTOFFS[0])
    assert series["sse"].sum() == pytest.approx(((frame["y"] - frame["y_hat"]) ** 2).sum())


def test_the_worst_bias_is_that_of_a_group_that_is_large_enough() -> None:
    frame = pl.DataFrame(
        {"g": ["a", "b", "c"], "y": [100.0, 100.0, 1.0], "y_hat": [104.0, 91.0, 9.0]}
    )
    assert judge.worst_bias(frame, pl.col("g"), 0.02) == pytest.approx(0.09)
    assert judge.worst_bias(frame, pl.col("g")) == pytest.approx(8.0)


def test_tiers_hold_a_fifth_of_the_series_each() -> None:
    features = pl.DataFrame(
        {"store_id": ["s"] * 10, "item_id": [str(k) for k in range(10)], "mean_56": range(10)}
    )
    tiers = judge.tiers_of(features)
    assert tiers["tier"].to_list() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_coverage_is_counted_by_tier_and_lead_week() -> None:
    u = np.tile((np.arange(100) + 0.5) / 100, 2)
    rows = pl.DataFrame(
        {"u": u, "tier": [1] * 100 + [2] * 100, "step": [3] * 100 + [27] * 100}
    ).with_columns(pl.lit(0.0).alias("q0.1"), pl.lit(2.0).alias("q0.9"))
    table = coverage_table(rows)
    assert table["lead_week"].to_list() == [1, 4]
    assert table["coverage_80"].to_list() == pytest.approx([0.8, 0.8])
    assert table["width_80"].to_list() == [2.0, 2.0]


def test_plain_conformal_quantiles_hold_at_every_volume() -> None:
    rng = np.random.default_rng(3)
    y_hat = rng.gamma(1, 20, 40_000)
    y = rng.normal(y_hat, 0.5 * np.sqrt(y_hat))
    rows = pl.DataFrame({"y": y, "y_hat": y_hat})
    past, now = rows[:20_000], rows[20_000:]
    bands = plain_step(Bench(Settings(_env_file=None), CUTOFFS), past, now)
    assert (np.diff(bands, axis=1) >= 0).all() and (bands >= 0).all()
    inside = (now["y"].to_numpy() >= bands[:, 1]) & (now["y"].to_numpy() <= bands[:, -2])
    for low in (True, False):
        of = (now["y_hat"] < now["y_hat"].median()).to_numpy() == low
        assert abs(inside[of].mean() - 0.8) < 0.02


def test_plain_conformal_quantiles_of_forecasts_that_are_alike_rest_on_all_errors() -> None:
    past = pl.DataFrame({"y": [float(k % 5) for k in range(100)], "y_hat": [2.0] * 100})
    bands = plain_step(Bench(Settings(_env_file=None), CUTOFFS), past, past.head(1))
    lower = plain_step(
        Bench(Settings(_env_file=None), CUTOFFS), past, pl.DataFrame({"y_hat": [1.0]})
    )
    assert bands[0, 0] == 0.0 and bands[0, -1] == 4.0
    assert (np.diff(lower[0]) >= 0).all()
