from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from models.comparison import compare

CUTOFF = date(2017, 9, 10)


def forecasts(noise: float, seed: int, series: int = 60) -> pl.DataFrame:
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed)
    rows = []
    for s in range(series):
        for k in range(1, 29):
            y = float(truth.poisson(8))
            error = rng.normal(0, noise)
            rows.append(("s", f"i{s}", CUTOFF, CUTOFF + timedelta(days=k), y, y + error))
    schema = ["store_id", "item_id", "cutoff", "ds", "y", "y_hat"]
    return pl.DataFrame(rows, schema=schema, orient="row")


def scales(series: int = 60) -> pl.DataFrame:
    nodes = [f"/s/i{s}" for s in range(series)]
    return pl.DataFrame({"node": nodes, "scale": 4.0, "weight": 10.0})


def test_a_better_challenger_is_seen_with_its_bound() -> None:
    result = compare(forecasts(1.0, 1), forecasts(2.0, 2), scales(), draws=2000, seed=0)
    assert result.ratio == pytest.approx(0.25, rel=0.1)
    assert result.ratio < result.ratio_upper < 0.35
    assert result.rows == 60 * 28


def test_the_same_model_is_not_better_than_itself() -> None:
    same = forecasts(1.0, 1)
    result = compare(same, same, scales(), draws=500, seed=0)
    assert result.ratio == result.ratio_upper == 1.0


def test_two_equal_configurations_are_seldom_told_apart() -> None:
    better = sum(
        compare(
            forecasts(1.0, 2 * k), forecasts(1.0, 2 * k + 1), scales(), draws=300, seed=k
        ).ratio_upper
        < 1.0
        for k in range(40)
    )
    assert better <= 6


def test_only_rows_of_both_count() -> None:
    half = forecasts(1.0, 2).filter(pl.col("ds") > CUTOFF + timedelta(days=14))
    assert compare(forecasts(1.0, 1), half, scales(), draws=100, seed=0).rows == 60 * 14


def test_without_a_common_row_there_is_no_evidence() -> None:
    late = forecasts(1.0, 2).with_columns(pl.col("ds") + timedelta(days=100))
    with pytest.raises(ValueError, match="share no forecast day"):
        compare(forecasts(1.0, 1), late, scales(), draws=100, seed=0)
