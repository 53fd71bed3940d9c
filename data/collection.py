"""Takes spool files into the ledger, each exactly once, and counts what went wrong by kind."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from data import ledger
from data.schema import FORECAST, SPOOL_CLOSED, SPOOL_OPEN, UTC
from data.warehouse import Connection, as_utc, transaction

ABANDONED_SECONDS = 600.0  # writers close files within a minute: an older open one has no writer
FORECASTS, ERROR, LOSS = "forecasts", "error", "loss"
LOST = "lost records"


@dataclass(frozen=True)
class Spooled:
    """What one spool file holds."""

    sha256: str
    records: int
    torn: int
    lost: int
    forecasts: pl.DataFrame
    failures: list[ledger.Failure]
    others: list[tuple[str, datetime, str]]


@dataclass
class Collected:
    """What a collection took in, in numbers; `lost` is what writers say they could not keep."""

    files: int = 0
    records: int = 0
    torn: int = 0
    lost: int = 0


def spool_files(folder: Path, now: datetime) -> list[Path]:
    """Files that no process writes to any more: closed ones, and those of dead writers."""
    old, abandoned = now.timestamp() - ABANDONED_SECONDS, []
    for file in folder.glob(f"*{SPOOL_OPEN}"):
        with suppress(FileNotFoundError):  # closed since, so among those below
            if file.stat().st_mtime < old:
                abandoned.append(file)
    return sorted([*folder.glob(f"*{SPOOL_CLOSED}"), *abandoned])


def read_spooled(content: bytes) -> Spooled:
    """Parses a spool file; lines that are no record (cut off by a kill) are counted, not raised."""
    records, torn = [], 0
    for line in content.splitlines():
        try:
            record = json.loads(line)
            records.append((str(record.pop("kind")), record))
        except (ValueError, KeyError, AttributeError):
            torn += 1
    of = {kind: [r for k, r in records if k == kind] for kind in {k for k, _ in records}}
    known = (FORECASTS, ERROR, LOSS, "file")
    return Spooled(
        sha256=hashlib.sha256(content).hexdigest(),
        records=len(records) - len(of.get("file", [])),
        torn=torn,
        lost=sum(int(r["count"]) for r in of.get(LOSS, [])),
        forecasts=_forecasts(of.get(FORECASTS, [])),
        failures=_failures(of.get(ERROR, [])),
        others=[(k, _instant(r), json.dumps(r)) for k, r in records if k not in known],
    )


def collect(
    con: Connection, folder: Path, *, collected_at: datetime, guide: ledger.Guide
) -> Collected:
    """Takes every file of `spool_files` into the warehouse, then removes it.

    One transaction per file notes its content's SHA-256 with its rows: a file that was taken in
    but not removed is only removed the next time.
    """
    done = Collected()
    for path in spool_files(folder, collected_at):
        spooled = read_spooled(path.read_bytes())
        if not _is_collected(con, spooled.sha256):
            with transaction(con):
                _take(con, path.name, spooled, as_utc(collected_at), guide)
            done.files += 1
            done.records, done.torn = done.records + spooled.records, done.torn + spooled.torn
            done.lost += spooled.lost
        path.unlink()
    return done


def _take(
    con: Connection, name: str, spooled: Spooled, collected_at: datetime, guide: ledger.Guide
) -> None:
    """Writes what a file holds, with the note that it was taken."""
    if spooled.forecasts.height:
        ledger.append(con, "served_forecasts", spooled.forecasts)
    for record in spooled.others:
        con.execute("INSERT INTO spool_records VALUES (?, ?, ?)", record)
    failures = list(spooled.failures)
    if spooled.lost:
        failures.append(ledger.Failure(LOST, "", collected_at, collected_at, spooled.lost))
    ledger.note_failures(con, failures, guide)
    con.execute(
        "INSERT INTO spool_files VALUES (?, ?, ?, ?, ?, ?)",
        [spooled.sha256, name, collected_at, spooled.records, spooled.torn, spooled.lost],
    )


def _is_collected(con: Connection, sha256: str) -> bool:
    found = con.execute("SELECT count(*) FROM spool_files WHERE sha256 = ?", [sha256]).fetchall()
    return bool(found[0][0])


def _forecasts(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The rows of forecast records, in the columns of the table served_forecasts."""
    frames = [
        pl.DataFrame(r["rows"]).with_columns(
            pl.col("cutoff", "ds").str.to_date(),
            issued_at=pl.lit(_instant(r), dtype=UTC),
            **{k: pl.lit(v) for k, v in r.items() if k not in ("rows", "at")},
        )
        for r in records
    ]
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema=FORECAST)


def _failures(records: Sequence[Mapping[str, Any]]) -> list[ledger.Failure]:
    """Errors of the API, counted by kind and place."""
    seen: dict[tuple[str, str], list[datetime]] = {}
    for r in records:
        seen.setdefault((f"api {r['status']} {r['problem']}", r["place"]), []).append(_instant(r))
    return [
        ledger.Failure(kind, place, min(at), max(at), len(at)) for (kind, place), at in seen.items()
    ]


def _instant(record: Mapping[str, Any]) -> datetime:
    return as_utc(datetime.fromisoformat(record["at"]))
