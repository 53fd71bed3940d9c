"""What runs write down and read back: results of contracts, forecasts, scores, decisions."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from data.warehouse import SQL_DIR, Connection, as_utc, query

TABLES = (
    "contract_results",
    "forecasts",
    "cold_forecasts",
    "served_forecasts",
    "scores",
    "forecast_scores",
    "gate_decisions",
)

Guide = Callable[[str], tuple[str, str]]
"""Owner and next step of a kind of error."""


@dataclass(frozen=True)
class Failure:
    """Something that went wrong `count` times between two instants."""

    kind: str
    detail: str
    first_seen: datetime
    last_seen: datetime
    count: int


def append(con: Connection, table: str, rows: pl.DataFrame) -> int:
    """Adds rows to one of TABLES by column name, all or none; columns left out are NULL."""
    if table not in TABLES:
        raise ValueError(f"{table!r} is not a ledger table; expected one of {', '.join(TABLES)}.")
    con.register("ledger_rows", rows)
    try:
        con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM ledger_rows")
    finally:
        con.unregister("ledger_rows")
    return rows.height


def append_decision(
    con: Connection,
    *,
    decided_at: datetime,
    gate: str,
    outcome: str,
    reasons: Sequence[str],
    measurements: Mapping[str, object],
) -> None:
    """Keeps one gate decision with its reasons and what was measured."""
    con.execute(
        "INSERT INTO gate_decisions VALUES (?, ?, ?, ?, ?)",
        [as_utc(decided_at), gate, outcome, list(reasons), json.dumps(dict(measurements))],
    )


def withdraw_decision(con: Connection, gate: str, subject: str) -> None:
    """Takes away a gate's newest decision about a subject, for the one that takes its place."""
    sql = (SQL_DIR / "withdraw_decision.sql").read_text()
    con.execute(sql, {"gate": gate, "subject": subject})


def last_day(con: Connection) -> date | None:
    """The newest day of published sales; None when there are none."""
    day: date | None = query(con, "last_day")["ds"][0]
    return day


def issued_forecasts(con: Connection, since: date) -> pl.DataFrame:
    """Forecasts issued from cutoffs not before `since`: columns FORECAST, model, snapshot_id, …"""
    return query(con, "issued_forecasts", since=since)


def is_issued(con: Connection, cutoff: date, model: str) -> bool:
    """Whether forecasts of this model from this cutoff are in the ledger."""
    return bool(query(con, "is_issued", cutoff=cutoff, model=model)["issued"][0])


def note_training(con: Connection, started_at: datetime) -> None:
    """Keeps that a training begins, before anything of it can fail."""
    con.execute("INSERT INTO trainings VALUES (?)", [as_utc(started_at)])


def trainings(con: Connection, since: datetime) -> list[datetime]:
    """When trainings began since an instant, newest first, also those that failed."""
    return query(con, "trainings", since=as_utc(since))["started_at"].to_list()


def failed_checks(con: Connection, since: datetime) -> list[str]:
    """Checks that failed in the newest verification of their contract, if it was after `since`."""
    return query(con, "failed_checks", since=as_utc(since))["check_name"].to_list()


def view_features(con: Connection, files: Sequence[Path]) -> None:
    """Lays the view `features` over Parquet files of one feature view, for its contract."""
    names = ", ".join("'" + str(f).replace("'", "''") + "'" for f in files)
    con.execute(f"CREATE OR REPLACE VIEW features AS SELECT * FROM read_parquet([{names}])")


def note_failures(
    con: Connection, failures: Sequence[Failure], guide: Guide, *, whole: bool = False
) -> None:
    """Adds failures to the table error_events; `whole` counts replace what was counted before."""
    sql = (SQL_DIR / "note_error.sql").read_text()
    for failure in failures:
        owner, next_step = guide(failure.kind)
        con.execute(
            sql, {**asdict(failure), "owner": owner, "next_step": next_step, "whole": whole}
        )


def quarantined(con: Connection) -> list[Failure]:
    """Rows that contracts kept out of the sales, by reason."""
    rows = query(con, "quarantined_reasons").iter_rows()
    return [Failure("quarantined rows", reason, first, last, n) for reason, n, first, last in rows]


def errors(con: Connection) -> pl.DataFrame:
    """The table error_events, the newest first."""
    return query(con, "errors")
