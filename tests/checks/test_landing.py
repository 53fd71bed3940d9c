"""The contract of a delivered batch: each rule trips on its own fault and on nothing else."""

from datetime import date, datetime, timedelta
from math import inf, nan

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checks.contracts import ContractBreach, ContractReport, row_rules, verify
from data.warehouse import Connection
from tests.checks.conftest import (
    AS_OF,
    LANDING,
    LAST_DAY,
    NEXT_DAY,
    Change,
    deliveries,
    insert,
    setting,
)

ANY = "rows with any of these faults"
ROWS = "rows of a day against its weekday"
STORES = "stores of a day against its weekday"
UNITS = "units of a day against its weekday"
ZEROS = "rise in the share of zero rows against its weekday"
UNFIT = "rows fit to publish"

ROW_FAULTS = [
    ("store is missing", {"store_id": None}),
    ("store is missing", {"store_id": " "}),
    ("item is missing", {"item_id": None}),
    ("day is missing", {"ds": None}),
    ("day lies after the delivery", {"ds": AS_OF.date() + timedelta(days=1), "known_at": AS_OF}),
    ("quantity is missing or not a number", {"y": None}),
    ("quantity is missing or not a number", {"y": nan}),
    ("quantity is negative", {"y": -1.0}),
    ("quantity is beyond belief", {"y": inf}),
    ("price is negative", {"price": -0.01}),
    ("price is not a finite number", {"price": nan}),
    ("key is repeated in the batch", {"copies": 2}),
    ("time of knowledge isn't between the day and the delivery", {"known_at": None}),
    (
        "time of knowledge isn't between the day and the delivery",
        {"known_at": AS_OF - timedelta(days=3)},
    ),
    (
        "time of knowledge isn't between the day and the delivery",
        {"known_at": AS_OF + timedelta(seconds=1)},
    ),
]


def audit(
    con: Connection, batch: pl.DataFrame, as_of: datetime = AS_OF, closed: str = ""
) -> ContractReport:
    insert(con, "landing", batch)
    return verify("landing", con, as_of=as_of, variables={"BATCH": "b", "CLOSED": closed})


def failing(report: ContractReport) -> set[str]:
    return {f.check for f in report.failures}


def reasons(con: Connection) -> dict[str, int]:
    """Rows that each predicate selects, where it selects any."""
    counts = {
        reason: con.execute(f"SELECT count(*) FROM landing WHERE {sql}").fetchall()[0][0]
        for reason, sql in row_rules(as_of=AS_OF)
    }
    return {reason: n for reason, n in counts.items() if n}


def test_a_clean_day_passes_every_check(con: Connection, day: pl.DataFrame) -> None:
    report = audit(con, day)
    assert report.ok, report.failures
    assert reasons(con) == {}


@pytest.mark.parametrize(("reason", "fault"), ROW_FAULTS)
def test_one_bad_row_is_left_to_quarantine_and_more_than_a_few_refuse_the_batch(
    con: Connection, day: pl.DataFrame, reason: str, fault: dict[str, object]
) -> None:
    one = audit(con, setting(1, **fault)(day))
    assert one.ok, one.failures
    assert reasons(con) == {reason: 1}

    con.execute("DELETE FROM landing")
    many = audit(con, setting(3, **fault)(day))
    assert failing(many) == {reason, ANY}
    assert reasons(con) == {reason: 3}


def test_faults_that_are_few_by_rule_and_many_in_sum_refuse_the_batch(
    con: Connection, day: pl.DataFrame
) -> None:
    batch = setting(3, price=-1.0)(setting(2, price=nan)(setting(1, store_id=None)(day)))
    one_each = batch.with_columns(
        price=pl.when(pl.int_range(pl.len()) == 1).then(nan).otherwise("price")
    )
    report = audit(con, setting(1, price=1.5)(one_each))
    assert failing(report) == {ANY}


def test_excluded_rows_are_not_judged(con: Connection, day: pl.DataFrame) -> None:
    fuel = setting(40, y=-1e9, price=nan, copies=3, exclusion="quantity is not units")(day)
    report = audit(con, pl.concat([day, fuel]))
    assert report.ok, report.failures
    assert reasons(con) == {}


BATCH_FAULTS: list[tuple[str, Change, set[str]]] = [
    ("nothing came", lambda d: d.head(0), {"rows delivered", UNFIT}),
    ("all rows are excluded", setting(40, exclusion="not units"), {UNFIT}),
    ("no row is good", setting(40, y=-1.0), {UNFIT, ANY, "quantity is negative"}),
    ("half of the rows are missing", lambda d: d.gather_every(2), {ROWS}),
    ("rows came twice, under other items", lambda d: pl.concat([d] * 2), {ROWS}),
    (
        "a third of the stores is missing",
        lambda d: d.filter(pl.col("store_id") > "s2"),
        {STORES},
    ),
    ("quantities x 100 in 5 % of the rows", setting(2, y=900.0), {UNITS}),
    ("units are tenfold", lambda d: d.with_columns(pl.col("y") * 10), {UNITS}),
    ("zeros over 10 % of the rows", setting(4, y=0.0), {ZEROS}),
]


@pytest.mark.parametrize(("change", "expected"), [f[1:] for f in BATCH_FAULTS])
def test_an_implausible_day_refuses_the_batch(
    con: Connection, day: pl.DataFrame, change: Change, expected: set[str]
) -> None:
    report = audit(con, change(day))
    assert failing(report) == expected
    with pytest.raises(ContractBreach, match=next(iter(expected))):
        report.require("batch b")


def test_a_busy_or_quiet_day_passes(con: Connection, day: pl.DataFrame) -> None:
    quiet = day.filter(pl.col("item_id") > "i0").with_columns(pl.col("y") * 0.8)
    assert audit(con, quiet).ok
    con.execute("DELETE FROM landing")
    assert audit(con, day.with_columns(pl.col("y") * 1.9)).ok


def test_a_correction_of_a_few_old_rows_is_not_judged_by_volume(con: Connection) -> None:
    old = deliveries(LAST_DAY, LAST_DAY).head(3).with_columns(pl.col("y") * 5, known_at=AS_OF)
    report = audit(con, old)
    assert report.ok, report.failures


def test_a_closed_day_is_not_judged_by_volume(con: Connection, day: pl.DataFrame) -> None:
    closed = day.head(4)
    assert audit(con, closed, closed=f"01-01,{NEXT_DAY:%m-%d}").ok
    con.execute("DELETE FROM landing")
    assert not audit(con, closed, closed="01-01").ok


def backfill(con: Connection, odd_days: set[date]) -> ContractReport:
    con.execute("DELETE FROM sales")
    whole = deliveries(LAST_DAY - timedelta(days=99), LAST_DAY)
    odd = pl.col("ds").is_in(list(odd_days))
    return audit(con, whole.filter(~odd | (pl.col("store_id") < "s3")))


def test_a_whole_history_may_hold_an_odd_day_but_not_many(con: Connection) -> None:
    days = [LAST_DAY - timedelta(days=k) for k in range(0, 80, 8)]
    assert backfill(con, set()).ok
    con.execute("DELETE FROM landing")
    assert backfill(con, set(days[:2])).ok
    con.execute("DELETE FROM landing")
    assert failing(backfill(con, set(days[:5]))) == {ROWS, STORES, UNITS}


@pytest.mark.parametrize(
    ("ddl", "difference"),
    [
        ("DROP COLUMN price", "column price missing"),
        ("RENAME COLUMN y TO units", "column y missing, column units not agreed"),
        ("ALTER COLUMN y TYPE VARCHAR", "column y varchar instead of double"),
    ],
)
def test_a_changed_column_is_named(con: Connection, ddl: str, difference: str) -> None:
    con.execute(f"ALTER TABLE landing {ddl}")
    report = verify("landing", con, as_of=AS_OF, variables={"BATCH": "b"})
    schema = report.failures[0]
    assert (schema.check, schema.outcome) == ("columns are as agreed", "failed")
    assert schema.expected == f"no difference; found {difference}"


values = st.sampled_from([None, nan, inf, -inf, -1.0, -0.0, 0.0, 2.5, 1e308])
batches = st.lists(
    st.fixed_dictionaries(
        {
            "batch_id": st.just("b"),
            "store_id": st.sampled_from(["s1", "", None]),
            "item_id": st.sampled_from(["i1", " ", None]),
            "ds": st.sampled_from([None, LAST_DAY, NEXT_DAY, date(2100, 1, 1)]),
            "y": values,
            "price": values,
            "exclusion": st.sampled_from([None, None, "not units"]),
            "copies": st.sampled_from([1, 2, None]),
            "known_at": st.sampled_from([None, AS_OF, AS_OF + timedelta(days=9)]),
        }
    ),
    min_size=1,
    max_size=30,
)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batches)
def test_row_rules_select_the_rows_that_soda_counts(
    con: Connection, rows: list[dict[str, object]]
) -> None:
    con.execute("DELETE FROM landing")
    batch = pl.DataFrame(rows, schema=LANDING)
    report = audit(con, batch)
    assert not any(r.outcome == "not evaluated" for r in report.results)
    judged = batch["exclusion"].is_null().sum()
    counted = {r.check: round((r.measured or 0) * judged / 100) for r in report.results}
    selected = reasons(con)
    assert {reason: counted[reason] for reason, _ in row_rules(as_of=AS_OF)} == {
        reason: selected.get(reason, 0) for reason, _ in row_rules(as_of=AS_OF)
    }
