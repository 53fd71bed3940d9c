"""Scores: one per forecast and actual, pinned to a maturity, summed up by slice."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from data.schema import QUANTILE_COLUMNS, SALES
from data.steps import Steps
from models import scores
from models.scores import FINAL, PROVISIONAL, new_scores, performance, pinned, stability, stamped

CUTOFF = date(2017, 9, 10)
NOW = datetime(2017, 9, 20, 10, tzinfo=UTC)
PLAN = {"store_id": ["1"], "item_id": ["A"], "ds": [CUTOFF + timedelta(days=1)]}
PLANNED = pl.DataFrame(PLAN).with_columns(display=pl.lit(2.0), mailer=pl.lit(0.0))


def sales(**changed: float) -> pl.DataFrame:
    """1, 2, 1, 2 … units a day; `changed` maps dYYYYMMDD to other units."""
    days = [CUTOFF + timedelta(days=k) for k in range(-40, 20)]
    rows = [
        ("1", "A", d, changed.get(f"d{d:%Y%m%d}", 1.0 + k % 2), 1.0, NOW)
        for k, d in enumerate(days)
    ]
    return pl.DataFrame(rows, schema=SALES, orient="row")


def issued(y_hat: float = 3.0, model: str = "1") -> pl.DataFrame:
    days = [(k, CUTOFF + timedelta(days=k)) for k in range(1, 15)]
    quantiles = np.linspace(0.5, 5, len(QUANTILE_COLUMNS))
    rows = [("1", "A", CUTOFF, d, k, y_hat, *quantiles, model) for k, d in days]
    columns = ["store_id", "item_id", "cutoff", "ds", "step", "y_hat", *QUANTILE_COLUMNS, "model"]
    return pl.DataFrame(rows, schema=columns, orient="row")


NONE = stamped(
    pl.DataFrame(
        schema={
            **{c: pl.String for c in ("model", "store_id", "item_id", "state")},
            **{c: pl.Date for c in ("cutoff", "ds")},
            "y": pl.Float64,
        }
    ),
    NOW,
)


def score(
    known: pl.DataFrame, until: date, before: pl.DataFrame = NONE, **frames: pl.DataFrame
) -> pl.DataFrame:
    forecasts = frames.get("issued", issued())
    return new_scores(
        forecasts, before, known, PLANNED, until=until, maturity_days=7, steps=Steps()
    )


def after(days: int) -> date:
    return CUTOFF + timedelta(days=days)


def test_a_score_is_what_a_plain_loop_gives() -> None:
    row = score(sales(), after(1)).row(0, named=True)
    days = sales().filter(pl.col("ds") <= CUTOFF)["y"].to_list()
    scale = sum((b - a) ** 2 for a, b in pairwise(days)) / (len(days) - 1)
    losses = [
        max(float(c[1:]) * (row["y"] - row[c]), (float(c[1:]) - 1) * (row["y"] - row[c]))
        for c in QUANTILE_COLUMNS
    ]
    assert row["scaled_error"] == pytest.approx((row["y"] - 3.0) ** 2 / scale)
    assert row["pinball"] == pytest.approx(sum(losses) / len(losses))
    assert row["volume"] == pytest.approx(sum(days[-28:]) / 28)
    assert row["promoted"] and not score(sales(), after(2))["promoted"][1]


def test_days_that_are_not_over_have_no_score_and_old_ones_are_final() -> None:
    found = score(sales(), after(9))
    assert found["ds"].to_list() == [after(k) for k in range(1, 10)]
    assert found["state"].to_list() == [FINAL] * 2 + [PROVISIONAL] * 7


def test_scored_once_a_forecast_waits_for_its_maturity() -> None:
    first = stamped(score(sales(), after(3)), NOW)
    assert score(sales(), after(3), first).is_empty()
    later = score(sales(), after(8), first)
    assert later.filter(state=FINAL)["ds"].to_list() == [after(1)]
    assert later.filter(state=PROVISIONAL)["ds"].to_list() == [after(k) for k in range(4, 9)]


def test_a_revision_adds_a_score_and_changes_no_figure_once_final() -> None:
    first = stamped(score(sales(), after(14)), NOW)
    revised = sales(d20170911=50.0, d20170923=60.0)  # days 1 (final) and 13 (provisional)
    added = stamped(score(revised, after(14), first), NOW + timedelta(days=1))
    assert added["y"].to_list() == [50.0, 60.0]
    kept = pinned(pl.concat([first, added])).sort("ds")
    assert kept.height == 14
    assert kept["y"][0] == first["y"][0] and kept["y"][12] == 60.0


def test_performance_by_slice_has_skill_against_seasonal_naive() -> None:
    naive = issued(5.0, scores.SEASONAL_NAIVE).with_columns(
        pl.lit(None, dtype=pl.Float64).alias(c) for c in QUANTILE_COLUMNS
    )
    found = score(sales(), after(14), issued=pl.concat([issued(), naive]))
    table = performance(found)
    figures = {row[:4]: row[4] for row in table.iter_rows()}
    y = found.filter(model="1")["y"]
    assert figures["1", "all", "all", "wape"] == pytest.approx((3 - y).abs().sum() / y.sum())
    assert figures["1", "all", "all", "bias"] == pytest.approx(3 * 14 / y.sum() - 1)
    expected = 1 - ((y - 3) ** 2).sum() / ((y - 5) ** 2).sum()
    assert figures["1", "all", "all", "skill"] == pytest.approx(expected)
    assert {row[1] for row in table.iter_rows()} == set(scores.SLICES)
    assert ("1", "lead week", "2", "coverage 80") in figures
    assert (scores.SEASONAL_NAIVE, "all", "all", "coverage 80") not in figures


def test_stability_is_the_change_from_one_issue_to_the_next() -> None:
    second = (
        issued(4.5)
        .with_columns(cutoff=pl.lit(after(1)), step=pl.col("step") - 1)
        .filter(pl.col("step") > 0)
    )
    table = stability(pl.concat([issued(3.0), second]))
    assert table["lead_week"].to_list() == [1, 2]
    assert table["moved"].to_list() == pytest.approx([0.5, 0.5]) and table["n"].sum() == 13


def test_a_change_of_version_is_a_change_of_the_forecast_and_baselines_are_apart() -> None:
    def later(y_hat: float, model: str) -> pl.DataFrame:
        return (
            issued(y_hat, model)
            .with_columns(cutoff=pl.lit(after(1)), step=pl.col("step") - 1)
            .filter(pl.col("step") > 0)
        )

    naive = [issued(5.0, scores.SEASONAL_NAIVE), later(5.0, scores.SEASONAL_NAIVE)]
    table = stability(pl.concat([issued(10.0, "1"), later(20.0, "2"), *naive]))
    moved = table.group_by("model").agg(pl.col("moved").mean(), pl.col("n").sum())
    assert sorted(moved.rows()) == [("champion", 1.0, 13), (scores.SEASONAL_NAIVE, 0.0, 13)]
