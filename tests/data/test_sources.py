from datetime import UTC, date, datetime

import polars as pl
import pytest

from data import sources
from data.schema import PLAN
from data.sources import SourceError, days_available, read_plan, read_sales

HEADER = "store_id,item_id,ds,y,price\n"
LINES = "1,A,2017-01-01,3,1.5\n1,A,2017-01-02,4,\n2,B,2017-01-03,0,2\n"


def write(folder, text, name="sales.csv"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def read(con, settings, path, source="csv", since=None, until=None):
    return read_sales(con, settings, source=source, path=path, since=since, until=until)


def test_a_csv_file_is_read_into_typed_columns(con, settings, tmp_path):
    sales = read(con, settings, write(tmp_path, HEADER + LINES))
    assert sales.sort("ds").rows() == [
        ("1", "A", date(2017, 1, 1), 3.0, 1.5, None, None),
        ("1", "A", date(2017, 1, 2), 4.0, None, None, None),
        ("2", "B", date(2017, 1, 3), 0.0, 2.0, None, None),
    ]
    assert sales.columns == [*sources.REQUIRED, *sources.OPTIONAL]


@pytest.mark.parametrize(
    "text",
    [
        (HEADER + LINES).replace("\n", "\r\n"),
        "\ufeff" + HEADER + LINES,
        (HEADER + LINES).rstrip("\n"),
        HEADER + LINES.replace("1,A", '"1","A"'),
        (HEADER + LINES).replace(",A,", ", A ,"),
    ],
    ids=["crlf", "byte order mark", "no last newline", "quoted", "blanks"],
)
def test_harmless_ways_of_writing_csv_are_read_alike(con, settings, tmp_path, text):
    plain = read(con, settings, write(tmp_path, HEADER + LINES, "plain.csv"))
    assert read(con, settings, write(tmp_path, text)).sort("ds").equals(plain.sort("ds"))


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("1,A,2017-01-01,three,1", "y"),
        ("1,A,2017-01-01,inf,1", "y"),
        ("1,A,2017-01-01,nan,1", "y"),
        ("1,A,2017-02-30,3,1", "ds"),
        ("1,A,soon,3,1", "ds"),
        (" ,A,2017-01-01,3,1", "store_id"),
        ("1,,2017-01-01,3,1", "item_id"),
        ("1,A,2017-01-01,3,cheap", "price"),
    ],
)
def test_a_cell_that_cant_be_read_becomes_null_and_keeps_its_row(
    con, settings, tmp_path, line, column
):
    sales = read(con, settings, write(tmp_path, HEADER + LINES + line + "\n"))
    assert sales.height == 4
    required = ["store_id", "item_id", "ds", "y"]
    if column == "price":
        assert sales["price"].null_count() == 2
    else:
        assert [c for c in required if sales[c].null_count()] == [column]


def test_days_are_cut_and_rows_without_a_day_are_kept(con, settings, tmp_path):
    path = write(tmp_path, HEADER + LINES + "1,A,soon,3,1\n")
    sales = read(con, settings, path, since=date(2017, 1, 2), until=date(2017, 1, 2))
    assert sorted(sales["ds"], key=str) == [date(2017, 1, 2), None]
    assert days_available(con, settings, "csv", path) == (date(2017, 1, 1), date(2017, 1, 3))


def test_known_at_is_read_with_its_offset_and_else_as_utc(con, settings, tmp_path):
    text = (
        "store_id,item_id,ds,y,known_at\n"
        "1,A,2017-01-01,3,2017-01-02 06:00:00-05:00\n"
        "1,B,2017-01-01,3,2017-01-02 06:00:00\n"
    )
    sales = read(con, settings, write(tmp_path, text)).sort("item_id")
    assert sales["known_at"].to_list() == [
        datetime(2017, 1, 2, 11, tzinfo=UTC),
        datetime(2017, 1, 2, 6, tzinfo=UTC),
    ]


def test_a_parquet_file_is_read_whatever_its_number_types(con, settings, tmp_path):
    file = tmp_path / "sales.parquet"
    pl.DataFrame(
        {"store_id": [7], "item_id": ["A"], "ds": [datetime(2017, 1, 1, 23)], "y": [3]}  # noqa: DTZ001
    ).write_parquet(file)
    sales = read(con, settings, str(file), source="parquet")
    assert sales.rows() == [("7", "A", date(2017, 1, 1), 3.0, None, None, None)]


def test_an_instant_in_ds_falls_on_the_stores_day(con, settings, tmp_path):
    file = tmp_path / "sales.parquet"
    pl.DataFrame(
        {
            "store_id": ["7"],
            "item_id": ["A"],
            "ds": [datetime(2017, 1, 2, 3, tzinfo=UTC)],  # 22:00 of the day before in New York
            "y": [3.0],
        }
    ).write_parquet(file)
    assert read(con, settings, str(file), source="parquet")["ds"].to_list() == [date(2017, 1, 1)]


def test_a_glob_reads_every_file(con, settings, tmp_path):
    write(tmp_path, HEADER + LINES, "a.csv")
    write(tmp_path, HEADER + LINES.replace("2017", "2018"), "b.csv")
    assert read(con, settings, str(tmp_path / "*.csv")).height == 6


def test_the_path_comes_from_the_settings_when_none_is_given(con, settings, tmp_path):
    path = write(tmp_path, HEADER + LINES)
    own = settings.model_copy(update={"source_path": path})
    assert read(con, own, "").height == 3


BAD_CSV = {
    "zero bytes": ("", "is empty"),
    "renamed column": ((HEADER + LINES).replace("item_id", "sku"), "no column item_id: .*sku"),
    "two columns gone": ("store_id,ds\n1,2017-01-01\n", "no column item_id, y: .*store_id, ds"),
    "cut off in a line": ((HEADER + LINES)[:-8], "cut off"),
    "cut off far down": (HEADER + LINES * 20_000 + "1,A,20", "Line: 60002: Expected .* 5 Found: 3"),
    "a line too long": (HEADER + LINES + "1,A,2017-01-01,1,2,3,4\n", "cut off"),
    "semicolons": ((HEADER + LINES).replace(",", ";"), "no column store_id"),
    "no text": (bytes(range(256)) * 20, "can't read"),
    "not utf-8": (HEADER.encode() + b"1,\xff\xfe,2017-01-05,1,1\n", "utf-8"),
}


@pytest.mark.parametrize(("text", "says"), BAD_CSV.values(), ids=BAD_CSV)
def test_a_bad_csv_file_is_refused_in_one_sentence(con, settings, tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(SourceError, match=says) as caught:
        read(con, settings, path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kept", [0, 4, 30, -1, -20])
def test_a_truncated_parquet_file_is_refused_in_one_sentence(con, settings, tmp_path, kept):
    whole = tmp_path / "whole.parquet"
    pl.DataFrame(
        {"store_id": ["1"], "item_id": ["A"], "ds": [date(2017, 1, 1)], "y": [1.0]}
    ).write_parquet(whole)
    path = write(tmp_path, whole.read_bytes()[:kept], "cut.parquet")
    with pytest.raises(SourceError, match=r"cut\.parquet") as caught:
        read(con, settings, path, source="parquet")
    assert "\n" not in str(caught.value)


def test_a_parquet_file_with_a_flipped_bit_is_read_or_refused_and_nothing_else(
    con, settings, tmp_path
):
    rows = [(f"{k % 7}", f"ITEM {k % 5}", date(2017, 1, 1), float(k)) for k in range(60)]
    file = tmp_path / "sales.parquet"
    pl.DataFrame(rows, schema=["store_id", "item_id", "ds", "y"], orient="row").write_parquet(file)
    whole, refused = file.read_bytes(), 0
    for bit in range(0, len(whole) * 8, len(whole) // 5):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            assert read(con, settings, str(file), source="parquet").height == 60
        except SourceError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 5
    assert con.execute("SELECT count(*) FROM sales").fetchall() == [(0,)]


@pytest.mark.parametrize("source", ["csv", "parquet", "completejourney"])
def test_a_missing_file_is_named(con, settings, tmp_path, source):
    path = str(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"there is no file .*nowhere"):
        read(con, settings, path, source=source)


def test_a_glob_that_finds_nothing_is_named(con, settings, tmp_path):
    with pytest.raises(SourceError, match=r"No files found.*none-.*\.csv"):
        read(con, settings, str(tmp_path / "none-*.csv"))


def test_a_folder_without_the_files_of_the_source_is_refused(con, settings, tmp_path):
    with pytest.raises(SourceError, match=r"No files found .*\.parquet"):
        read(con, settings, str(tmp_path), source="completejourney")


@pytest.mark.parametrize("source", ["csv", "parquet"])
def test_a_source_without_a_path_asks_for_one(con, settings, source):
    with pytest.raises(SourceError, match="SHELFCAST_SOURCE_PATH"):
        read(con, settings, "", source=source)


def test_a_missing_file_is_put_down_to_whoever_named_it(con, settings, tmp_path):
    gone = str(tmp_path / "gone.csv")
    with pytest.raises(SourceError, match=r"gone\.csv; check the path that was given\."):
        read(con, settings, gone)
    with pytest.raises(SourceError, match=r"gone\.csv; check SHELFCAST_SOURCE_PATH\."):
        read(con, settings.model_copy(update={"source_path": gone}), "")


@pytest.mark.parametrize("source", ["nowhere", "../sources/csv", "", "csv; DROP TABLE sales"])
def test_an_unknown_source_is_refused_with_those_there_are(con, settings, tmp_path, source):
    with pytest.raises(SourceError, match="there are: completejourney, csv, m5, parquet"):
        read(con, settings, write(tmp_path, HEADER + LINES), source=source)


def test_own_sql_is_a_source_and_a_parameter_that_it_isnt_given_is_named(
    con, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(sources, "SOURCES_DIR", tmp_path)
    write(tmp_path, "SELECT 1 store_id, 'A' item_id, DATE '2017-01-01' ds, 2 y;", "own.sql")
    assert read(con, settings, "", source="own").rows()[0][:4] == ("1", "A", date(2017, 1, 1), 2.0)
    assert days_available(con, settings, "own") == (date(2017, 1, 1), date(2017, 1, 1))
    write(tmp_path, "SELECT 1 WHERE $region = 'north'", "asks.sql")
    with pytest.raises(SourceError, match=r"\$region, which it is not given.*\$path"):
        read(con, settings, "", source="asks")


def test_a_source_of_no_days_has_none_available(con, settings, tmp_path):
    with pytest.raises(SourceError, match="no row with a readable ds"):
        days_available(con, settings, "csv", write(tmp_path, HEADER))


def test_a_source_without_a_plan_has_an_empty_one(con, settings):
    plan = read_plan(
        con, settings, source="csv", known_after=None, known_until=datetime(2017, 1, 1, tzinfo=UTC)
    )
    assert plan.is_empty()
    assert plan.schema == pl.Schema(PLAN)


def own_plan(con, settings):
    until = datetime(2017, 1, 2, tzinfo=UTC)
    return read_plan(con, settings, source="own", known_after=None, known_until=until)


def test_plan_rows_that_no_day_would_use_are_refused_with_their_number(
    con, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(sources, "SOURCES_DIR", tmp_path)
    write(tmp_path, "SELECT 1 store_id, 2 y", "own.sql")
    rows = """SELECT store_id, 'A' item_id, '2017-01-01' ds, 1 display, 0 mailer, known_at
        FROM (VALUES (1, '2016-12-01'), (1, 'soon'), (NULL, '2016-12-01')) AS t(store_id, known_at)
    """
    write(tmp_path, rows, "own.plan.sql")
    with pytest.raises(SourceError, match="yields 2 rows without a readable store_id, item_id, ds"):
        own_plan(con, settings)


def test_a_plan_without_a_column_is_refused_by_its_name(con, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "SOURCES_DIR", tmp_path)
    write(tmp_path, "SELECT 1 store_id, 2 y", "own.sql")
    write(tmp_path, "SELECT 1 store_id, 'A' item_id, DATE '2017-01-01' ds", "own.plan.sql")
    with pytest.raises(SourceError, match="display, mailer, known_at"):
        own_plan(con, settings)


def test_a_day_that_ends_no_week_is_named_with_the_weekday_that_does(con, settings, tmp_path):
    path = tmp_path / "weeks.csv"
    path.write_text("store_id,item_id,ds,y\n1,a,2017-09-03,5\n1,a,2017-09-04,5\n")
    weekly = settings.model_copy(update={"frequency": "1w", "first_cutoff": date(2017, 9, 10)})
    read = {"source": "csv", "path": str(path), "since": None}
    assert read_sales(con, weekly, **read, until=date(2017, 9, 3)).height == 1
    says = r"1 rows? whose ds .* Monday, 2017-09-04: .* weeks end on a Sunday"
    with pytest.raises(SourceError, match=says):
        read_sales(con, weekly, **read, until=None)
