"""The outermost layer: who may ask, how much at once, how large, and what every answer carries."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data.settings import Settings
from serving.deploy import MAX_IN_FLIGHT
from serving.keys import KeyRing, is_loopback
from serving.keys import Scope as KeyScope
from serving.metrics import Metrics
from serving.problems import REQUEST_ID, problem, request_id

logger = logging.getLogger("ray.serve.shelfcast")  # Ray Serve writes what is below ray.serve

MAX_BODY = 1024 * 1024
BODY_SECONDS = 10.0
# Pages hold no data, they ask for it; probes have to work without a key.
OPEN = ("/", "/docs", "/openapi.json")
OPEN_UNDER = ("/v1/health/", "/v2/health/", "/web/")
ADMIN = {("POST", "/v1/overrides")}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


def is_open(path: str) -> bool:
    """Whether a path is answered without a key and is never refused for load."""
    return path in OPEN or path.startswith(OPEN_UNDER)


def scope_of(method: str, path: str) -> KeyScope:
    """The scope that a request needs."""
    return "admin" if (method, path) in ADMIN else "read"


class Edge:
    """Wraps the application; `record` is told of every answer that is an error.

    `settings` are those of the state that is served, once it is known.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Callable[[], Settings],
        record: Callable[[str, Mapping[str, object]], None],
        metrics: Metrics,
        clock: Callable[[], datetime],
        echo_request_id: bool = True,
    ) -> None:
        self._app, self._echo = app, echo_request_id
        self._settings, self._record, self._clock = settings, record, clock
        self._metrics, self._in_flight = metrics, 0
        self._ring: tuple[Settings, KeyRing] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self._echo:
                    headers[REQUEST_ID] = request_id(scope)
            await send(message)

        try:
            await self._answer(scope, receive, reply)
        except Exception:
            logger.exception("Request %s failed unexpectedly", request_id(scope))
            if status:
                raise
            detail = "The server failed unexpectedly; its log has the request id."
            await problem(scope, 500, "unexpected", detail)(scope, receive, reply)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    async def _answer(self, scope: Scope, receive: Receive, reply: Send) -> None:
        """Refuses, or hands the request on with its body."""
        if is_open(scope["path"]):
            await self._app(scope, receive, reply)
            return
        refused = self._stranger(scope) or self._overload(scope)
        if refused is not None:
            await refused(scope, receive, reply)
            return
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            body = await _body(scope, receive)
            if isinstance(body, bytes):
                await self._app(scope, _replay(body, receive), reply)
            else:
                await body(scope, receive, reply)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)

    def _stranger(self, scope: Scope) -> ASGIApp | None:
        """The refusal of who may not ask; None for who may."""
        settings, headers = self._settings(), Headers(scope=scope)
        if self._ring is None or self._ring[0] is not settings:
            self._ring = (settings, KeyRing(settings.api_keys_path))
        ring = self._ring[1]
        if ring.keys is None:
            host = headers.get("host", "").rsplit(":", 1)[0] or "localhost"
            if is_loopback(settings.host) and is_loopback(host):
                return None
            detail = (
                "Without API keys only this machine may ask, by the name localhost or 127.0.0.1; "
                "create a key with `.venv/bin/python -m serving.keys create NAME`."
            )
            return problem(scope, 401, "no-key", detail, headers={"WWW-Authenticate": "Bearer"})
        kind, _, secret = headers.get("authorization", "").partition(" ")
        key = ring.find(secret.strip(), self._clock()) if kind.lower() == "bearer" else None
        if key is None:
            detail = "Send a valid API key as `Authorization: Bearer KEY`."
            return problem(scope, 401, "no-key", detail, headers={"WWW-Authenticate": "Bearer"})
        scope["shelfcast.key"] = key.name
        needed = scope_of(scope["method"], scope["path"])
        if not key.allows(needed):
            detail = f"The key {key.name!a} has the scope {key.scope}; {needed} is needed."
            return problem(scope, 403, "scope", detail)
        return None

    def _overload(self, scope: Scope) -> ASGIApp | None:
        if self._in_flight < MAX_IN_FLIGHT:
            return None
        self._metrics.refused.inc()
        detail = "Too many requests are being answered; ask again in a second."
        return problem(scope, 429, "overload", detail, headers={"Retry-After": "1"})

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # The route, not the path: a client can make up paths without end.
        route = getattr(scope.get("route"), "path", "no route")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.answered(method, route, status, seconds)
        about = {"method": method, "route": route, "status": status}
        extra: dict[str, Any] = about | {"ms": round(seconds * 1000, 1)}
        extra |= {"request_id": request_id(scope), "key": scope.get("shelfcast.key")}
        logger.info("%s %s %d", method, route, status, extra=extra)
        if status >= 400:
            record = {"at": str(self._clock()), "status": status}
            record |= {"problem": scope.get("shelfcast.problem", "http")}
            record |= {"place": f"{method} {route}", "request_id": request_id(scope)}
            self._record("error", record)


async def _body(scope: Scope, receive: Receive) -> bytes | ASGIApp:
    """The body, read within BODY_SECONDS, or the problem with it."""
    close = {"Connection": "close"}
    length = Headers(scope=scope).get("content-length", "0")
    too_large = f"The body is larger than {MAX_BODY} bytes; ask for fewer series at once."
    if length.isdigit() and int(length[:20]) > MAX_BODY:
        return cast(ASGIApp, problem(scope, 413, "body-too-large", too_large, headers=close))
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    break
                body += message.get("body", b"")
                if len(body) > MAX_BODY:
                    return cast(
                        ASGIApp, problem(scope, 413, "body-too-large", too_large, headers=close)
                    )
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        detail = f"The body was not there after {BODY_SECONDS:g} seconds."
        return cast(ASGIApp, problem(scope, 408, "slow-body", detail, headers=close))
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay
