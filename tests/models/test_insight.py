"""Accuracy by node against sums made by hand."""

from datetime import date, timedelta

import polars as pl
import pytest

from data.steps import Steps
from models.insight import accuracy, mean_prices, scored_overrides

CUTOFF = date(2017, 9, 10)


def rows(store: str, model: str, y: list[float], y_hat: float) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "store_id": store,
            "item_id": "A",
            "cutoff": CUTOFF,
            "ds": [CUTOFF + timedelta(days=k + 1) for k in range(len(y))],
            "step": [k + 1 for k in range(len(y))],
            "model": model,
            "y": y,
            "y_hat": y_hat,
            "q0.1": 0.0 if model == "1" else None,
            "q0.9": 2.5 if model == "1" else None,
        },
        schema_overrides={"q0.1": pl.Float64, "q0.9": pl.Float64, "y": pl.Float64},
    )


@pytest.fixture
def matured() -> pl.DataFrame:
    week = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 2.0]  # 14 units
    naive = "seasonal naive"
    frames = [rows("1", "1", week, 3.0), rows("1", naive, week, 1.0)]
    frames += [rows("2", "1", week, 1.0), rows("2", naive, week, 1.0)]
    frames += [rows("3", "1", week[:5], 1.0), rows("3", naive, week[:5], 1.0)]
    return pl.concat(frames)


def test_weeks_are_summed_before_they_are_compared(matured: pl.DataFrame) -> None:
    prices = pl.DataFrame({"store_id": ["1", "2"], "item_id": ["A", "A"], "price": [10.0, 1.0]})
    found = accuracy(matured, prices)
    own = found.filter((pl.col("level") == "series") & (pl.col("model") == "1"))
    assert own["store_id"].to_list() == ["1", "2"]  # a week of five days is not over
    assert own["wape"].to_list() == pytest.approx([7 / 14, 7 / 14])
    assert own["bias"].to_list() == pytest.approx([0.5, -0.5])
    assert own["value"].to_list() == [140.0, 14.0]
    assert own["coverage_80"].to_list() == pytest.approx([5 / 7, 5 / 7])
    assert own["value_added"].to_list() == pytest.approx([0.0, 0.0])


def test_errors_of_series_cancel_in_their_sum(matured: pl.DataFrame) -> None:
    prices = pl.DataFrame(schema={"store_id": pl.String, "item_id": pl.String, "price": pl.Float64})
    total = accuracy(matured, prices).filter(pl.col("level") == "total")
    own = total.filter(pl.col("model") == "1").row(0, named=True)
    assert own["wape"] == pytest.approx(0.0) and own["value_added"] == pytest.approx(0.5)
    assert own["store_id"] is None and own["coverage_80"] is None


def test_a_version_is_compared_with_the_naive_forecast_of_its_own_weeks(
    matured: pl.DataFrame,
) -> None:
    later = matured.with_columns(pl.col("cutoff", "ds") + timedelta(days=7), y=pl.lit(9.0))
    later = later.filter(pl.col("model") != "1")  # of which naive alone said anything
    prices = pl.DataFrame(schema={"store_id": pl.String, "item_id": pl.String, "price": pl.Float64})
    both, first = (accuracy(f, prices) for f in (pl.concat([matured, later]), matured))
    columns = ["level", "store_id", "item_id", "department", "wape", "value_added"]
    own = [
        f.filter(pl.col("model") == "1").select(columns).sort(columns, nulls_last=True)
        for f in (both, first)
    ]
    assert own[0].equals(own[1]) and own[0].height > 1


def test_nothing_matured_is_an_empty_table(matured: pl.DataFrame) -> None:
    prices = pl.DataFrame(schema={"store_id": pl.String, "item_id": pl.String, "price": pl.Float64})
    assert accuracy(matured.head(0), prices).is_empty()


def test_the_mean_price_weighs_units() -> None:
    sales = pl.DataFrame(
        {
            "store_id": "1",
            "item_id": "A",
            "ds": [CUTOFF, CUTOFF - timedelta(days=1), CUTOFF - timedelta(days=200)],
            "y": [1.0, 3.0, 9.0],
            "price": [4.0, 2.0, 100.0],
        }
    )
    assert mean_prices(sales, CUTOFF)["price"].item() == pytest.approx(2.5)


def test_an_override_is_scored_once_its_days_are_over() -> None:
    day = CUTOFF - timedelta(days=1)
    overrides = pl.DataFrame(
        {
            "store_id": ["1", "1", "2"],
            "item_id": "A",
            "override_id": ["over", "open", "nothing sold"],
            "since": day,
            "until": [CUTOFF, CUTOFF + timedelta(days=1), CUTOFF],
            "units": [5.0, 5.0, 1.0],
            "baseline": [4.0, 4.0, 3.0],
        }
    )
    sales = pl.DataFrame({"store_id": "1", "item_id": "A", "ds": [day, CUTOFF], "y": [4.0, 5.0]})
    scored = scored_overrides(overrides, sales, CUTOFF, Steps())
    assert scored["actual"].to_list() == [9.0, None, 0.0]
    assert scored["value_added"].to_list() == [4.0, None, 1.0]  # 10 is nearer to 9 than 4


def test_an_override_is_of_the_days_that_its_store_is_open() -> None:
    override = {"store_id": "1", "item_id": "A", "override_id": "christmas", "units": 5.0}
    days = {"since": date(2017, 12, 24), "until": date(2017, 12, 26), "baseline": 8.0}
    sold = {"store_id": "1", "item_id": "A", "ds": [days["since"], days["until"]], "y": 5.0}
    scored = scored_overrides(
        pl.DataFrame([override | days]), pl.DataFrame(sold), days["until"], Steps(1, ("12-25",))
    )
    assert scored["value_added"].to_list() == [2.0] and "open" not in scored.columns
