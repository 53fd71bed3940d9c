from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from data.schema import QUANTILES
from models import conformal, paths
from models.conformal import Calibration
from models.paths import Dependence

H, ORIGINS = 14, 12
STORES, ITEMS = [f"s{k}" for k in range(12)], [f"i{k}" for k in range(6)]
KEYS = [(s, i) for s in STORES for i in ITEMS]
NONE = Dependence(0, 0, 0, 0, 0, 0, 0, {})


def world(seed: int) -> pl.DataFrame:
    """Sales of a chain with shocks of known variance: chain-day .02, item-day .03, store-day .1."""
    rng = np.random.default_rng(seed)
    mean = {k: rng.uniform(4, 30) for k in KEYS}
    rows = []
    for origin in range(ORIGINS):
        cutoff = date(2017, 1, 1) + timedelta(days=28 * origin)
        for step in range(1, H + 1):
            chain = rng.normal(0, 0.02**0.5)
            store = dict(zip(STORES, rng.normal(0, 0.1**0.5, len(STORES)), strict=True))
            item = dict(zip(ITEMS, rng.normal(0, 0.03**0.5, len(ITEMS)), strict=True))
            for s, i in KEYS:
                y = rng.poisson(mean[s, i] * max(1 + chain + store[s] + item[i], 0))
                day = cutoff + timedelta(days=step)
                rows.append((s, i, cutoff, day, step, float(y), mean[s, i]))
    columns = ["store_id", "item_id", "cutoff", "ds", "step", "y", "y_hat"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.fixture(scope="module")
def scored() -> pl.DataFrame:
    return world(3)


@pytest.fixture(scope="module")
def table(scored: pl.DataFrame) -> Calibration:
    own = {"s0": {"i2": 2.0}, "s6": {"i4": 0.5}}
    found = conformal.calibrate(scored, horizon=H)
    return replace(found, items={"i1": 0.25, "i3": 4.0}, series=own)


def test_shocks_of_a_known_world_are_found(scored: pl.DataFrame) -> None:
    found = paths.estimate(scored)
    assert found.chain_day == pytest.approx(0.02, abs=0.01)
    assert found.item_day == pytest.approx(0.03, abs=0.01)
    store_day = np.mean([found.store_day_of(s) for s in STORES])
    assert store_day == pytest.approx(0.1, abs=0.03)
    assert max(found.chain, found.store, found.item) < 0.005


def test_pair_sums_are_those_of_a_naive_loop(scored: pl.DataFrame) -> None:
    few = scored.filter(pl.col("store_id").is_in(STORES[:2]) & (pl.col("step") < 4))
    few = few.filter(pl.col("item_id").is_in(ITEMS[:2]))
    naive = dict.fromkeys(("series", "store_day", "item_day", "day", "store", "item", "chain"), 0.0)
    names = {  # same day, same store, same item
        (False, True, True): "series",
        (True, True, False): "store_day",
        (True, False, True): "item_day",
        (True, False, False): "day",
        (False, True, False): "store",
        (False, False, True): "item",
        (False, False, False): "chain",
    }
    rows = few.select("cutoff", "ds", "store_id", "item_id", "y").rows()
    for a in rows:
        for b in rows:
            kind = (a[1] == b[1], a[2] == b[2], a[3] == b[3])
            if a[0] == b[0] and kind in names:
                naive[names[kind]] += a[4] * b[4]
    assert paths._pairs(few, "y") == pytest.approx(naive)


def test_each_day_of_the_paths_has_the_calibrated_quantiles(table: Calibration) -> None:
    y_hat = np.array([[0.05], [0.7], [6.0], [70.0], [400.0]]) * np.ones(H)
    keys = [("s0", f"i{k}") for k in range(5)]
    shocks = Dependence(0, 0.02, 0, 0.5, 0, 0.03, 0.05, {"s0": 5.0})
    drawn = dict(paths.sample(keys, y_hat, table, shocks, draws=20_000))
    step = np.arange(1, H + 1)
    times = table.times(pl.DataFrame(keys, ["store_id", "item_id"], orient="row"))
    for row in range(5):
        exact = conformal.apply(y_hat[row], step, times[row].repeat(H), table, QUANTILES)
        for i, q in enumerate(QUANTILES):
            below = (drawn[row] < exact[:, i : i + 1] - 1e-6).mean()
            up_to = (drawn[row] <= exact[:, i : i + 1] * 1.01 + 1e-6).mean()
            assert below - 0.02 < q < up_to + 0.02


def test_paths_of_a_series_are_the_same_alone_as_among_all(table: Calibration) -> None:
    rng = np.random.default_rng(0)
    y_hat = rng.gamma(1, 5, (len(KEYS), H))
    shocks = Dependence(0, 0.02, 0.01, 0.5, 0, 0.03, 0.05, dict.fromkeys(STORES, 5.0))
    together = dict(paths.sample(KEYS, y_hat, table, shocks, draws=50))
    ((_, alone),) = paths.sample([KEYS[40]], y_hat[40:41], table, shocks, draws=50)
    ((_, shorter),) = paths.sample([KEYS[40]], y_hat[40:41, :3], table, shocks, draws=50)
    assert np.array_equal(together[40], alone)
    assert np.array_equal(together[40][:3], shorter)
    assert not np.array_equal(together[40], together[41])


def test_sums_of_the_paths_vary_as_much_as_those_of_the_world(
    scored: pl.DataFrame, table: Calibration
) -> None:
    shocks = paths.estimate(scored)
    first = scored.filter(pl.col("cutoff") == scored["cutoff"].min()).sort(
        "store_id", "item_id", "step"
    )
    keys = list(first.filter(pl.col("step") == 1).select("store_id", "item_id").iter_rows())
    y_hat = first["y_hat"].to_numpy().reshape(-1, H)

    def spread(dependence: Dependence) -> float:
        drawn = sum(p for _, p in paths.sample(keys, y_hat, table, dependence, draws=400))
        return float(np.std(drawn, axis=1).mean())

    real = scored.group_by("cutoff", "ds").agg(pl.col("y").sum())["y"].std()
    assert spread(shocks) == pytest.approx(real, rel=0.15)
    assert spread(NONE) < 0.6 * real  # the test can tell


def test_a_day_of_its_own_variance_widens_the_sum_of_that_day_alone(table: Calibration) -> None:
    y_hat = np.full((len(KEYS), H), 5.0)
    usual = replace(NONE, chain_day=0.01)
    feast = replace(usual, chain_day=np.where(np.arange(H) == 3, 0.09, 0.01))
    narrow, wide = (
        np.std(sum(p for _, p in paths.sample(KEYS, y_hat, table, d, draws=400)), axis=1)
        for d in (usual, feast)
    )
    assert wide[3] > 1.5 * narrow[3]
    assert np.delete(wide, 3) == pytest.approx(np.delete(narrow, 3))
