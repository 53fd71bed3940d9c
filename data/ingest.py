"""Write, audit, publish: a delivery is landed, checked by others, then published or rejected."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from data import schema
from data.settings import Settings
from data.warehouse import SQL_DIR, Connection, as_utc, query, run, transaction

CONTENT = ["store_id", "item_id", "ds", "y", "price", "exclusion", "known_at"]


class EmptyDelivery(ValueError):
    """A delivery has no row with a date: there is nothing to land."""


@dataclass(frozen=True)
class Batch:
    """A landed delivery; its id is the SHA-256 of its content, whatever its name or row order.

    Delivered again after another one changed its rows, it is a delivery of its own, unless it says
    itself since when each row is known: it takes that change back.
    """

    batch_id: str
    source: str
    since: date
    until: date
    as_of: datetime
    rows: int


@dataclass(frozen=True)
class Publication:
    """Where the rows of a batch went; unchanged ones were known already with that y and price."""

    rows_published: int
    rows_excluded: int
    rows_quarantined: int
    rows_unchanged: int
    reasons: dict[str, int]
    """Rows per reason of exclusion or quarantine; a row may have several reasons."""


def land(
    con: Connection, settings: Settings, frame: pl.DataFrame, *, source: str, as_of: datetime
) -> Batch:
    """Commit a delivery to the landing table; `as_of` is when it was delivered.

    `frame` has the columns of CONTENT, one row per delivered row. A batch that is published already
    stays as it is; one that isn't gets its rows replaced. Raises `EmptyDelivery`.
    """
    days = frame["ds"].drop_nulls()
    if days.is_empty():
        raise EmptyDelivery(
            f"The delivery of {source} has {frame.height} rows and none with a date: "
            "nothing was landed; check the source and the days that were asked for."
        )
    batch = Batch(
        batch_id=_batch_id(con, frame),
        source=source,
        since=days.min(),  # type: ignore[arg-type]
        until=days.max(),  # type: ignore[arg-type]
        as_of=as_utc(as_of),
        rows=frame.height,
    )
    with transaction(con):
        if is_published(con, batch.batch_id):
            return batch
        con.execute("DELETE FROM landing WHERE batch_id = $batch_id", {"batch_id": batch.batch_id})
        with _registered(con, delivery=frame.select(CONTENT)):
            _execute(
                con,
                "land",
                batch_id=batch.batch_id,
                timezone=settings.timezone,
                as_of=batch.as_of,
            )
    return batch


def content_id(frame: pl.DataFrame) -> str:
    """SHA-256 of the rows in a canonical order: neither names, times nor row order enter it."""
    canonical = frame.select(CONTENT).sort(CONTENT)
    text = canonical.write_csv(null_value="\\N", quote_style="non_numeric")
    return hashlib.sha256(text.encode()).hexdigest()


def _batch_id(con: Connection, frame: pl.DataFrame) -> str:
    """The id of a delivery of this content now; it stays so until it is published."""
    content = content_id(frame)
    if not frame["known_at"].has_nulls():  # known since then, whenever it is delivered
        return content
    changed_by = query(con, "changed_by", batch_id=content).item()
    if changed_by is None:
        return content
    return hashlib.sha256(f"{content}\n{changed_by}".encode()).hexdigest()


def is_published(con: Connection, batch_id: str) -> bool:
    """Whether a batch was published."""
    found = con.execute(
        "SELECT count(*) FROM ingest_log WHERE batch_id = ? AND status = 'published'", [batch_id]
    ).fetchall()
    return bool(found[0][0])


def fit_rows(con: Connection, batch: Batch, row_rules: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """The rows of a landed batch that `publish` would publish by the same `row_rules`.

    Columns store_id, item_id, ds, y, price; also rows that say nothing new.
    """
    good = f"FROM ({_judged(row_rules)}) WHERE exclusion IS NULL AND len(reasons) = 0"
    sql = f"SELECT store_id, item_id, ds, y, price {good}"
    return run(con, sql, {"batch_id": batch.batch_id})


def publish(
    con: Connection,
    batch: Batch,
    row_rules: Sequence[tuple[str, str]],
    plan: pl.DataFrame | None = None,
) -> Publication:
    """Publish a landed batch in one transaction: good rows to sales, bad ones to quarantine.

    `row_rules` are (reason, SQL predicate over landing that is true for a bad row); excluded rows
    are not judged. `plan` has the columns of `schema.PLAN`. A batch that is published already
    changes nothing and counts as unchanged. Raises LookupError for a batch that was never landed.
    """
    with transaction(con):
        if is_published(con, batch.batch_id):
            return Publication(0, 0, 0, batch.rows, {})
        publication = _sort_rows(con, batch, row_rules)
        if plan is not None and plan.height:
            with _registered(con, delivered_plan=plan.select(list(schema.PLAN))):
                _execute(con, "publish_plan", batch_id=batch.batch_id)
        _log(con, batch, publication, "published")
    return publication


def reject(con: Connection, batch: Batch) -> None:
    """Log that a batch failed its audit as a whole; nothing of it is published.

    The same content may be delivered again, for instance once a rule has changed.
    """
    with transaction(con):
        if not is_published(con, batch.batch_id):
            _log(con, batch, Publication(0, 0, 0, 0, {}), "rejected")


def _sort_rows(con: Connection, batch: Batch, row_rules: Sequence[tuple[str, str]]) -> Publication:
    landed = con.execute(
        "SELECT count(*) FROM landing WHERE batch_id = $batch_id", {"batch_id": batch.batch_id}
    ).fetchall()[0][0]
    if landed != batch.rows:
        raise LookupError(
            f"Batch {batch.batch_id[:12]} has {landed} landed rows, {batch.rows} were expected: "
            "land it again before publishing it."
        )
    judged = f"CREATE OR REPLACE TEMP TABLE judged AS {_judged(row_rules)}"
    con.execute(judged, {"batch_id": batch.batch_id})
    for name in ("publish_sales", "publish_quarantine"):
        _execute(con, name)
    counts = query(con, "judged_counts").row(0, named=True)
    found = dict(query(con, "judged_reasons").iter_rows())
    con.execute("DROP TABLE judged")
    return Publication(**counts, reasons=found)


def _judged(row_rules: Sequence[tuple[str, str]]) -> str:
    """The query of a landed batch's rows with their verdicts by these rules."""
    reasons = ", ".join(
        f"CASE WHEN {predicate} THEN {_literal(reason)} END" for reason, predicate in row_rules
    )
    return (SQL_DIR / "judged.sql").read_text().replace("/*reasons*/ NULL", reasons or "NULL")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _log(con: Connection, batch: Batch, publication: Publication, status: str) -> None:
    con.execute(
        "INSERT INTO ingest_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            batch.batch_id,
            batch.source,
            batch.since,
            batch.until,
            batch.as_of,
            batch.rows,
            publication.rows_published,
            publication.rows_excluded,
            publication.rows_quarantined,
            status,
        ],
    )


def _execute(con: Connection, name: str, **params: Any) -> None:
    con.execute((SQL_DIR / f"{name}.sql").read_text(), params or None)


@contextmanager
def _registered(con: Connection, **frames: pl.DataFrame) -> Iterator[None]:
    for name, frame in frames.items():
        con.register(name, frame)
    try:
        yield
    finally:
        for name in frames:
            con.unregister(name)
