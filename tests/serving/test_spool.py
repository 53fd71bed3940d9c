"""Records of the answers: whole lines in closed files, nobody waits, what is lost is counted."""

import json
import os
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data import collection
from serving import spool as module
from serving.spool import Spool

AT = datetime(2026, 11, 24, 9, tzinfo=UTC).isoformat()


def records(folder: Path) -> list[dict[str, Any]]:
    lines = [line for f in sorted(folder.glob("*.jsonl")) for line in f.read_text().splitlines()]
    return [r for r in map(json.loads, lines) if r["kind"] != "file"]


def test_what_is_appended_is_what_the_ledger_reads(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "store_id": ["1"],
            "cutoff": [date(2017, 9, 10)],
            "ds": [date(2017, 9, 11)],
            "y_hat": [2.5],
        }
    )
    spool = Spool(tmp_path)
    assert spool.append("forecasts", {"at": AT, "model": "3", "rows": rows})
    assert spool.append("error", {"at": AT, "status": 404, "problem": "p", "place": "GET /"})
    spool.close()
    (file,) = collection.spool_files(tmp_path, datetime.now(UTC))
    read = collection.read_spooled(file.read_bytes())
    assert (read.records, read.torn, read.lost) == (2, 0, 0)
    assert read.forecasts.select(rows.columns).equals(rows)
    assert read.failures[0].kind == "api 404 p"


def test_files_are_closed_by_age_without_further_records(tmp_path: Path) -> None:
    spool = Spool(tmp_path, file_seconds=0.05)
    spool.append("error", {"at": AT})
    deadline = time.monotonic() + 5
    while not list(tmp_path.glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(records(tmp_path)) == 1 and not list(tmp_path.glob("*.open"))
    spool.close()


def test_files_are_closed_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 1000)
    spool = Spool(tmp_path)
    for k in range(40):
        spool.append("error", {"k": k, "text": "x" * 100})
    spool.close()
    assert 4 <= len(list(tmp_path.glob("*.jsonl"))) <= 8
    assert [r["k"] for r in records(tmp_path)] == list(range(40))


def test_a_full_memory_loses_and_counts_and_never_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 10 * module.PLAIN_BYTES)
    blocked, write = threading.Event(), module._line
    monkeypatch.setattr(module, "_line", lambda *a: blocked.wait(10) and write(*a))
    spool = Spool(tmp_path)
    kept = [spool.append("error", {"k": k}) for k in range(25)]
    assert kept == [True] * 10 + [False] * 15 and spool.lost == 15
    blocked.set()
    spool.close()
    read = records(tmp_path)
    assert [r["k"] for r in read if r["kind"] == "error"] == list(range(10))
    assert [r["count"] for r in read if r["kind"] == "loss"] == [15]


def test_a_full_folder_loses_and_the_loss_is_told_once_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=600, file_seconds=0.01)
    for k in range(20):
        assert spool.append("error", {"k": k, "text": "x" * 50})
    _until(lambda: spool._waiting == 0)
    assert 10 <= spool.lost < 20
    kept = 20 - spool.lost
    for file in tmp_path.iterdir():
        kept -= len([r for r in _read(file) if r["kind"] == "error"])
        file.unlink()
    assert kept == 0
    spool.append("error", {"k": 20})
    spool.close()
    assert [r["count"] for r in records(tmp_path) if r["kind"] == "loss"] == [spool.lost]


@pytest.mark.parametrize("record", [{"x": float("nan")}, {"x": {1: {2}}, (1, 2): 3}])
def test_a_record_that_is_no_json_is_lost_and_nothing_is_raised(
    tmp_path: Path, record: dict[Any, Any]
) -> None:
    spool = Spool(tmp_path)
    spool.append("error", record)
    spool.append("error", {"k": 1})
    spool.close()
    assert spool.lost == 1
    assert [r["k"] for r in records(tmp_path) if r["kind"] == "error"] == [1]


def test_a_folder_that_can_not_be_written_costs_records_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    spool = Spool(tmp_path / "spool")
    assert spool.append("error", {"k": 1})
    spool.close()
    assert spool.lost == 1


def _read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_was_not_kept_in_time_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.05)
    spool, free = Spool(tmp_path), threading.Event()
    write = spool._write_one

    def slow(kind: str, record: module.Record) -> bool:
        free.wait(10)
        return write(kind, record)

    monkeypatch.setattr(spool, "_write_one", slow)
    spool.append("error", {"k": 1})
    assert not spool.keep("override", {"k": 2})
    monkeypatch.setattr(module, "KEEP_SECONDS", 10)
    free.set()
    assert spool.keep("override", {"k": 3})
    spool.close()
    assert [r["k"] for r in records(tmp_path)] == [1, 3]


def test_a_file_that_is_collected_while_sizes_are_summed_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old.jsonl"
    old.write_text("{}")
    entries = list(os.scandir(tmp_path))
    old.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(module.os, "scandir", lambda _folder: entries)
        spool = Spool(tmp_path)
        assert spool.keep("override", {"at": AT})
    spool.close()
    assert spool.lost == 0 and len(records(tmp_path)) == 1
