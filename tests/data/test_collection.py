"""Spool files into the ledger: once, whole or not at all, and nothing stops at a torn line."""

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data import collection, ledger
from data.settings import Settings
from data.warehouse import Connection

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
ROWS = {
    "store_id": ["1", "1"],
    "item_id": ["A", "A"],
    "cutoff": ["2017-09-10"] * 2,
    "ds": ["2017-09-11", "2017-09-12"],
    "step": [1, 2],
    "y_hat": [2.0, 3.5],
    "q0.5": [1.0, 3.0],
}
FORECAST = {
    "kind": "forecasts",
    "at": "2026-11-24T09:00:00+00:00",
    "request_id": "r1",
    "model": "3",
    "what_if": False,
    "rows": ROWS,
}


def error(at: str, problem: str = "unknown-series", status: int = 404) -> dict[str, Any]:
    place = "POST /v1/forecasts"
    return {"kind": "error", "at": at, "status": status, "problem": problem, "place": place}


def guide(kind: str) -> tuple[str, str]:
    return "operator", f"docs/runbook.md#{kind}"


def spool(settings: Settings, name: str, *records: dict[str, Any], torn: str = "") -> Path:
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    path = settings.spool_dir / name
    lines = [json.dumps({"kind": "file", "name": name}), *(json.dumps(r) for r in records)]
    path.write_text("\n".join(lines) + "\n" + torn)
    return path


def take(con: Connection, settings: Settings) -> collection.Collected:
    return collection.collect(con, settings.spool_dir, collected_at=NOW, guide=guide)


def served(con: Connection) -> pl.DataFrame:
    return con.sql("SELECT * FROM served_forecasts ORDER BY ds").pl()


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_answers_and_errors_arrive_in_their_tables(settings: Settings, con: Connection) -> None:
    spool(settings, "a.jsonl", FORECAST, error("2026-11-24T09:00:05+00:00"))
    spool(settings, "b.jsonl", error("2026-11-24T09:00:01+00:00"), error("2026-11-24T09:00:09Z"))
    assert take(con, settings) == collection.Collected(files=2, records=4)
    rows = served(con)
    assert rows["y_hat"].to_list() == [2.0, 3.5]
    assert rows["ds"].to_list() == [date(2017, 9, 11), date(2017, 9, 12)]
    assert set(rows["request_id"]) == {"r1"} and rows["q0.9"].null_count() == 2
    event = ledger.errors(con).row(0, named=True)
    assert (event["kind"], event["detail"], event["count"]) == (
        "api 404 unknown-series",
        "POST /v1/forecasts",
        3,
    )
    assert event["first_seen"].second == 1 and event["last_seen"].second == 9
    assert event["next_step"] == "docs/runbook.md#api 404 unknown-series"
    assert list(settings.spool_dir.iterdir()) == []


def test_a_file_that_was_taken_but_not_removed_counts_once(
    settings: Settings, con: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spool(settings, "a.jsonl", FORECAST, error("2026-11-24T09:00:05+00:00"))
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", _killed)
        with pytest.raises(KeyboardInterrupt):
            take(con, settings)
    path.rename(settings.spool_dir / "z.jsonl")
    assert take(con, settings).files == 0
    assert served(con).height == 2 and ledger.errors(con)["count"].to_list() == [1]
    assert list(settings.spool_dir.iterdir()) == []


def test_nothing_of_a_file_is_kept_when_its_end_fails(
    settings: Settings, con: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool(settings, "a.jsonl", FORECAST, error("2026-11-24T09:00:05+00:00"))
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "note_failures", _killed)
        with pytest.raises(KeyboardInterrupt):
            take(con, settings)
    assert served(con).height == 0
    assert take(con, settings).records == 2
    assert served(con).height == 2


def test_torn_lines_are_counted_and_the_rest_is_kept(settings: Settings, con: Connection) -> None:
    spool(settings, "a.jsonl", FORECAST, torn='{"kind": "forecasts", "at": "20')
    assert take(con, settings) == collection.Collected(files=1, records=1, torn=1)
    assert served(con).height == 2


def test_a_file_in_use_is_left_alone_until_its_writer_is_long_gone(
    settings: Settings, con: Connection
) -> None:
    path = spool(settings, "a.open", FORECAST)
    now = NOW.timestamp()
    os.utime(path, (now, now))
    assert take(con, settings).files == 0
    old = now - collection.ABANDONED_SECONDS - 1
    os.utime(path, (old, old))
    assert take(con, settings).files == 1


def test_what_writers_lost_is_an_event_of_its_own(settings: Settings, con: Connection) -> None:
    spool(settings, "a.jsonl", {"kind": "loss", "count": 12})
    assert take(con, settings).lost == 12
    event = ledger.errors(con).row(0, named=True)
    assert (event["kind"], event["count"], event["last_seen"]) == (collection.LOST, 12, NOW)


def test_other_kinds_are_kept_as_they_came(settings: Settings, con: Connection) -> None:
    override = {"kind": "override", "at": "2026-11-24T09:00:05+00:00", "units": 7}
    spool(settings, "a.jsonl", override)
    take(con, settings)
    kind, _, record = con.execute("SELECT * FROM spool_records").fetchall()[0]
    assert kind == "override" and json.loads(record)["units"] == 7


def test_whole_counts_replace_and_others_add(con: Connection) -> None:
    seen = ledger.Failure("k", "d", NOW, NOW, 5)
    ledger.note_failures(con, [seen, seen], guide)
    assert ledger.errors(con)["count"].to_list() == [10]
    ledger.note_failures(con, [seen], guide, whole=True)
    assert ledger.errors(con)["count"].to_list() == [5]


def test_a_file_that_is_closed_while_it_is_looked_at_stops_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spool(settings, "a.open", FORECAST)
    found = Path.glob

    def glob(folder: Path, pattern: str) -> list[Path]:
        files = list(found(folder, pattern))
        if pattern == "*.open":
            path.rename(path.with_suffix(".jsonl"))
        return files

    monkeypatch.setattr(Path, "glob", glob)
    assert [f.name for f in collection.spool_files(settings.spool_dir, NOW)] == ["a.jsonl"]
