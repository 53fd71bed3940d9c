"""The contracts of the published sales and of the features: each promise is checked."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from math import inf, nan
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from checks import contracts
from checks.audits import audit_sales
from checks.contracts import ContractReport, verify
from data.schema import DEMAND_FEATURES
from data.settings import Settings
from data.warehouse import Connection

Make = Callable[[date, date], pl.DataFrame]
Insert = Callable[[str, pl.DataFrame], None]

DAY = date(2026, 3, 2)
AS_OF = datetime(2026, 3, 3, 11, tzinfo=UTC)


def failing(report: ContractReport) -> dict[str, float | None]:
    return {f.check: f.measured for f in report.failures}


def publish(insert: Insert, frame: pl.DataFrame) -> None:
    insert("sales", frame.drop("exclusion", "copies"))
    insert("ingest_log", pl.DataFrame({"batch_id": ["b"], "status": ["published"]}))


def first(**values: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Overwrites columns of the first row."""
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 0)
        .then(pl.lit(value, frame.schema[name]))
        .otherwise(name)
        .alias(name)
        for name, value in values.items()
    )


def later(days: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns(pl.col("ds", "known_at") - timedelta(days=days))


SALES_FAULTS = [
    (lambda f: f, {}),
    (lambda f: f.with_columns(price=None), {}),
    (later(1), {}),
    (
        later(3),
        {"days since anything was learned": 3, "days since the last day of sales": 4},
    ),
    (first(store_id=None), {"store_id is missing": 1}),
    (first(ds=None), {"ds is missing": 1}),
    (first(y=None), {"y is missing": 1}),
    (first(known_at=None), {"known_at is missing": 1}),
    (first(y=-1.0), {"quantity is negative or not a finite number": 1}),
    (first(y=nan), {"quantity is negative or not a finite number": 1}),
    (first(price=inf), {"price is negative or not a finite number": 1}),
    (first(known_at=AS_OF - timedelta(days=3)), {"known before its day": 1}),
    (first(batch_id="x"), {"batch isn't in the ingest log as published": 1}),
    (
        lambda f: pl.concat([f, f.head(1)]),
        {"one row per store, item, day, time of knowledge and delivery": 1},
    ),
    (lambda f: pl.concat([f, f.head(1).with_columns(known_at=AS_OF)]), {}),
    (lambda f: pl.concat([f, first(y=-1.0, known_at=AS_OF + timedelta(days=1))(f.head(1))]), {}),
]


@pytest.mark.parametrize(("change", "expected"), SALES_FAULTS)
def test_each_promise_of_the_sales_is_checked(
    con: Connection,
    insert: Insert,
    deliveries: Make,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    expected: dict[str, float],
) -> None:
    publish(insert, change(deliveries(DAY - timedelta(days=1), DAY)))
    assert failing(verify("sales", con, as_of=AS_OF)) == expected


@pytest.mark.parametrize(("frequency", "oldest"), [("1d", 1), ("1w", 7)])
def test_the_newest_sales_are_at_most_a_step_and_a_day_old(
    con: Connection, insert: Insert, deliveries: Make, frequency: Any, oldest: int
) -> None:
    settings = Settings(frequency=frequency, _env_file=None)
    publish(insert, later(oldest)(deliveries(DAY - timedelta(days=1), DAY)))
    assert audit_sales(con, settings, AS_OF).ok
    breached = audit_sales(con, settings, AS_OF + timedelta(days=1))
    assert failing(breached) == {"days since the last day of sales": oldest + 2}


def test_sales_of_a_batch_that_was_rejected_fail(
    con: Connection, insert: Insert, deliveries: Make
) -> None:
    publish(insert, deliveries(DAY, DAY))
    con.execute("UPDATE ingest_log SET status = 'rejected'")
    assert set(failing(verify("sales", con, as_of=AS_OF))) == {
        "batch isn't in the ingest log as published"
    }


@pytest.fixture
def features(con: Connection, tmp_path: Path) -> Callable[[pl.DataFrame], None]:
    """Lays the view over a Parquet file: its statistics leave NaN out, which hides it from `>`."""

    def view(frame: pl.DataFrame) -> None:
        frame.write_parquet(tmp_path / "f.parquet")
        con.execute(f"CREATE VIEW features AS SELECT * FROM '{tmp_path}/f.parquet'")

    return view


FEATURES = pl.DataFrame(
    {
        "store_id": ["s1", "s1", "s2"],
        "item_id": ["i1", "i2", "i1"],
        "event_timestamp": datetime(2026, 3, 3, 4, 59, 59, tzinfo=UTC),
        "created": AS_OF,
        "cutoff": "2026-03-02",
        "snapshot_id": "a1",
    }
).with_columns(pl.lit(0.5).alias(name) for name in DEMAND_FEATURES)

FEATURE_FAULTS = [
    (lambda f: f, {}),
    (first(price_28=None), {}),
    (first(zero_share_28=1.0, lag_1=1e6), {}),
    (lambda f: f.head(2), {"rows": 2}),
    (first(item_id="i2"), {"one row per series": 1}),
    (first(created=datetime(2026, 3, 1, tzinfo=UTC)), {"created before the day it describes": 1}),
    (first(snapshot_id=None), {"snapshot_id is missing": 1}),
    (first(lag_3=None), {"lag_3 is missing": 1}),
    (first(mean_84=nan), {"mean_84 is missing": 1}),
    (first(dow_mean_7=inf), {"dow_mean_7 is out of range": 1}),
    (first(std_28=-0.1), {"std_28 is out of range": 1}),
    (first(zero_share_28=1.01), {"zero_share_28 is out of range": 1}),
    (first(price_28=nan), {"price_28 is not a number": 1}),
    (first(price_28=-0.5), {"price_28 is out of range": 1}),
    (lambda f: f.with_columns(y_tomorrow=1.0), {"columns are as agreed": 1}),
]


@pytest.mark.parametrize(("change", "expected"), FEATURE_FAULTS)
def test_each_promise_of_the_features_is_checked(
    con: Connection,
    features: Callable[[pl.DataFrame], None],
    change: Callable[[pl.DataFrame], pl.DataFrame],
    expected: dict[str, float],
) -> None:
    features(change(FEATURES))
    report = verify("features", con, as_of=AS_OF, variables={"MIN_ROWS": "3"})
    assert failing(report) == expected


@pytest.mark.score("data", 1)
@pytest.mark.parametrize("name", DEMAND_FEATURES)
def test_every_feature_is_in_the_contract_with_a_range(name: str) -> None:
    document = yaml.safe_load((contracts.FOLDER / "features.yml").read_text())
    assert f"{name} is out of range" in contracts._declared(document)
