"""A delivery as a whole: what its bad rows may change, and what comes of corrections."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from checks import intake
from checks.audits import audit_sales
from checks.intake import Intake
from data.ingest import CONTENT
from data.schema import KEYS
from data.settings import Settings
from data.warehouse import Connection, connect, known_at_morning, query, sales_as_of
from feature_repo.build import known_versions

LAST_DAY = date(2017, 10, 1)
NEXT_DAY = LAST_DAY + timedelta(days=1)
Receive = Callable[..., Intake]


def sold(since: date, n: int) -> pl.DataFrame:
    """Thirty stores sell two to twelve of the first of five items, eight more of each next."""
    rng = np.random.default_rng(since.toordinal())
    rows = [
        (f"s{s}", f"i{i}", since + timedelta(days=k), float(rng.integers(2, 13)) + 8 * i, 2.0 + i)
        for k in range(n)
        for s in range(30)
        for i in range(5)
    ]
    return pl.DataFrame(rows, ["store_id", "item_id", "ds", "y", "price"], orient="row")


DAY = sold(NEXT_DAY, 1)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[Connection]:
    with connect(Settings(state_dir=tmp_path, _env_file=None)) as con:
        yield con


@pytest.fixture
def receive(con: Connection) -> Receive:
    """Takes rows, each delivery a second later on the morning after NEXT_DAY; 56 days are there."""
    settings = Settings(_env_file=None)
    taken: list[Intake] = []

    def run(rows: pl.DataFrame, as_of: datetime | None = None) -> Intake:
        given = rows.with_columns(
            exclusion=pl.lit(None, pl.String), known_at=pl.lit(None, pl.Datetime("us", "UTC"))
        )
        as_of = as_of or known_at_morning(NEXT_DAY, "UTC") + timedelta(seconds=len(taken))
        taken.append(
            intake.receive(
                con, settings, given.select(CONTENT), source="csv", as_of=as_of, with_plan=False
            )
        )
        return taken[-1]

    run(sold(LAST_DAY - timedelta(days=55), 56), known_at_morning(LAST_DAY, "UTC"))
    return run


def checks_failed(taken: Intake) -> set[str]:
    assert taken.report is not None
    return {f.check for f in taken.report.failures}


@pytest.mark.parametrize("mistyped", [date(1970, 1, 1), date(1991, 10, 2), date(2071, 10, 2), None])
def test_a_row_of_a_mistyped_day_neither_hides_a_bad_day_nor_spoils_a_good_one(
    receive: Receive, mistyped: date | None
) -> None:
    row = DAY.head(1).with_columns(ds=pl.lit(mistyped, pl.Date), store_id=pl.lit("s99"))
    dear = DAY.with_columns(pl.col("price") * 100)
    few = DAY.filter(pl.col("store_id").str.slice(1).cast(int) < 14)
    for bad in (dear, few):
        alone, beside = (checks_failed(receive(rows)) for rows in (bad, pl.concat([bad, row])))
        assert alone and beside >= alone
    taken = receive(pl.concat([DAY, row]))
    assert taken.publication is not None, checks_failed(taken)
    assert taken.report is not None and len(taken.report.results) > 25


def test_of_two_corrections_at_one_time_the_later_counts_and_the_sales_keep_their_contract(
    receive: Receive, con: Connection
) -> None:
    receive(DAY)
    at = known_at_morning(NEXT_DAY, "UTC") + timedelta(hours=1)
    for y in (30.0, 31.0):
        assert receive(DAY.head(1).with_columns(y=pl.lit(y)), at).publication is not None
    assert audit_sales(con, Settings(_env_file=None), at).ok
    ways = (sales_as_of(con, at), known_versions(query(con, "sales_versions"), at))
    for known in ways:
        assert known.join(DAY.head(1), on=[*KEYS, "ds"], how="semi")["y"].to_list() == [31.0]


def test_the_original_file_takes_a_correction_back_and_delivered_twice_it_is_loaded_already(
    receive: Receive, con: Connection
) -> None:
    bad = DAY.tail(1).with_columns(y=pl.lit(-1.0))
    original = pl.concat([DAY.head(30), bad])  # the bad row is in quarantine for good
    correction = DAY.head(1).with_columns(y=pl.lit(31.0))
    receive(DAY)
    for rows, published in ((original, 0), (correction, 1), (original, 1), (correction, 1)):
        taken = receive(rows).publication
        assert taken is not None and taken.rows_published == published
        assert receive(rows).publication is None
        at = known_at_morning(NEXT_DAY, "UTC") + timedelta(hours=1)
        known = sales_as_of(con, at).join(rows.head(1), on=[*KEYS, "ds"], how="semi")
        assert known["y"].to_list() == rows["y"].head(1).to_list()
    assert audit_sales(con, Settings(_env_file=None), at).ok
