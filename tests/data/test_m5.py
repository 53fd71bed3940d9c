"""The three files of M5 as a source: wide to long, days by the calendar, prices by the week."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from data.sources import SourceError, days_available, read_plan, read_sales


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two items in two stores over five days of two price weeks; one day ahead in the calendar."""
    folder = tmp_path / "m5"
    folder.mkdir()
    (folder / "sales_train_evaluation.csv").write_text(
        "id,item_id,dept_id,cat_id,store_id,state_id,d_1,d_2,d_3,d_4,d_5\n"
        "FOODS_1_001_CA_1_evaluation,FOODS_1_001,FOODS_1,FOODS,CA_1,CA,0,0,3,0,1\n"
        "HOBBIES_2_007_TX_1_evaluation,HOBBIES_2_007,HOBBIES_2,HOBBIES,TX_1,TX,2,0,0,0,4\n"
    )
    (folder / "calendar.csv").write_text(
        "date,wm_yr_wk,weekday,wday,month,year,d,event_name_1,event_type_1,snap_CA\n"
        + "".join(
            f"2011-01-{27 + k},{11100 + (k > 3)},Day,{k},1,2011,d_{k},,,0\n" for k in range(1, 5)
        )
        + "2011-02-01,11101,Tuesday,4,2,2011,d_5,SuperBowl,Sporting,1\n"
        "2011-02-02,11101,Wednesday,5,2,2011,d_6,,,1\n"
    )
    (folder / "sell_prices.csv").write_text(
        "store_id,item_id,wm_yr_wk,sell_price\n"
        "CA_1,FOODS_1_001,11100,2.5\nCA_1,FOODS_1_001,11101,2.75\nTX_1,HOBBIES_2_007,11101,9\n"
    )
    return folder


def test_the_wide_table_becomes_one_row_per_day_of_a_sale(con, settings, files):
    sales = read_sales(con, settings, source="m5", path=str(files), since=None, until=None)
    assert sales.select("store_id", "item_id", "ds", "y", "price").sort("item_id", "ds").rows() == [
        ("CA_1", "FOODS_1|FOODS_1_001", date(2011, 1, 30), 3.0, 2.5),
        ("CA_1", "FOODS_1|FOODS_1_001", date(2011, 2, 1), 1.0, 2.75),
        ("TX_1", "HOBBIES_2|HOBBIES_2_007", date(2011, 1, 28), 2.0, None),
        ("TX_1", "HOBBIES_2|HOBBIES_2_007", date(2011, 2, 1), 4.0, 9.0),
    ]


def test_days_end_with_the_last_column_not_with_the_calendar(con, settings, files):
    days = days_available(con, settings, "m5", str(files))
    assert days == (date(2011, 1, 28), date(2011, 2, 1))


def test_there_is_no_promotion_plan(con, settings, files):
    settings = settings.model_copy(update={"source_path": str(files)})
    end = datetime(2011, 3, 1, tzinfo=UTC)
    plan = read_plan(con, settings, source="m5", known_after=None, known_until=end)
    assert plan.is_empty()


def test_a_missing_file_is_named(con, settings, files):
    (files / "sell_prices.csv").unlink()
    with pytest.raises(SourceError, match=r"sell_prices\.csv"):
        read_sales(con, settings, source="m5", path=str(files), since=None, until=None)
