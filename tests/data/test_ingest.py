"""A delivery is published whole and once, bad rows aside, or not at all."""

import duckdb
import polars as pl
import pytest

from data import ingest, schema, warehouse
from data.ingest import EmptyDelivery, content_id, land, publish, reject
from data.warehouse import sales_as_of
from tests.data.deliveries import (
    DEFAULTS,
    FIRST,
    RULES,
    day,
    delivery,
    load,
    memory,
    noon,
    plan_rows,
    table,
)


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
