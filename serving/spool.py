"""What replicas hand to the ledger: JSON lines in files of their own, written behind the answer."""

import json
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import IO

import polars as pl
from pydantic_core import to_json

from data.schema import SPOOL_CLOSED, SPOOL_OPEN

logger = logging.getLogger("ray.serve.shelfcast")

MAX_BYTES = 1 << 30  # on disk, all files of the folder together: a day of some 30 answers a second
FILE_BYTES = 8 << 20
FILE_SECONDS = 30.0  # a file is closed, and can be collected, at the latest after this time
WAITING_BYTES = 64 << 20  # in memory
KEEP_SECONDS = 5.0
PLAIN_BYTES = 1024  # what a record without a frame is reckoned to weigh

Record = Mapping[str, object]


class Spool:
    """Appends records to a file of this process; a thread writes, callers of `append` never wait.

    What doesn't fit, into memory or into `max_bytes` of the folder, or can't be written, is lost:
    `lost` counts it, and the next file that can be written tells the ledger.
    """

    def __init__(
        self, folder: Path, max_bytes: int = MAX_BYTES, *, file_seconds: float = FILE_SECONDS
    ) -> None:
        self.lost = 0
        self._folder, self._max_bytes, self._file_seconds = folder, max_bytes, file_seconds
        self._queue: queue.SimpleQueue[tuple[str, Record, Future[bool]] | None]
        self._queue = queue.SimpleQueue()
        self._lock, self._waiting, self._told, self._files = threading.Lock(), 0, 0, 0
        self._file: IO[bytes] | None = None
        self._opened, self._room = 0.0, 0
        self._thread = threading.Thread(target=self._write_all, name="spool", daemon=True)
        self._thread.start()

    def append(self, kind: str, record: Record) -> bool:
        """Takes one record of plain values and at most one frame; False when it was lost.

        Never raises and never waits. A frame must not be changed afterwards.
        """
        return self._enqueue(kind, record) is not None

    def keep(self, kind: str, record: Record) -> bool:
        """Takes one record as `append` does, but waits until it is in a file, KEEP_SECONDS at most.

        False when it was lost, or when it was not its turn in that time: it is then never written.
        A write that has begun is waited for.
        """
        written = self._enqueue(kind, record)
        if written is None:
            return False
        wait([written], KEEP_SECONDS)
        return not written.cancel() and written.result()

    def _enqueue(self, kind: str, record: Record) -> Future[bool] | None:
        size = _size(record)
        with self._lock:
            if self._waiting + size > WAITING_BYTES:
                self.lost += 1
                return None
            self._waiting += size
        written: Future[bool] = Future()
        self._queue.put((kind, record, written))
        return written

    def close(self) -> None:
        """Writes what waits and closes the file, so that it can be collected."""
        self._queue.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        while True:
            try:
                entry = self._queue.get(timeout=self._file_seconds / 4)
            except queue.Empty:
                self._close_if(time.monotonic() - self._opened > self._file_seconds)
                continue
            if entry is None:
                self._close_if(True)
                return
            kind, record, written = entry
            if written.set_running_or_notify_cancel():
                written.set_result(self._write_one(kind, record))
            with self._lock:
                self._waiting -= _size(record)

    def _write_one(self, kind: str, record: Record) -> bool:
        try:
            line = _line(kind, record)
            file = self._opened_file()
            if len(line) > self._room:
                raise OSError(f"{self._folder} holds {self._max_bytes:,} bytes, its limit")
            if self.lost > self._told:
                told = _line("loss", {"count": self.lost - self._told})
                _write(file, told)
                self._told = self.lost
            _write(file, line)
            self._room -= len(line)
            age = time.monotonic() - self._opened
            self._close_if(age > self._file_seconds or file.tell() > FILE_BYTES)
        except Exception as error:  # the answer is out: all that is left is to count
            with self._lock:
                self.lost += 1
            if self.lost & (self.lost - 1) == 0:  # 1, 2, 4, 8 …: a full disk must not fill the log
                logger.warning("The ledger has lost %d records (%s)", self.lost, error)
            self._close_if(True)
            return False
        return True

    def _opened_file(self) -> IO[bytes]:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            held = sum(map(_bytes_of, os.scandir(self._folder)))
            self._room, self._files = self._max_bytes - held, self._files + 1
            name = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}-{self._files}"
            self._file = (self._folder / (name + SPOOL_OPEN)).open("xb", buffering=0)
            self._opened = time.monotonic()
            _write(self._file, _line("file", {"name": name}))  # so no two files are the same
        return self._file

    def _close_if(self, due: bool) -> None:
        if self._file is None or not due:
            return
        path = Path(str(self._file.name))
        try:
            self._file.close()
            path.rename(path.with_suffix(SPOOL_CLOSED))
        except OSError as error:
            logger.warning("%s was not closed: %s", path, error)
        self._file = None


def _bytes_of(entry: os.DirEntry[str]) -> int:
    """Size of a file; none when it was collected meanwhile."""
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0


def _write(file: IO[bytes], line: bytes) -> None:
    """Raises OSError for a line that was not written whole; the ledger counts it as torn."""
    if file.write(line) != len(line):
        raise OSError("the disk is full")


def _size(record: Record) -> int:
    frames = [value for value in record.values() if isinstance(value, pl.DataFrame)]
    return PLAIN_BYTES + sum(int(frame.estimated_size()) for frame in frames)


def _line(kind: str, record: Record) -> bytes:
    """One JSON object on one line; a frame becomes an object of columns."""
    plain = {k: v for k, v in record.items() if not isinstance(v, pl.DataFrame)}
    text = json.dumps({"kind": kind, **plain}, default=str, allow_nan=False)
    for name, value in record.items():
        if isinstance(value, pl.DataFrame):
            columns = to_json(value.to_dict(as_series=False), inf_nan_mode="null").decode()
            text = f"{text[:-1]}, {json.dumps(name)}: {columns}}}"
    return text.encode() + b"\n"
