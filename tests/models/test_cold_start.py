from datetime import date

import numpy as np
import polars as pl
import pytest

from data.schema import DEMAND_FEATURES, KEYS, STORE_FEATURES
from models import cold_start, conformal
from models.cold_start import LEVEL, Known, NoAnalogue, analogue_features

SIZES = {f"s{k}": 1.0 + k for k in range(8)}  # s7 sells eight times what s0 sells
SHARES = {"A|x": 4.0, "A|y": 2.0, "B|x": 1.0, "B|y": 0.5}


def row(store: str, item: str, level: float, age: float = 200.0) -> dict[str, object]:
    values = dict.fromkeys([*DEMAND_FEATURES, *STORE_FEATURES], level)
    fixed = {"zero_share_28": 0.25, "age_days": age, "price_28": 3.0, "store_mean_28": 50.0}
    return {"store_id": store, "item_id": item, "cutoff": date(2017, 9, 10)} | values | fixed


def chain(noise: float = 0.0) -> pl.DataFrame:
    """Feature rows of a chain where an item sells its share of the size of a store."""
    rng = np.random.default_rng(3)
    return pl.DataFrame(
        [
            row(s, i, size * share * float(rng.lognormal(0, noise)))
            for s, size in SIZES.items()
            for i, share in SHARES.items()
        ]
    )


def without(known: pl.DataFrame, store: str, item: str) -> pl.DataFrame:
    return known.filter((pl.col("store_id") != store) | (pl.col("item_id") != item))


def test_a_new_series_sells_its_item_at_the_size_of_its_store() -> None:
    known = Known.of(without(chain(), "s5", "A|y"))
    found = analogue_features(known, [("s5", "A|y")]).row(0, named=True)
    assert found[LEVEL] == pytest.approx(6 * 2.0)
    assert found["lag_1"] == pytest.approx(6 * 2.0)
    assert found["store_mean_28"] == pytest.approx(50 + 6 * 2.0)
    assert found["zero_share_28"] == 0.25  # not in units
    assert found["price_28"] == pytest.approx(3.0)
    assert (found["store_id"], found["item_id"]) == ("s5", "A|y")
    assert found["method"].startswith("analogues: A|y in stores s6, s4, s7 and 4 more")


def test_an_item_that_no_other_store_sells_is_like_its_department() -> None:
    found = analogue_features(Known.of(chain()), [("s1", "A|new")]).row(0, named=True)
    assert found[LEVEL] == pytest.approx(2 * (4.0 + 2.0) / 2)
    assert found["method"] == "analogues: A|x, A|y in store s1"
    other = analogue_features(Known.of(chain()), [("s1", "C|new")]).row(0, named=True)
    assert other["method"] == "analogues: A|x, A|y, B|x and 1 more in store s1"


def test_a_new_store_is_the_mean_of_the_stores() -> None:
    found = analogue_features(Known.of(chain()), [("s99", "B|x")]).row(0, named=True)
    assert found[LEVEL] == pytest.approx(np.mean(list(SIZES.values())))


def test_nothing_known_is_said() -> None:
    with pytest.raises(NoAnalogue, match="Neither store 'x' nor item 'y' has sold"):
        analogue_features(Known.of(chain()), [("x", "y")])


def test_a_hidden_series_does_not_look_at_itself() -> None:
    known = chain()
    changed = known.with_columns(
        pl.when((pl.col("store_id") == "s3") & (pl.col("item_id") == "A|x"))
        .then(pl.col(c) * 9)
        .otherwise(pl.col(c))
        .alias(c)
        for c in (LEVEL, "mean_28", "lag_1")
    )
    mine = (pl.col("store_id") == "s3") & (pl.col("item_id") == "A|x")
    before, after = (cold_start.hidden(f).filter(mine) for f in (known, changed))
    columns = [c for c in DEMAND_FEATURES if c in before.columns]
    assert before.select(columns).equals(after.select(columns))
    assert before["store_mean_28"].item() == pytest.approx(50.0)  # its own 16 go, 16 are guessed


@pytest.mark.parametrize(("days", "said"), [(1, "1 day"), (28, "28 days"), (200, "200 days")])
def test_its_own_days_count_the_more_the_longer_ago_the_first_one_is(days: int, said: str) -> None:
    known = without(chain(), "s5", "A|y")
    own = pl.DataFrame([row("s5", "A|y", 40.0, age=days - 1)]).with_columns(
        pl.lit(None, pl.Float64).alias("price_28")
    )
    found = analogue_features(Known.of(known), [("s5", "A|y")], own).row(0, named=True)
    assert found[LEVEL] == pytest.approx(12 + (40 - 12) * days / (days + 28))
    assert found["price_28"] == pytest.approx(3.0)  # nothing is known of its own
    assert found["store_mean_28"] == pytest.approx(50 + found["mean_28"])
    assert found["method"].startswith("analogues: A|y in stores s6, s4, s7 and 4 more")
    assert found["method"].endswith(f", and {said} of its own")


def test_the_error_of_guessed_levels_widens_the_dispersion() -> None:
    rng = np.random.default_rng(1)
    y_hat = rng.gamma(1, 5, 6000)
    step = rng.integers(1, 29, 6000)
    days = pl.DataFrame({"store_id": "s0", "item_id": "A|x", "y_hat": y_hat, "step": step})
    known = days.with_columns(y=pl.Series(rng.poisson(y_hat).astype(float)))
    table = conformal.calibrate(known, horizon=28)
    sure, unsure = (cold_start.level_error(chain(n), table) for n in (0.0, 0.5))
    assert max(sure) < 1e-9 and 0.1 < np.mean(unsure) < 0.9
    wide = cold_start.widened(table, unsure)
    true = y_hat * rng.lognormal(0, np.mean(unsure) ** 0.5 * 0.9, 6000)  # levels that were guessed
    new = days.with_columns(y=pl.Series(rng.poisson(true).astype(float)))
    shares = []
    for calibration in (table, wide):
        u = conformal.pit(new, calibration)
        shares.append(((u > 0.1) & (u < 0.9)).mean())
    assert shares[0] < 0.72 < shares[1]


def test_a_series_without_a_neighbour_is_not_judged() -> None:
    sold = {"store_id": "s0", "item_id": "A|x", "y": [2.0] * 40, "y_hat": 2.0, "step": 1}
    table = conformal.calibrate(pl.DataFrame(sold), horizon=28)
    known, alone = chain(0.5), pl.DataFrame([row("far", "C|z", 3.0)])
    with_one = cold_start.level_error(pl.concat([known, alone]), table)
    assert with_one == pytest.approx(cold_start.level_error(known, table))
    assert cold_start.level_error(alone, table) == [1.0] * len(table.dispersion)


def test_columns_are_those_of_the_known_rows() -> None:
    known = chain()
    found = analogue_features(Known.of(known), [("s1", "A|new")])
    assert found.drop("method").schema == known.schema
    assert found.select(KEYS).row(0) == ("s1", "A|new")
