from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from data import ingest, schema, warehouse
from data.ingest import CONTENT, EmptyDelivery, content_id, land, publish, reject
from data.settings import Settings
from data.warehouse import SQL_DIR, Connection, known_at_morning, sales_as_of

RULES = [
    ("day is missing", "ds IS NULL"),
    ("quantity is missing", "y IS NULL"),
    ("quantity is negative; that's a return", "y < 0"),
    ("key is repeated in the batch", "copies > 1"),
]
DEFAULTS = Settings(_env_file=None)


def delivery(*rows: tuple[object, ...]) -> pl.DataFrame:
    """Rows of (store_id, item_id, ds, y, price, exclusion, known_at), shorter ones padded."""
    types = dict(schema.SALES) | {"exclusion": pl.String}
    padded = [(*row, *[None] * (len(CONTENT) - len(row))) for row in rows]
    return pl.DataFrame(padded, schema={name: types[name] for name in CONTENT}, orient="row")


def plan_rows(*rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=pl.Schema(schema.PLAN), orient="row")


def day(n: int) -> date:
    return date(2017, 1, 1) + timedelta(days=n - 1)


def noon(n: int) -> datetime:
    """12:00 UTC of the n-th day of 2017."""
    return datetime(2017, 1, 1, 12, tzinfo=UTC) + timedelta(days=n - 1)


def load(con, frame, as_of, rules=RULES, plan=None):
    batch = land(con, DEFAULTS, frame, source="csv", as_of=as_of)
    return publish(con, batch, rules, plan)


def table(con: Connection, name: str) -> list[tuple[object, ...]]:
    return con.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()


FIRST = delivery(
    ("1", "A", day(1), 3.0, 1.5),
    ("1", "A", day(2), 4.0, 1.5),
    ("1", "B", day(1), 0.0, None),
    ("2", "A", day(2), 2.5, 1.25),
)


@contextmanager
def memory() -> Iterator[Connection]:
    with duckdb.connect() as con:
        con.execute("SET TimeZone='UTC'")
        con.execute((SQL_DIR / "tables.sql").read_text())
        yield con


def test_good_rows_are_published_once_with_their_batch(con):
    batch = land(con, DEFAULTS, FIRST, source="csv", as_of=noon(3))
    assert (batch.rows, batch.since, batch.until) == (4, day(1), day(2))
    assert not ingest.is_published(con, batch.batch_id)
    publication = publish(con, batch, RULES)
    assert ingest.is_published(con, batch.batch_id)
    assert (publication.rows_published, publication.reasons) == (4, {})
    read = sales_as_of(con, noon(3)).select("store_id", "item_id", "ds", "y", "price")
    assert read.rows() == FIRST.select(read.columns).sort(schema.KEYS).rows()
    assert con.execute("SELECT DISTINCT batch_id FROM sales").fetchall() == [(batch.batch_id,)]


def test_publishing_twice_changes_nothing(con):
    load(con, FIRST, noon(3))
    before = {name: table(con, name) for name in ("landing", "sales", "quarantine", "ingest_log")}
    again = load(con, FIRST, noon(9))
    assert (again.rows_published, again.rows_unchanged) == (0, 4)
    assert {name: table(con, name) for name in before} == before


def test_the_same_delivery_in_another_order_or_under_another_name_is_the_same_batch(con):
    batch = land(con, DEFAULTS, FIRST, source="csv", as_of=noon(3))
    other = land(con, DEFAULTS, FIRST.reverse(), source="parquet", as_of=noon(4))
    assert other.batch_id == batch.batch_id
    assert con.execute("SELECT count(*) FROM landing").fetchall() == [(4,)]


@pytest.mark.parametrize(
    "change",
    [
        pl.lit(9.0).alias("y"),
        pl.lit(9.0).alias("price"),
        pl.lit("C").alias("item_id"),
        pl.lit("rule").alias("exclusion"),
        pl.lit(None, dtype=pl.Date).alias("ds"),
        pl.lit(noon(2)).alias("known_at"),
    ],
)
def test_any_other_content_is_another_batch(change):
    first = pl.int_range(pl.len()) == 0
    name = change.meta.output_name()
    changed = FIRST.with_columns(pl.when(first).then(change).otherwise(pl.col(name)).alias(name))
    assert content_id(changed) != content_id(FIRST)


def test_text_that_looks_like_nothing_or_like_another_cell_is_another_batch():
    ids = {
        content_id(delivery(row))
        for row in [
            ("1", "A", day(1), 1.0),
            ("1", "\\N", day(1), 1.0),
            ("1", None, day(1), 1.0),
            ("1", "", day(1), 1.0),
            ('1","A', None, day(1), 1.0),
            ("1,A", None, day(1), 1.0),
        ]
    }
    assert len(ids) == 6


def test_bad_rows_are_quarantined_with_every_reason(con):
    bad = delivery(
        ("1", "A", None, None),
        ("1", "B", day(1), -1.0),
        ("1", "C", day(1), 1.0),
        ("1", "C", day(1), 2.0),
        ("1", "D", day(1), 1.0),
    )
    publication = load(con, bad, noon(2))
    assert (publication.rows_published, publication.rows_quarantined) == (1, 4)
    assert publication.reasons == {
        "day is missing": 1,
        "quantity is missing": 1,
        "quantity is negative; that's a return": 1,
        "key is repeated in the batch": 2,
    }
    reasons = con.execute("SELECT item_id, reason FROM quarantine ORDER BY ALL").fetchall()
    assert reasons == [
        ("A", "day is missing; quantity is missing"),
        ("B", "quantity is negative; that's a return"),
        ("C", "key is repeated in the batch"),
        ("C", "key is repeated in the batch"),
    ]


def test_an_excluded_row_stays_visible_and_isnt_judged(con):
    rows = delivery(
        ("1", "A", day(1), 2.0),
        ("1", "FUEL", day(1), -9000.0, None, "quantity is not units: FUEL"),
    )
    publication = load(con, rows, noon(2))
    assert (publication.rows_published, publication.rows_excluded) == (1, 1)
    assert publication.rows_quarantined == 0
    assert publication.reasons == {"quantity is not units: FUEL": 1}
    landed = con.execute("SELECT item_id FROM landing WHERE exclusion IS NOT NULL").fetchall()
    assert landed == [("FUEL",)]
    assert con.execute("SELECT rows_excluded FROM ingest_log").fetchall() == [(1,)]


def test_an_excluded_row_isnt_a_repetition_of_a_good_one(con):
    rows = delivery(("1", "A", day(1), 2.0), ("1", "A", day(1), 9.0, None, "not merchandise"))
    publication = load(con, rows, noon(2))
    assert (publication.rows_published, publication.rows_excluded) == (1, 1)


def test_history_of_a_first_load_was_known_the_next_morning(con):
    load(con, FIRST, noon(100))
    for row in sales_as_of(con, noon(100)).iter_rows(named=True):
        assert row["known_at"] == known_at_morning(row["ds"], DEFAULTS.timezone)


def test_nothing_of_a_first_load_is_known_after_its_delivery(con):
    early = known_at_morning(day(2), DEFAULTS.timezone) - timedelta(hours=3)
    load(con, FIRST, early)
    assert sales_as_of(con, early).height == FIRST.height


def test_a_rejected_first_batch_leaves_the_next_one_the_first(con):
    reject(con, land(con, DEFAULTS, FIRST.head(1), source="csv", as_of=noon(50)))
    load(con, FIRST, noon(100))
    assert sales_as_of(con, noon(10)).height == FIRST.height


def test_a_late_row_was_not_known_before_its_delivery(con):
    load(con, FIRST, noon(3))
    load(con, delivery(("3", "A", day(1), 7.0)), noon(20))
    assert sales_as_of(con, noon(19)).height == 4
    late = sales_as_of(con, noon(20)).filter(store_id="3")
    assert late["known_at"].to_list() == [noon(20)]


def test_a_revision_changes_later_reads_and_no_earlier_one(con):
    load(con, FIRST, noon(3))
    before = sales_as_of(con, noon(19))
    publication = load(con, delivery(("1", "A", day(1), 30.0, 1.5)), noon(20))
    assert publication.rows_published == 1
    assert sales_as_of(con, noon(19)).equals(before)
    after = sales_as_of(con, noon(20))
    assert after.height == before.height
    assert after.filter(store_id="1", item_id="A", ds=day(1))["y"].to_list() == [30.0]


def test_a_revision_that_says_the_same_is_counted_and_not_published_again(con):
    load(con, FIRST, noon(3))
    same_and_new = pl.concat([FIRST, delivery(("9", "Z", day(3), 1.0))])
    publication = load(con, same_and_new, noon(20))
    assert (publication.rows_unchanged, publication.rows_published) == (4, 1)
    assert con.execute("SELECT count(*) FROM sales").fetchall() == [(5,)]


def test_what_is_unchanged_is_judged_by_the_newest_version(con):
    key = ("1", "A", day(1))
    load(con, FIRST, noon(3))
    load(con, delivery((*key, 30.0)), noon(20))
    spare = ("9", "Z", day(1), 1.0)  # makes each delivery another batch
    assert load(con, delivery((*key, 30.0), spare), noon(21)).rows_unchanged == 1
    back = load(con, delivery((*key, 3.0, 1.5), spare), noon(22))
    assert (back.rows_published, back.rows_unchanged) == (1, 1)
    read = sales_as_of(con, noon(22)).filter(store_id="1", item_id="A", ds=day(1))
    assert read["y"].to_list() == [3.0]


def test_a_price_alone_is_a_revision_and_a_missing_price_stays_missing(con):
    load(con, FIRST, noon(3))
    publication = load(con, FIRST.with_columns(price=pl.col("price") * 2), noon(20))
    assert (publication.rows_published, publication.rows_unchanged) == (3, 1)


def test_a_delivery_split_in_two_overlapping_halves_gives_the_same_sales(con):
    for half in (FIRST.head(3), FIRST.tail(3)):
        load(con, half.with_columns(known_at=pl.lit(noon(3))), noon(3))
    columns = ["store_id", "item_id", "ds", "y", "price"]
    assert (
        sales_as_of(con, noon(3)).select(columns).rows()
        == FIRST.select(columns).sort(schema.KEYS).rows()
    )
    assert con.execute("SELECT count(*) FROM sales").fetchall() == [(4,)]


def test_of_two_revisions_known_at_one_instant_the_later_published_one_counts(con):
    load(con, FIRST, noon(3))
    for y in (8.0, 5.0, 6.0):
        load(con, delivery(("1", "A", day(1), y)), noon(20))
    read = sales_as_of(con, noon(20)).filter(store_id="1", item_id="A", ds=day(1))
    assert read["y"].to_list() == [6.0]


def test_a_rejected_batch_publishes_nothing_and_may_come_again(con):
    batch = land(con, DEFAULTS, FIRST, source="csv", as_of=noon(3))
    reject(con, batch)
    assert con.execute("SELECT count(*) FROM sales").fetchall() == [(0,)]
    assert con.execute("SELECT status, rows_landed FROM ingest_log").fetchall() == [("rejected", 4)]
    assert not ingest.is_published(con, batch.batch_id)
    assert load(con, FIRST, noon(4)).rows_published == 4


def test_a_published_batch_cannot_be_rejected_afterwards(con):
    batch = land(con, DEFAULTS, FIRST, source="csv", as_of=noon(3))
    publish(con, batch, RULES)
    reject(con, batch)
    assert con.execute("SELECT status FROM ingest_log").fetchall() == [("published",)]


@pytest.mark.parametrize("frame", [FIRST.clear(), delivery(("1", "A", None, 3.0))])
def test_a_delivery_without_a_day_is_refused_in_one_sentence(con, frame):
    with pytest.raises(EmptyDelivery, match="nothing was landed") as caught:
        land(con, DEFAULTS, frame, source="csv", as_of=noon(3))
    assert "\n" not in str(caught.value)
    assert con.execute("SELECT count(*) FROM landing").fetchall() == [(0,)]


def test_publishing_a_batch_that_was_never_landed_is_refused(con):
    with memory() as elsewhere:
        batch = land(elsewhere, DEFAULTS, FIRST, source="csv", as_of=noon(3))
    with pytest.raises(LookupError, match="land it again"):
        publish(con, batch, RULES)
    assert con.execute("SELECT count(*) FROM ingest_log").fetchall() == [(0,)]


def test_a_rule_that_is_no_sql_publishes_nothing(con):
    batch = land(con, DEFAULTS, FIRST, source="csv", as_of=noon(3))
    with pytest.raises(duckdb.Error):
        publish(con, batch, [("typo", "yy < 0")])
    assert table(con, "sales") == []
    assert publish(con, batch, RULES).rows_published == 4


def test_an_error_after_the_rows_were_written_publishes_nothing(con, monkeypatch):
    def fail(*_):
        raise RuntimeError("the log is full")

    batch = land(con, DEFAULTS, FIRST, source="csv", as_of=noon(3))
    monkeypatch.setattr(ingest, "_log", fail)
    with pytest.raises(RuntimeError, match="the log is full"):
        publish(con, batch, RULES)
    assert table(con, "sales") == []


def test_the_plan_is_published_with_the_batch_and_only_what_is_new(con):
    plan = plan_rows(("1", "A", day(40), 2.0, 1.0, noon(1)), ("1", "A", day(41), 2.0, 1.0, noon(1)))
    load(con, FIRST, noon(3), plan=plan)
    revised = plan.with_columns(known_at=pl.lit(noon(8)), display=pl.lit(9.0)).head(1)
    load(con, delivery(("1", "A", day(3), 1.0)), noon(9), plan=pl.concat([plan, revised]))
    assert con.execute("SELECT count(*) FROM plan").fetchall() == [(3,)]
    # corrections that are known at the same instant
    for n, change in enumerate([{"mailer": 4.0}, {"display": 3.0}], start=4):
        corrected = plan.with_columns(**{c: pl.lit(v) for c, v in change.items()}).tail(1)
        load(con, delivery(("1", "A", day(n), 1.0)), noon(9), plan=corrected)
        (column, value), *_ = change.items()
        known = warehouse.plan_as_of(con, noon(7), day(40), day(41))
        assert known[column].to_list() == [plan[column][0], value]
    assert warehouse.plan_as_of(con, noon(8), day(40), day(41))["display"].to_list() == [9.0, 3.0]


def test_a_cursor_of_the_same_connection_sees_a_landed_batch(con):
    batch = land(con, DEFAULTS, FIRST, source="csv", as_of=noon(3))
    seen = con.cursor().execute("SELECT batch_id, count(*) FROM landing GROUP BY ALL").fetchall()
    assert seen == [(batch.batch_id, 4)]


cells = st.tuples(
    st.sampled_from(["1", "2"]),
    st.sampled_from(["A", "B"]),
    st.sampled_from([day(1), day(2), day(3), None]),
    st.sampled_from([0.0, 1.0, 2.0, -1.0, None]),
    st.sampled_from([None, 1.5]),
    st.sampled_from([None, None, None, "not merchandise"]),
)
batches = st.lists(st.lists(cells, min_size=1, max_size=8), min_size=1, max_size=4)


@given(batches)
@hypothesis_settings(max_examples=25, deadline=None)
def test_every_landed_row_goes_to_exactly_one_place(deliveries):
    with memory() as con:
        for n, rows in enumerate(deliveries, start=10):
            if all(row[2] is None for row in rows):
                continue
            seen = con.execute("SELECT count(*) FROM sales").fetchall()[0][0]
            p = load(con, delivery(*rows), noon(n))
            places = [p.rows_published, p.rows_excluded, p.rows_quarantined, p.rows_unchanged]
            assert sum(places) == len(rows)
            assert min(places) >= 0
            assert con.execute("SELECT count(*) FROM sales").fetchall() == [
                (seen + p.rows_published,)
            ]
        assert con.execute(
            "SELECT sum(rows_quarantined) IS NOT DISTINCT FROM (SELECT count(*) FROM quarantine)"
            " OR count(*) = 0 FROM ingest_log"
        ).fetchall() == [(True,)]


@given(batches)
@hypothesis_settings(max_examples=25, deadline=None)
def test_as_known_reads_equal_a_ledger_kept_by_hand(deliveries):
    ledger: dict[tuple[object, ...], list[tuple[datetime, float, float | None]]] = {}
    published: set[str] = set()
    with memory() as con:
        for n, rows in enumerate(deliveries, start=10):
            if all(row[2] is None for row in rows) or content_id(delivery(*rows)) in published:
                continue
            load(con, delivery(*rows), noon(n))
            first = not published
            published.add(content_id(delivery(*rows)))
            for *key, y, price, exclusion in rows:
                key = tuple(key)
                copies = sum(tuple(r[:3]) == key and r[5] == exclusion for r in rows)
                if exclusion or key[2] is None or y is None or y < 0 or copies > 1:
                    continue
                known_at = known_at_morning(key[2], DEFAULTS.timezone) if first else noon(n)
                ledger.setdefault(key, []).append((known_at, y, price))
        for n in range(1, 15):
            expected = {
                key: [(y, price) for known_at, y, price in versions if known_at <= noon(n)][-1]
                for key, versions in ledger.items()
                if versions[0][0] <= noon(n)
            }
            read = {row[:3]: row[3:5] for row in sales_as_of(con, noon(n)).iter_rows()}
            assert read == expected
