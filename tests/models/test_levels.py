from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from data.schema import FORECAST, QUANTILE_COLUMNS, QUANTILES
from models import conformal, levels, paths
from models.conformal import Calibration
from models.metrics import LEVELS
from models.paths import Dependence

H = 6
SHOCKS = Dependence(0.0, 0.01, 0.0, 3.0, 0.0, 0.01, 0.05, {"s0": 10.0, "s1": 30.0})


@pytest.fixture(scope="module")
def table() -> Calibration:
    rng = np.random.default_rng(1)
    y_hat, step = rng.gamma(1, 5, 4000), rng.integers(1, H + 1, 4000)
    y = rng.poisson(y_hat).astype(float)
    named = {"store_id": "s0", "item_id": "A|x"}
    days = pl.DataFrame({**named, "y": y, "y_hat": y_hat, "step": step})
    return conformal.calibrate(days, horizon=H)


@pytest.fixture(scope="module")
def forecasts(table: Calibration) -> pl.DataFrame:
    rng = np.random.default_rng(4)
    items = ["A|x", "A|y", "B|x"]
    keys = pl.DataFrame({"store_id": ["s0", "s1"]}).join(
        pl.DataFrame({"item_id": items}), how="cross"
    )
    rows = keys.join(pl.DataFrame({"step": range(1, H + 1)}), how="cross").with_columns(
        cutoff=pl.lit(date(2017, 9, 10)), step=pl.col("step").cast(pl.Int32)
    )
    rows = rows.with_columns(
        ds=pl.col("cutoff") + pl.duration(days="step"),
        y_hat=pl.Series(rng.gamma(1, 5, rows.height)),
    )
    y_hat, step, times = rows["y_hat"].to_numpy(), rows["step"].to_numpy(), table.times(rows)
    bands = conformal.apply(y_hat, step, times, table, QUANTILES)
    banded = rows.with_columns(pl.Series(c, bands[:, i]) for i, c in enumerate(QUANTILE_COLUMNS))
    return banded.select(FORECAST)


@pytest.mark.parametrize("level", LEVELS)
def test_means_of_every_level_add_up(
    forecasts: pl.DataFrame, table: Calibration, level: str
) -> None:
    rows = levels.level_forecast(forecasts, table, SHOCKS, level)
    assert rows.columns == [
        "node",
        *LEVELS[level],
        "cutoff",
        "ds",
        "step",
        "y_hat",
        *QUANTILE_COLUMNS,
    ]
    sums = rows.group_by("ds").agg(pl.col("y_hat").sum()).sort("ds")["y_hat"]
    whole = forecasts.group_by("ds").agg(pl.col("y_hat").sum()).sort("ds")["y_hat"]
    assert np.abs((sums - whole).to_numpy()).max() < 1e-6
    bands = rows.select(QUANTILE_COLUMNS).to_numpy()
    assert (np.diff(bands, axis=1) >= 0).all() and (bands >= 0).all()


def test_a_level_is_the_quantile_of_summed_paths(
    forecasts: pl.DataFrame, table: Calibration
) -> None:
    rows = levels.level_forecast(forecasts, table, SHOCKS, "store")
    mine = forecasts.filter(pl.col("store_id") == "s1").sort("item_id", "step")
    keys = [("s1", item) for item in ("A|x", "A|y", "B|x")]
    y_hat = mine["y_hat"].to_numpy().reshape(3, H)
    total = sum(path for _, path in paths.sample(keys, y_hat, table, SHOCKS))
    exact = np.quantile(total, QUANTILES, axis=1, method="inverted_cdf").T
    found = rows.filter(pl.col("node") == "/s1").select(QUANTILE_COLUMNS).to_numpy()
    assert np.array_equal(found, exact)


def test_quantiles_do_not_add_up_and_are_narrower_than_their_sum(
    forecasts: pl.DataFrame, table: Calibration
) -> None:
    total = levels.level_forecast(forecasts, table, SHOCKS, "total")
    added = forecasts.group_by("ds").agg(pl.col("q0.975").sum()).sort("ds")["q0.975"]
    assert (total["q0.975"] < added).all()


def test_a_node_of_one_series_has_its_own_quantiles(
    forecasts: pl.DataFrame, table: Calibration
) -> None:
    rows = levels.level_forecast(forecasts, table, SHOCKS, "series")
    joined = rows.join(forecasts, on=["store_id", "item_id", "ds"], suffix="_own")
    for column in ("y_hat", *QUANTILE_COLUMNS):
        assert joined[column].equals(joined[f"{column}_own"], check_names=False)


def test_a_node_is_the_same_whether_or_not_others_are_asked_for(
    forecasts: pl.DataFrame, table: Calibration
) -> None:
    everything = levels.level_forecast(forecasts, table, SHOCKS, "store")
    one = forecasts.filter(pl.col("store_id") == "s0")
    alone = levels.level_forecast(one, table, SHOCKS, "store")
    assert alone.equals(everything.filter(pl.col("store_id") == "s0"))


def test_an_unknown_level_is_named(forecasts: pl.DataFrame, table: Calibration) -> None:
    with pytest.raises(ValueError, match="'shop' is no level; the levels are total, store"):
        levels.level_forecast(forecasts, table, SHOCKS, "shop")


def test_the_quantile_of_a_sum_is_that_of_the_summed_path(
    forecasts: pl.DataFrame, table: Calibration
) -> None:
    rows = levels.sum_quantiles(forecasts, table, SHOCKS, (0.5, 0.95), first_step=3)
    mine = forecasts.filter((pl.col("store_id") == "s0") & (pl.col("item_id") == "B|x"))
    y_hat = mine.sort("step")["y_hat"].to_numpy()
    ((_, path),) = paths.sample([("s0", "B|x")], y_hat[None, :], table, SHOCKS, draws=1000)
    sums = np.sort(path[2:].sum(axis=0))
    row = rows.filter((pl.col("store_id") == "s0") & (pl.col("item_id") == "B|x")).row(
        0, named=True
    )
    assert (row["q0.5"], row["q0.95"]) == (sums[499], sums[949])
    assert row["y_hat"] == pytest.approx(y_hat[2:].sum())
    assert (row["first_ds"], row["last_ds"]) == (date(2017, 9, 13), date(2017, 9, 16))
    assert (
        row["q0.95"]
        < mine.filter(pl.col("step") >= 3)["q0.95" if "q0.95" in mine else "q0.975"].sum()
    )


def rare(table: Calibration, shocks: Dependence) -> pl.DataFrame:
    """Forecasts of sparse series at 40 origins, and one joint path of each as what was sold."""
    keys = [(f"s{s}", f"{d}|{i}") for s in range(4) for d in "AB" for i in range(6)]
    y_hat = np.random.default_rng(5).gamma(1, 0.3, (len(keys), H))
    origins = []
    for origin in range(40):
        path = dict(paths.sample(keys, y_hat, table, shocks, draws=1, seed=100 + origin))
        for row, (store, item) in enumerate(keys):
            day = date(2017, 1, 1) + timedelta(days=origin)
            origins += [
                (store, item, day, s + 1, y_hat[row, s], float(path[row][s, 0])) for s in range(H)
            ]
    columns = ["store_id", "item_id", "cutoff", "step", "y_hat", "y"]
    return pl.DataFrame(origins, schema=columns, orient="row")


def test_what_was_sold_ranks_evenly_among_right_paths_and_not_among_narrow_ones(
    table: Calibration,
) -> None:
    shocks = Dependence(0.0, 0.5, 0.0, 1.0, 0.0, 0.1, 0.05, {f"s{k}": 3.0 for k in range(4)})
    sold = rare(table, shocks)
    for level in ("total", "store x department", "series"):
        u = levels.level_pit(sold, table, shocks, level, draws=200).ravel()
        assert ((u > 0.1) & (u < 0.9)).mean() == pytest.approx(0.8, abs=0.06)
    none = Dependence(0, 0, 0, 0, 0, 0, 0, {})
    u = levels.level_pit(sold, table, none, "total", draws=200)
    assert ((u > 0.1) & (u < 0.9)).mean() < 0.7


def test_days_without_an_actual_have_no_rank(forecasts: pl.DataFrame, table: Calibration) -> None:
    open_days = pl.when(pl.col("step") != 2).then(pl.col("y_hat").round())
    u = levels.level_pit(forecasts.with_columns(y=open_days), table, SHOCKS, "store")
    assert u.shape == (2, H)
    assert np.isnan(u[:, 1]).all() and np.isfinite(np.delete(u, 1, axis=1)).all()
