from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from models.comparison import SLICES, compare, paired_losses, with_slices

FIRST = date(2017, 9, 10)
STORES, ITEMS, ORIGINS = 30, 4, 6


def forecasts(noise: float, seed: int) -> pl.DataFrame:
    """Forecasts off by `noise` of sales that are the same for every seed."""
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed)
    rows = []
    for origin in range(ORIGINS):
        cutoff = FIRST + timedelta(days=5 * origin)
        for s in range(STORES):
            for i in range(ITEMS):
                y = truth.poisson(8, 5)
                errors = rng.normal(0, noise, 5)
                rows += [
                    (f"s{s}", f"D{i}|c", cutoff, cutoff + timedelta(days=k + 1), float(y[k]), e)
                    for k, e in enumerate(y + errors)
                ]
    schema = ["store_id", "item_id", "cutoff", "ds", "y", "y_hat"]
    return pl.DataFrame(rows, schema=schema, orient="row")


def scales() -> pl.DataFrame:
    keys = forecasts(1, 1).select("store_id", "item_id", "cutoff").unique()
    weight = pl.col("store_id").str.slice(1).cast(pl.Float64) + 1
    return keys.with_columns(scale=pl.lit(4.0), weight=weight)


def losses(new: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    return paired_losses(new, old, scales())


def test_a_better_challenger_is_seen_with_its_bound() -> None:
    result = compare(losses(forecasts(1.0, 1), forecasts(2.0, 2)), seed=0)
    assert result.ratio == pytest.approx(0.25, rel=0.1)
    assert result.ratio < result.ratio_upper < 0.35
    assert (result.rows, result.origins, result.blocks) == (30 * 4 * 6 * 5, 6, 30)


def test_the_ratio_is_the_plain_one_over_all_rows() -> None:
    new, old = forecasts(1.0, 1), forecasts(2.0, 2)
    total = {"new": 0.0, "old": 0.0}
    weights = {row[:3]: row[4] / row[3] for row in scales().iter_rows()}
    for name, frame in (("new", new), ("old", old)):
        for s, i, cutoff, _, y, y_hat in frame.iter_rows():
            total[name] += (y - y_hat) ** 2 * weights[s, i, cutoff]
    assert compare(losses(new, old), seed=0).ratio == pytest.approx(total["new"] / total["old"])


def test_the_same_model_is_not_better_than_itself() -> None:
    same = forecasts(1.0, 1)
    result = compare(losses(same, same), seed=0)
    assert result.ratio == result.ratio_upper == 1.0


def test_errors_that_a_store_or_an_origin_shares_widen_the_bound() -> None:
    new, old = forecasts(1.0, 1), forecasts(1.0, 2)
    shared = new.with_columns(
        y_hat=pl.when(pl.col("cutoff") == FIRST).then(pl.col("y")).otherwise("y_hat")
    )
    alone, together = (compare(losses(n, old), seed=0) for n in (new, shared))
    assert together.ratio_upper - together.ratio > 2 * (alone.ratio_upper - alone.ratio)


@pytest.mark.score("model", 6)
def test_a_slice_that_pays_for_the_others_is_seen() -> None:
    new, old = forecasts(1.0, 1), forecasts(2.0, 2)
    worse = pl.when(pl.col("item_id") == "D0|c").then(pl.col("y") + 4.0).otherwise("y_hat")
    plan = pl.DataFrame(
        [("s1", "D1|c", FIRST + timedelta(days=1), 2.0, 0.0)],
        schema=["store_id", "item_id", "ds", "display", "mailer"],
        orient="row",
    )
    rows = with_slices(losses(new.with_columns(y_hat=worse), old), plan)
    slices = compare(rows, seed=0).slices
    found = {(s, v): (ratio, low) for s, v, ratio, low in slices.iter_rows()}
    assert found["department", "D0"][1] > 3 and found["department", "D1"][0] < 0.35
    assert {s for s, _ in found} == set(SLICES)
    assert len([v for s, v in found if s == "store decile"]) == 10
    assert {v for s, v in found if s == "promoted"} == {"yes", "no"}
    assert rows.filter(promoted="yes").height == 1


@pytest.mark.parametrize("unmeasured", [None, float("nan"), float("inf")])
def test_a_missing_score_is_never_evidence_for_either_model(unmeasured: float | None) -> None:
    """The worst rows of one and the same model, taken out of one side, would make it better."""
    same = forecasts(1.0, 1)
    bad = (pl.col("y") - pl.col("y_hat")).abs() > 1.5
    gaps = same.with_columns(y_hat=pl.when(bad).then(unmeasured).otherwise("y_hat"))
    for new, old, who in ((gaps, same, "challenger"), (same, gaps, "champion")):
        with pytest.raises(ValueError, match=rf"The {who} has no number for \d+ of 3600 forecasts"):
            losses(new, old)


def test_both_models_must_forecast_every_row_of_the_other() -> None:
    same = forecasts(1.0, 1)
    few = same.filter(pl.col("store_id").is_in(["s1", "s2", "s3"]))
    said = "has no number for 3240 of 3600 forecasts, the first that of s0/D0"
    with pytest.raises(ValueError, match=f"The challenger {said}"):
        losses(few, same)
    with pytest.raises(ValueError, match=f"The champion {said}"):
        losses(same, few)
    late = same.with_columns(pl.col("ds") + timedelta(days=100))
    with pytest.raises(ValueError, match="has no number"):
        losses(late, same)


def test_days_without_an_actual_are_left_out_of_both() -> None:
    same = forecasts(1.0, 1)
    known = same.with_columns(y=pl.when(pl.col("cutoff") > FIRST).then("y"))
    assert losses(known, same).height == 30 * 4 * 5 * 5
