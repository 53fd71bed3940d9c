"""Load on an HTTP server: open loop (a fixed rate, whatever it answers) and closed loop."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvloop

TIMEOUT = 20.0
FAILED = 0  # the status of a request that got no answer


@dataclass
class Answers:
    """What came back: per request its status and the seconds since it was due."""

    statuses: list[int] = field(default_factory=list)
    due: list[float] = field(default_factory=list)  # time.perf_counter
    seconds: list[float] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    elapsed: float = 0.0

    def quantile(self, q: float) -> float:
        """Milliseconds that a share q of the good answers took at most."""
        good = [s for s, status in zip(self.seconds, self.statuses, strict=True) if status == 200]
        return float(np.quantile(good, q)) * 1000 if good else float("nan")

    def within(self, spans: Sequence[tuple[float, float]]) -> "Answers":
        """Those to requests that were due in one of the spans, or were being answered then."""
        chosen = Answers()
        for status, due, seconds in zip(self.statuses, self.due, self.seconds, strict=True):
            if any(due <= end and due + seconds >= start for start, end in spans):
                chosen.statuses.append(status)
                chosen.due.append(due)
                chosen.seconds.append(seconds)
        return chosen

    def count(self, wanted: Callable[[int], bool]) -> int:
        return sum(map(wanted, self.statuses))

    @property
    def good(self) -> int:
        return self.count(lambda s: s == 200)

    @property
    def failed(self) -> int:
        """Requests without an answer, or with one of 500 and above."""
        return self.count(lambda s: s == FAILED or s >= 500)


class Connection:
    """One kept connection; as little of HTTP as the servers here speak."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer; raises OSError or EOFError when there is none."""
        if self._open is None:
            self._open = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._open
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        if headers.get("transfer-encoding") == "chunked":
            content = await _chunks(reader)
        else:
            content = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), content

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    content = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        content += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return bytes(content)


def forecast_of(series: dict[str, str]) -> dict[str, Any]:
    """The body of POST /v1/forecasts for one series and 28 days."""
    return {"series": [series], "horizon": 28}


class Load:
    """Requests for one series each, another one every time."""

    def __init__(
        self,
        host: str,
        port: int,
        series: Sequence[dict[str, str]],
        *,
        retries: int = 0,
        path: str = "/v1/forecasts",
        body: Callable[[dict[str, str]], dict[str, Any]] = forecast_of,
    ) -> None:
        self._host, self._port, self._path, self._retries = host, port, path, retries
        self._idle: list[Connection] = []
        self._bodies = [json.dumps(body(s)).encode() for s in series]
        self.sent = 0

    async def one(self, answers: Answers, due: float) -> None:
        """Sends the next request and notes what came of it."""
        body, status, content = self._bodies[self.sent % len(self._bodies)], FAILED, b""
        self.sent += 1
        for attempt in range(self._retries + 1):
            connection = self._idle.pop() if self._idle else Connection(self._host, self._port)
            try:
                async with asyncio.timeout(TIMEOUT):
                    status, content = await connection.post(self._path, body)
                self._idle.append(connection)
            except (OSError, EOFError, TimeoutError):
                connection.close()
                status = FAILED
            if status == 200 or attempt == self._retries:
                break
            await asyncio.sleep(0.2 * 2**attempt)
        answers.retried += attempt > 0
        answers.statuses.append(status)
        answers.due.append(due)
        answers.seconds.append(time.perf_counter() - due)
        if status == 200:
            with suppress(ValueError, KeyError):
                answers.versions[json.loads(content)["model_version"]] += 1

    async def at_rate(self, rate: float, seconds: float) -> Answers:
        """Open loop: a request is sent when it is due; waiting for it counts as its time."""
        answers, start, sent = Answers(), time.perf_counter(), []
        for k in range(int(rate * seconds)):
            due = start + k / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            sent.append(asyncio.create_task(self.one(answers, due)))
        await asyncio.gather(*sent)
        answers.elapsed = time.perf_counter() - start
        return answers

    async def by_clients(self, clients: int, stop: Callable[[], bool]) -> Answers:
        """Closed loop: so many clients, each of which waits for its answer."""
        answers, start = Answers(), time.perf_counter()

        async def client() -> None:
            while not stop():
                await self.one(answers, time.perf_counter())

        await asyncio.gather(*(client() for _ in range(clients)))
        answers.elapsed = time.perf_counter() - start
        return answers

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()


def during(load: Load, clients: int, event: Callable[[], None]) -> Answers:
    """What `clients` are answered while `event` happens in a thread, and two seconds after."""

    async def run() -> Answers:
        happening: Awaitable[None] = asyncio.create_task(asyncio.to_thread(event))
        ends: list[float] = []

        def stop() -> bool:
            return bool(ends) and time.perf_counter() > ends[0]

        answering = asyncio.create_task(load.by_clients(clients, stop))
        try:
            await happening
        finally:
            ends.append(time.perf_counter() + 2)
        answers = await answering
        load.close()
        return answers

    return uvloop.run(run())


def rate_run(load: Load, rate: float, seconds: float) -> Answers:
    """`at_rate` on an event loop of its own."""

    async def run() -> Answers:
        answers = await load.at_rate(rate, seconds)
        load.close()
        return answers

    return uvloop.run(run())


def capacity(load: Load, clients: int, seconds: float) -> float:
    """Answers a second with clients that wait for theirs."""

    async def run() -> Answers:
        end = time.perf_counter() + seconds
        answers = await load.by_clients(clients, lambda: time.perf_counter() > end)
        load.close()
        return answers

    answers = uvloop.run(run())
    return answers.good / answers.elapsed
