"""The contract of a delivered batch: each rule trips on its own fault and on nothing else."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from math import inf, nan

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checks.contracts import ContractBreach, ContractReport, row_rules, verify
from data.warehouse import Connection

Make = Callable[[date, date], pl.DataFrame]
Insert = Callable[[str, pl.DataFrame], None]
Audit = Callable[..., ContractReport]
Change = Callable[[pl.DataFrame], pl.DataFrame]

LAST_DAY = date(2026, 3, 1)  # of the eight weeks that are published
NEXT_DAY = date(2026, 3, 2)
AS_OF = datetime(2026, 3, 3, 11, tzinfo=UTC)  # delivery of NEXT_DAY

ANY = "rows with any of these faults"
ROWS = "rows of a day against its weekday"
STORES = "stores of a day against its weekday"
UNITS = "units of a day against its weekday"
ZEROS = "rise in the share of zero rows against its weekday"
UNFIT = "rows fit to publish"

KNOWN = "time of knowledge isn't between the day and the delivery"
ROW_FAULTS = [
    ("store is missing", {"store_id": None}),
    ("store is missing", {"store_id": " "}),
    ("item is missing", {"item_id": None}),
    ("day is missing", {"ds": None}),
    ("day lies after the delivery", {"ds": date(2026, 3, 4), "known_at": AS_OF}),
    ("day is impossibly early", {"ds": date(1970, 1, 1)}),
    ("quantity is missing or not a number", {"y": None}),
    ("quantity is missing or not a number", {"y": nan}),
    ("quantity is negative", {"y": -1.0}),
    ("quantity is beyond belief", {"y": inf}),
    ("price is negative", {"price": -0.01}),
    ("price is not a finite number", {"price": nan}),
    ("key is repeated in the batch", {"copies": 2}),
    (KNOWN, {"known_at": None}),
    (KNOWN, {"known_at": AS_OF - timedelta(days=3)}),
    (KNOWN, {"known_at": AS_OF + timedelta(seconds=1)}),
]


@pytest.fixture(autouse=True)
def history(insert: Insert, deliveries: Make) -> None:
    """Eight weeks of published sales."""
    published = deliveries(LAST_DAY - timedelta(days=55), LAST_DAY)
    insert("sales", published.drop("exclusion", "copies"))


@pytest.fixture
def day(deliveries: Make) -> pl.DataFrame:
    """A clean delivery of the next day: 40 rows."""
    return deliveries(NEXT_DAY, NEXT_DAY)


@pytest.fixture
def audit(con: Connection, insert: Insert) -> Audit:
    """Lands rows as the only batch and verifies the contract."""

    def run(batch: pl.DataFrame, closed: str = "") -> ContractReport:
        con.execute("DELETE FROM landing")
        insert("landing", batch)
        return verify("landing", con, as_of=AS_OF, variables={"BATCH": "b", "CLOSED": closed})

    return run


def setting(rows: int, **values: object) -> Change:
    """Overwrites columns of the first `rows` rows."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        first = pl.int_range(pl.len()) < rows
        return frame.with_columns(
            pl.when(first).then(pl.lit(value, frame.schema[name])).otherwise(name).alias(name)
            for name, value in values.items()
        )

    return change


def failing(report: ContractReport) -> set[str]:
    return {f.check for f in report.failures}


def reasons(con: Connection) -> dict[str, int]:
    """Rows that each predicate selects, where it selects any."""
    counts = {
        reason: con.execute(f"SELECT count(*) FROM landing WHERE {sql}").fetchall()[0][0]
        for reason, sql in row_rules(as_of=AS_OF)
    }
    return {reason: n for reason, n in counts.items() if n}


def test_a_clean_day_passes_every_check(con: Connection, audit: Audit, day: pl.DataFrame) -> None:
    report = audit(day)
    assert report.ok, report.failures
    assert reasons(con) == {}


def test_a_few_bad_rows_are_left_to_quarantine(
    con: Connection, audit: Audit, day: pl.DataFrame
) -> None:
    report = audit(setting(1, y=-1.0)(day))
    assert report.ok, report.failures
    assert reasons(con) == {"quantity is negative": 1}


@pytest.mark.parametrize(("reason", "fault"), ROW_FAULTS)
def test_more_than_a_few_bad_rows_refuse_the_batch(
    con: Connection, audit: Audit, day: pl.DataFrame, reason: str, fault: dict[str, object]
) -> None:
    assert failing(audit(setting(3, **fault)(day))) == {reason, ANY}
    assert reasons(con) == {reason: 3}


def test_faults_that_are_few_by_rule_and_many_in_sum_refuse_the_batch(
    audit: Audit, day: pl.DataFrame
) -> None:
    first, second, rest = day.head(1), day[1:2], day[2:]
    batch = [setting(1, y=-1.0)(first), setting(1, store_id=None)(second), rest]
    assert failing(audit(pl.concat(batch))) == {ANY}


def test_excluded_rows_are_not_judged(con: Connection, audit: Audit, day: pl.DataFrame) -> None:
    fuel = setting(40, y=-1e9, price=nan, copies=3, exclusion="quantity is not units")(day)
    report = audit(pl.concat([day, fuel]))
    assert report.ok, report.failures
    assert reasons(con) == {}


@pytest.mark.score("monitoring", 2)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda d: d.head(0), {"rows delivered", UNFIT}, id="nothing came"),
        pytest.param(setting(40, exclusion="not units"), {UNFIT}, id="all is excluded"),
        pytest.param(setting(40, y=-1.0), {UNFIT, ANY, "quantity is negative"}, id="no good row"),
        pytest.param(lambda d: d.gather_every(2), {ROWS}, id="half of the rows"),
        pytest.param(
            lambda d: pl.concat([d, d.with_columns(item_id="x" + pl.col("item_id"))]),
            {ROWS},
            id="two deliveries in one",
        ),
        pytest.param(
            lambda d: d.filter(pl.col("store_id") > "s3"),
            {ROWS, STORES},
            id="4 of 8 stores",
        ),
        pytest.param(setting(2, y=900.0), {UNITS}, id="5 % of the quantities x 100"),
        pytest.param(setting(40, y=40.0), {UNITS}, id="all quantities too high"),
        pytest.param(setting(4, y=0.0), {ZEROS}, id="zeros over 10 % of the rows"),
    ],
)
def test_an_implausible_day_refuses_the_batch(
    audit: Audit, day: pl.DataFrame, change: Change, expected: set[str]
) -> None:
    assert failing(audit(change(day))) == expected


def test_a_quiet_and_a_busy_day_pass(audit: Audit, day: pl.DataFrame) -> None:
    quiet = day.filter(pl.col("item_id") > "i0").with_columns(pl.col("y") * 0.8)
    assert audit(quiet).ok
    assert audit(day.with_columns(pl.col("y") * 1.9)).ok


def test_a_correction_of_a_few_old_rows_is_not_judged_by_volume(
    audit: Audit, deliveries: Make
) -> None:
    old = deliveries(LAST_DAY, LAST_DAY).head(3).with_columns(pl.col("y") * 5, known_at=AS_OF)
    report = audit(old)
    assert report.ok, report.failures


def test_a_closed_day_is_not_judged_by_volume(audit: Audit, day: pl.DataFrame) -> None:
    assert audit(day.head(4), closed=f"01-01,{NEXT_DAY:%m-%d}").ok
    assert not audit(day.head(4), closed="01-01").ok


def test_a_whole_history_may_hold_an_odd_day_but_not_many(
    con: Connection, audit: Audit, deliveries: Make
) -> None:
    con.execute("DELETE FROM sales")
    days = [LAST_DAY - timedelta(days=k) for k in range(100)]
    whole = deliveries(days[-1], days[0])

    def backfill(odd: list[date]) -> ContractReport:
        return audit(whole.filter(~pl.col("ds").is_in(odd) | (pl.col("store_id") < "s3")))

    assert backfill([]).ok
    assert backfill(days[0:16:8]).ok
    assert failing(backfill(days[0:40:8])) == {ROWS, STORES}


def test_history_that_is_too_short_or_too_thin_judges_nothing(
    con: Connection, audit: Audit, day: pl.DataFrame
) -> None:
    con.execute("DELETE FROM sales WHERE store_id > 's2'")  # 15 rows a day are left
    assert audit(day).ok
    con.execute("DELETE FROM sales WHERE ds < DATE '2026-02-15'")
    assert audit(day).ok


@pytest.mark.score("monitoring", 1)
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
    assert report.failures[0].check == "columns are as agreed"
    assert report.failures[0].expected == f"no difference; found {difference}"
    with pytest.raises(
        ContractBreach, match=f"^batch b breaks the contract landing: .*{difference}"
    ):
        report.require("batch b")


odd_numbers = st.sampled_from([None, nan, inf, -inf, -1.0, -0.0, 0.0, 2.5, 1e308])
odd_rows = st.fixed_dictionaries(
    {
        "store_id": st.sampled_from(["s1", "", None]),
        "item_id": st.sampled_from(["i1", " ", None]),
        "ds": st.sampled_from([None, LAST_DAY, NEXT_DAY, date(1970, 1, 1), date(2100, 1, 1)]),
        "y": odd_numbers,
        "price": odd_numbers,
        "exclusion": st.sampled_from([None, None, "not units"]),
        "copies": st.sampled_from([1, 2, None]),
        "known_at": st.sampled_from([None, AS_OF, AS_OF + timedelta(days=9)]),
    }
)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(odd_rows, min_size=1, max_size=30))
def test_row_rules_select_the_rows_that_soda_counts(
    con: Connection, audit: Audit, day: pl.DataFrame, rows: list[dict[str, object]]
) -> None:
    batch = pl.DataFrame([{"batch_id": "b", **row} for row in rows], schema=day.schema)
    report = audit(batch)
    assert "not evaluated" not in {result.outcome for result in report.results}

    judged = batch["exclusion"].null_count()
    counted = {r.check: round((r.measured or 0) * judged / 100) for r in report.results}
    selected = reasons(con)
    for reason, _ in row_rules(as_of=AS_OF):
        assert counted[reason] == selected.get(reason, 0), reason
