"""Sends bodies and headers that mean no good, from a process of its own: see benchmarks.hostile."""

import contextlib
import http.client
import json
import socket
import sys
import threading
import time
from collections import Counter

PAUSE = 0.05  # from one bad body to the next
SLOW = 8  # connections whose headers trickle in
JSON = "application/json"

BODIES: dict[str, tuple[str, bytes]] = {
    "cut off": (JSON, b'{"series": [{"store_id": '),
    "no JSON": ("text/plain", b"series=1"),
    "deep": (JSON, b"[" * 10_000 + b"]" * 10_000),
    "a key twice": (JSON, b'{"series": [], "series": []}'),
    "many keys": (JSON, json.dumps({f"k{n}": n for n in range(60_000)}).encode()),
    "wrong fields": (JSON, json.dumps({"series": [dict.fromkeys("abcdefgh", 1)] * 1000}).encode()),
    "100,000 keys": (JSON, json.dumps({f"key{n}": n for n in range(100_000)}).encode()),
    "50 MB": (JSON, b" " * 50_000_000),
}


def send(host: str, port: int, kind: str) -> int:
    """The status that a bad body is answered with; 0 when the connection was cut instead."""
    media_type, body = BODIES[kind]
    connection = http.client.HTTPConnection(host, port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/v1/forecasts")
        connection.putheader("Content-Type", media_type)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        with contextlib.suppress(OSError):  # an answer may come before all was sent
            connection.send(body)
        with contextlib.suppress(OSError, http.client.HTTPException):
            return connection.getresponse().status
    return 0


def trickle(host: str, port: int, end: float) -> None:
    """One connection after the other that sends a byte of its headers now and then."""
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 5) as slow:
            slow.sendall(b"POST /v1/forecasts HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            while time.monotonic() < end:
                slow.sendall(b"a")
                time.sleep(1)


def attack(host: str, port: int, seconds: float) -> Counter[str]:
    """Every kind of BODIES in turn, and SLOW connections beside; answers by kind and status."""
    end = time.monotonic() + seconds
    for _ in range(SLOW):
        threading.Thread(target=trickle, args=(host, port, end), daemon=True).start()
    found: Counter[str] = Counter()
    while time.monotonic() < end:
        for kind in BODIES:
            found[f"{kind}: {send(host, port, kind)}"] += 1
            time.sleep(PAUSE)
    return found


if __name__ == "__main__":
    print("ready", flush=True)
    print(json.dumps(attack(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
