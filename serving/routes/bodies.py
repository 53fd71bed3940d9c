"""Reads JSON bodies; a key that is there twice is refused, where Python would take the last."""

import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
from fastapi import Request, Response
from fastapi.routing import APIRoute

from serving.problems import BadObject

MAX_KEYS = 100  # no object here has nearly as many; each one more would be told to be wrong
MAX_PARTS = 20_000  # objects and keys of a body; 1,000 series and 2,000 changes have 17,004


class OnceRequest(Request):
    """A request whose JSON has each key once."""

    async def json(self) -> Any:
        """The body. Raises JSONDecodeError, or BadObject naming the key that is there again."""
        body = await self.body()
        # Counted first, in a fraction of the time: nobody else is answered while Python reads.
        if _parts(body) > MAX_PARTS and (parts := _parts(_without_texts(body))) > MAX_PARTS:
            raise BadObject(f"The body has {parts} objects and keys; {MAX_PARTS} are the most.")
        return json.loads(body, object_pairs_hook=_once)


class OnceRoute(APIRoute):
    """A route that reads its body so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given such a request."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            return await handle(OnceRequest(request.scope, request.receive))

        return answer


def _parts(body: bytes) -> int:
    packed = body.translate(None, b" \t\r\n")
    return packed.count(b"{") + packed.count(b'":')


def _without_texts(body: bytes) -> bytes:
    """The body with one quote for each string; right up to where it is no JSON any more."""
    plain = np.frombuffer(body.replace(rb"\\", b"").replace(rb"\"", b""), np.uint8)
    return plain[~np.logical_xor.accumulate(plain == ord('"'))].tobytes()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise BadObject(f"The body has an object of {len(pairs)} keys; {MAX_KEYS} are the most.")
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise BadObject(f"The body has the key {name[:60]!a} twice in one object; send one.")
    return found
