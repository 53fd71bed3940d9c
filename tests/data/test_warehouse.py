import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime

import duckdb
import polars as pl
import pytest

from data import schema, warehouse
from data.settings import Settings
from data.warehouse import WarehouseBusy, connect, known_at_morning

HOLD = """
import sys, time
from data.settings import Settings
from data.warehouse import connect
with connect(Settings(_env_file=None, state_dir=sys.argv[1])):
    print("open", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(settings: Settings, seconds: float) -> subprocess.Popen[str]:
    """Another process that has the warehouse open for some seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(settings.state_dir), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_connect_creates_the_folder_and_the_tables_and_keeps_rows(settings):
    with connect(settings) as con:
        con.execute("INSERT INTO scores (model) VALUES ('a')")
    with connect(settings) as con:
        assert con.execute("SELECT model FROM scores").fetchall() == [("a",)]


def test_the_session_is_in_utc_whatever_the_host_is(settings, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        with connect(settings) as con:
            zone = con.execute("SELECT current_setting('TimeZone')").fetchall()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert zone == [("UTC",)]


def test_forecasts_have_a_column_for_every_quantile(con):
    columns = [c[0] for c in con.execute("SELECT * FROM forecasts").description]
    assert [c for c in columns if c.startswith("q")] == schema.QUANTILE_COLUMNS
    assert set(schema.FORECAST) <= set(columns)


def test_a_warehouse_that_another_process_holds_is_busy(settings):
    holder = hold(settings, 60)
    try:
        started = time.monotonic()
        with (
            pytest.raises(WarehouseBusy, match="held by another process") as caught,
            connect(settings, timeout_seconds=0.5),
        ):
            pass
        assert 0.5 <= time.monotonic() - started < 5
        assert str(settings.warehouse_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with connect(settings, timeout_seconds=5) as con:
        assert con.execute("SELECT count(*) FROM sales").fetchall() == [(0,)]


def test_connect_waits_for_a_process_that_is_about_to_let_go(settings):
    holder = hold(settings, 1)
    with connect(settings, timeout_seconds=30) as con:
        assert con.execute("SELECT count(*) FROM sales").fetchall() == [(0,)]
    assert holder.wait() == 0


def test_a_read_only_handle_in_this_process_makes_it_busy_too(settings):
    with connect(settings):
        pass
    reader = duckdb.connect(settings.warehouse_path, read_only=True)
    try:
        with pytest.raises(WarehouseBusy), connect(settings, timeout_seconds=0):
            pass
    finally:
        reader.close()


def test_a_file_that_is_no_warehouse_is_not_called_busy(settings):
    settings.state_dir.mkdir(parents=True)
    settings.warehouse_path.write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(duckdb.IOException, match="valid DuckDB"), connect(settings):
        pass


def test_query_passes_only_the_parameters_that_the_sql_mentions(con):
    frame = warehouse.query(con, "sales_as_of", as_of=datetime(2017, 1, 1, tzinfo=UTC), spare=1)
    assert frame.is_empty()


def test_empty_reads_have_the_agreed_types(con):
    now = datetime(2018, 1, 1, tzinfo=UTC)
    plan = warehouse.plan_as_of(con, now, date(2017, 1, 1), date(2017, 12, 31))
    assert warehouse.sales_as_of(con, now).schema == pl.Schema(schema.SALES)
    assert plan.schema == pl.Schema(schema.PLAN)


@pytest.mark.parametrize(
    ("ds", "utc"),
    [
        (date(2017, 1, 10), datetime(2017, 1, 11, 11, tzinfo=UTC)),  # winter: UTC-5
        (date(2017, 7, 10), datetime(2017, 7, 11, 10, tzinfo=UTC)),  # summer: UTC-4
        (date(2017, 3, 11), datetime(2017, 3, 12, 10, tzinfo=UTC)),  # the clocks changed at 2
        (date(2017, 11, 4), datetime(2017, 11, 5, 11, tzinfo=UTC)),
    ],
)
def test_the_morning_after_is_six_on_the_stores_clock(ds, utc):
    assert known_at_morning(ds, "America/New_York") == utc


def test_a_time_without_a_zone_is_refused(con):
    with pytest.raises(ValueError, match="no time zone"):
        warehouse.sales_as_of(con, datetime(2017, 1, 1))  # noqa: DTZ001


def test_the_plan_is_read_as_it_was_known(con):
    rows = [
        ("1", "A", date(2017, 2, 1), 1.0, 0.0, datetime(2017, 1, 2, tzinfo=UTC), "b1"),
        ("1", "A", date(2017, 2, 1), 5.0, 2.0, datetime(2017, 1, 9, tzinfo=UTC), "b2"),
        ("1", "A", date(2017, 3, 1), 7.0, 0.0, datetime(2017, 1, 2, tzinfo=UTC), "b1"),
    ]
    con.executemany("INSERT INTO plan VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    february = (date(2017, 2, 1), date(2017, 2, 28))
    early = warehouse.plan_as_of(con, datetime(2017, 1, 8, tzinfo=UTC), *february)
    late = warehouse.plan_as_of(con, datetime(2017, 1, 9, tzinfo=UTC), *february)
    assert early["display"].to_list() == [1.0]
    assert late["display"].to_list() == [5.0]
    assert warehouse.plan_known_until(con) == datetime(2017, 1, 9, tzinfo=UTC)


def test_no_plan_is_known_until_never(con):
    assert warehouse.plan_known_until(con) is None
