"""What all routes share: the lanes they are answered on, their problems, the series of a path."""

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial, wraps
from typing import Annotated, Any, ParamSpec, TypeVar
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Path, Request
from fastapi.exceptions import RequestValidationError

from serving.problems import MEDIA_TYPE
from serving.routes.bodies import OnceRoute
from serving.snapshots import Key

P = ParamSpec("P")
Answer = TypeVar("Answer")

# Forecasts hold Python's lock for most of their time: more threads of small answers would only
# wait for each other. A large one never stands before a small one or what a page reads, and nothing
# before a probe.
SMALL = ThreadPoolExecutor(1, thread_name_prefix="small")
LARGE = ThreadPoolExecutor(2, thread_name_prefix="large")
READS = ThreadPoolExecutor(2, thread_name_prefix="reads")
PROBES = ThreadPoolExecutor(1, thread_name_prefix="probe")


class Router(APIRouter):
    """Answers plain functions on the lane READS, coroutines on the event loop; bodies have
    each key once.

    FastAPI would ask AnyIO for threads, which end with the task that started the loop. Ray Serve
    starts it in another way, and so AnyIO would start a thread for every request.
    """

    def __init__(self, **about: Any) -> None:
        super().__init__(route_class=OnceRoute, **about)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **about: Any) -> None:
        if not inspect.iscoroutinefunction(endpoint):
            endpoint = wraps(endpoint)(partial(on, READS, endpoint))
        super().add_api_route(path, endpoint, **about)


async def on(
    lane: ThreadPoolExecutor, work: Callable[P, Answer], *given: P.args, **named: P.kwargs
) -> Answer:
    """What `work` gives, done by a thread of the lane.

    A request that is given up takes its work out of the lane unless it has begun.
    """
    within = copy_context()  # of the request: Ray's name for it, among others
    call = partial(within.run, work, *given, **named)
    return await asyncio.get_running_loop().run_in_executor(lane, call)


PROBLEMS = {
    400: "The body is not JSON.",
    401: "An API key is needed.",
    403: "The API key has not the scope that is needed.",
    404: "A series is not known.",
    408: "The body did not arrive in time.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not declared as JSON.",
    422: "A field is missing, unknown or out of its range.",
    429: "Too many requests at once; Retry-After says when to ask again.",
    503: "No model is served yet, features or publication are not there, or the API starts again; "
    "then Retry-After says when to ask again.",
}
QUERY = (422, 503)
SERIES = (404, *QUERY)
BODY = (400, 413, 415, *SERIES)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the problems that a route can answer with."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        s: {"description": PROBLEMS[s], "content": {MEDIA_TYPE: {"schema": schema}}}
        for s in statuses
    }


async def _series_of_path(
    request: Request,
    store_id: Annotated[
        str,
        Path(
            min_length=1, max_length=128, description="Store; / is written %2F.", examples=["367"]
        ),
    ],
    item_id: Annotated[
        str,
        Path(min_length=1, max_length=128, description="Item.", examples=["GROCERY"]),
    ],
) -> Key:
    """The series that a path .../{store_id}/{item_id}... names, whatever its ids hold.

    The decoded path does not tell a slash of an id (%2F) from one between the ids; the raw one
    does.
    """
    raw = request.scope.get("raw_path", b"").decode("ascii", "replace")
    template = request.scope["route"].path
    before = template.index("{store_id}")
    after = len(template) - template.index("}", template.index("{item_id")) - 1
    ids = raw[before : len(raw) - after].split("/", 1)
    if len(ids) != 2:
        return store_id, item_id
    key = unquote(ids[0]), unquote(ids[1])
    for name, value in zip(("store_id", "item_id"), key, strict=True):
        if not 1 <= len(value) <= 128:
            found = {"loc": ("path", name), "msg": "not 1 to 128 characters", "input": value}
            raise RequestValidationError([found | {"type": "value_error"}])
    return key


PathSeries = Annotated[Key, Depends(_series_of_path)]
