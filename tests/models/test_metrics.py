"""Each metric against a loop that a reader can check."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.schema import QUANTILE_COLUMNS
from models import metrics

CUTOFF = date(2017, 9, 10)


def scored(
    y: list[float | None], y_hat: list[float], items: list[str] | None = None
) -> pl.DataFrame:
    n = len(y)
    return pl.DataFrame(
        {
            "store_id": ["s"] * n,
            "item_id": items or ["i"] * n,
            "cutoff": [CUTOFF] * n,
            "ds": [CUTOFF + timedelta(days=k + 1) for k in range(n)],
            "y": y,
            "y_hat": y_hat,
        },
        schema_overrides={"y": pl.Float64},
    )


def test_wape_and_bias_pool_all_rows() -> None:
    frame = scored([10.0, 0.0, 5.0], [8.0, 1.0, 6.0])
    assert metrics.wape(frame) == pytest.approx((2 + 1 + 1) / 15)
    assert metrics.bias(frame) == pytest.approx(15 / 15 - 1)


def test_rows_without_an_actual_count_nowhere() -> None:
    with_gap = scored([10.0, 5.0, None], [8.0, 6.0, 99.0])
    without = scored([10.0, 5.0], [8.0, 6.0])
    assert metrics.wape(with_gap) == metrics.wape(without)
    assert metrics.bias(with_gap) == metrics.bias(without)


def test_no_sales_at_all_give_no_number() -> None:
    frame = scored([0.0, 0.0], [1.0, 1.0])
    assert np.isnan(metrics.wape(frame)) and np.isnan(metrics.bias(frame))


def test_wrmsse_equals_a_loop_over_nodes() -> None:
    rng = np.random.default_rng(3)
    keys = [(s, i) for s in ("a", "b") for i in ("x", "y", "z")]
    days = [CUTOFF - timedelta(days=k) for k in range(59, -1, -1)]
    history = {k: rng.poisson(4, 60).astype(float) for k in keys}
    ahead = [CUTOFF + timedelta(days=k) for k in range(1, 29)]
    future = {k: (rng.poisson(4, 28).astype(float), rng.random(28) * 8) for k in keys}
    past = pl.DataFrame(
        [(*k, d, v) for k in keys for d, v in zip(days, history[k], strict=True)],
        schema=["store_id", "item_id", "ds", "y"],
        orient="row",
    )
    rows = pl.DataFrame(
        [(*k, d, y, f) for k in keys for d, y, f in zip(ahead, *future[k], strict=True)],
        schema=["store_id", "item_id", "ds", "y", "y_hat"],
        orient="row",
    )
    got = metrics.wrmsse(rows, metrics.level_scales(past))
    nodes = {
        "total": [keys],
        "store": [[k for k in keys if k[0] == s] for s in "ab"],
        "item": [[k for k in keys if k[1] == i] for i in "xyz"],
        "series": [[k] for k in keys],
    }
    for level, groups in nodes.items():
        top = bottom = 0.0
        for group in groups:
            h = sum(history[k] for k in group)
            y, f = (sum(future[k][j] for k in group) for j in (0, 1))
            rmsse = np.sqrt(np.mean((y - f) ** 2) / np.mean(np.diff(h) ** 2))
            weight = h[-28:].sum()
            top, bottom = top + weight * rmsse, bottom + weight
        assert got[level] == pytest.approx(top / bottom)
    assert got["mean"] == pytest.approx(np.mean([got[level] for level in nodes]))


def test_categories_add_the_department_levels() -> None:
    frame = scored([1.0, 2.0], [1.0, 2.0], ["GROCERY|CHEESE", "GROCERY|MILK"])
    assert list(metrics.levels_of(frame)) == list(metrics.LEVELS)
    assert "department" not in metrics.levels_of(scored([1.0], [1.0]))


def test_a_perfect_forecast_has_no_error() -> None:
    rng = np.random.default_rng(0)
    y = list(rng.poisson(5, 28).astype(float))
    past = scored(list(rng.poisson(5, 60).astype(float)), [0.0] * 60).with_columns(
        ds=pl.col("ds") - timedelta(days=60)
    )
    result = metrics.wrmsse(scored(y, y), metrics.level_scales(past))
    assert all(value == 0 for value in result.values())


def with_quantiles(frame: pl.DataFrame, values: dict[str, float]) -> pl.DataFrame:
    return frame.with_columns(pl.lit(values.get(c, 3.0)).alias(c) for c in QUANTILE_COLUMNS)


def test_pinball_equals_its_definition() -> None:
    y = [0.0, 4.0, 9.0]
    frame = with_quantiles(scored(y, [3.0] * 3), {"q0.9": 5.0, "q0.1": 1.0})
    got = metrics.pinball(frame)
    loop = np.mean([0.9 * (v - 5) if v >= 5 else 0.1 * (5 - v) for v in y]) / np.mean(y)
    assert got["q0.9"] == pytest.approx(loop)
    assert got["mean"] == pytest.approx(np.mean([got[c] for c in QUANTILE_COLUMNS]))


def test_coverage_counts_inside_below_and_above() -> None:
    frame = with_quantiles(scored([0.0, 4.0, 9.0, 1.0], [3.0] * 4), {"q0.1": 1.0, "q0.9": 5.0})
    got = metrics.coverage(frame, "q0.1", "q0.9")
    assert got == {"inside": 0.5, "below": 0.25, "above": 0.25}


@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=20), st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_wape_does_not_depend_on_the_unit(y: list[float], factor: float) -> None:
    y[0] += 1
    y_hat = y[::-1]
    scaled = scored([v * factor for v in y], [v * factor for v in y_hat])
    assert metrics.wape(scaled) == pytest.approx(metrics.wape(scored(list(y), y_hat)))


def m5_like() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Past and scored future of 2 states x 2 stores x 2 categories x 2 departments x 2 items."""
    rng = np.random.default_rng(11)
    past, future = [], []
    for state, s, cat, dep, i in np.ndindex(2, 2, 2, 2, 2):
        c, d = f"C{cat}", f"C{cat}_{dep}"
        key = (f"S{state}_{s}", f"{d}_{i}", f"S{state}", c, d)
        for k in range(70):
            y = float(rng.poisson(2))
            past.append((*key, CUTOFF - timedelta(days=69 - k), y, y * (1 + i)))
        for k in range(1, 15):
            future.append((*key, CUTOFF + timedelta(days=k), float(rng.poisson(2)), rng.random()))
    names = ["store_id", "item_id", "state", "category", "department", "ds", "y"]
    return (
        pl.DataFrame(past, schema=[*names, "money"], orient="row"),
        pl.DataFrame(future, schema=[*names, "y_hat"], orient="row"),
    )


def test_the_twelve_levels_of_m5_equal_a_loop_over_nodes() -> None:
    past, future = m5_like()
    levels = metrics.M5_LEVELS
    scales = metrics.level_scales(past, levels, weight="money")
    got = metrics.wrmsse(future, scales, levels)
    assert len(got) == 13
    for level, keys in levels.items():
        top = bottom = 0.0
        nodes = past.select(keys).unique().iter_rows() if keys else [()]
        for node in nodes:
            mask = pl.all_horizontal(
                pl.lit(True), *(pl.col(k) == v for k, v in zip(keys, node, strict=True))
            )
            h = past.filter(mask).group_by("ds").agg(pl.col("y", "money").sum()).sort("ds")
            f = future.filter(mask).group_by("ds").agg(pl.col("y", "y_hat").sum())
            mse = np.mean((f["y"].to_numpy() - f["y_hat"].to_numpy()) ** 2)
            rmsse = np.sqrt(mse / np.mean(np.diff(h["y"].to_numpy()) ** 2))
            weight = h["money"].to_numpy()[-28:].sum()
            top, bottom = top + weight * rmsse, bottom + weight
        assert got[level] == pytest.approx(top / bottom), level


def test_mase_and_rmsse_of_a_node_equal_their_definitions() -> None:
    past, future = m5_like()
    scales = metrics.level_scales(past, {"series": ["store_id", "item_id"]})
    table = metrics.node_errors(future, scales).filter(pl.col("node") == "/S0_0/C0_0_0")
    one = (pl.col("store_id") == "S0_0") & (pl.col("item_id") == "C0_0_0")
    h = past.filter(one).sort("ds")["y"].to_numpy()
    error = future.filter(one).select(pl.col("y") - pl.col("y_hat")).to_series().to_numpy()
    season = np.mean([abs(h[k] - h[k - 7]) for k in range(7, len(h))])
    assert table["mase"].item() == pytest.approx(np.mean(np.abs(error)) / season)
    step = np.mean([(h[k] - h[k - 1]) ** 2 for k in range(1, len(h))])
    assert table["rmsse"].item() == pytest.approx(np.sqrt(np.mean(error**2) / step))


def test_the_weighted_quantile_loss_is_twice_the_pinball_loss() -> None:
    frame = with_quantiles(scored([0.0, 4.0, 9.0], [3.0] * 3), {})
    loop = np.mean(
        [
            2 * sum(max(q * (y - 3), (q - 1) * (y - 3)) for y in (0, 4, 9)) / 13
            for q in (float(c[1:]) for c in QUANTILE_COLUMNS)
        ]
    )
    assert metrics.weighted_quantile_loss(frame) == pytest.approx(loop)


def test_pit_coverage_is_the_level_where_the_distribution_is_right() -> None:
    u = (np.arange(1000) + 0.5) / 1000
    assert metrics.pit_coverage(u, 0.8) == pytest.approx(0.8)
    assert metrics.pit_coverage(u * 0.5, 0.8) == pytest.approx(0.8)
    assert metrics.pit_coverage(u**4, 0.8) < 0.7
