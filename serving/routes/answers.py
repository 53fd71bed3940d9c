"""What all routes share: how their problems are documented, and the series that a path names."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Path, Request
from fastapi.exceptions import RequestValidationError

from serving.problems import MEDIA_TYPE
from serving.snapshots import Key

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
    503: "No model is served yet, or the features or the publication are not there.",
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


def _series_of_path(
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
