"""What was known when: first loads, late rows and revisions."""

from datetime import date, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from data import schema
from data.ingest import content_id, land, reject
from data.warehouse import known_at_morning, run, sales_as_of
from tests.data.deliveries import DEFAULTS, FIRST, day, delivery, load, memory, noon


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


def test_a_day_after_all_others_counts_as_known_the_next_morning_however_late_it_came(con):
    load(con, FIRST, noon(3))
    for ds, came in ((3, noon(4)), (4, noon(20)), (21, noon(21))):
        load(con, delivery(("1", "A", day(ds), 1.0)), came)
        counted = min(known_at_morning(day(ds), DEFAULTS.timezone), came)
        assert sales_as_of(con, came).filter(ds=day(ds))["known_at"].to_list() == [counted]
    came = run(con, "SELECT as_of FROM ingest_log ORDER BY as_of", {})["as_of"].to_list()
    assert came == [noon(3), noon(4), noon(20), noon(21)]


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
            last = max((key[2] for key in ledger), default=date.min)
            published.add(content_id(delivery(*rows)))
            for *key, y, price, exclusion in rows:
                key = tuple(key)
                copies = sum(tuple(r[:3]) == key and r[5] == exclusion for r in rows)
                if exclusion or key[2] is None or y is None or y < 0 or copies > 1:
                    continue
                morning = known_at_morning(key[2], DEFAULTS.timezone)
                known_at = morning if key[2] > last else noon(n)
                ledger.setdefault(key, []).append((known_at, y, price))
        for n in range(1, 15):
            expected = {
                key: [(y, price) for known_at, y, price in versions if known_at <= noon(n)][-1]
                for key, versions in ledger.items()
                if versions[0][0] <= noon(n)
            }
            read = {row[:3]: row[3:5] for row in sales_as_of(con, noon(n)).iter_rows()}
            assert read == expected
