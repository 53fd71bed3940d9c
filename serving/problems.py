"""Errors as RFC 9457 problems: every answer that is not a success is made here."""

import json
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import Scope

from feature_repo.store import StaleFeatures, UnknownSeries
from models.forecaster import HorizonTooLong, NoChampion
from serving.api.series import EXPECTED
from serving.api.system import FieldError, Problem

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "X-Request-ID"
MAX_ERRORS = 20
NOT_PUBLISHED = "not-published"


class BadObject(HTTPException):
    """An object of a JSON body that has a key more than once, or more keys than any has here."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, detail)


class UnknownLevel(ValueError):
    """A quantile level that the served model does not give."""


class UnknownModel(LookupError):
    """A model or version that is not served."""


class NotKept(RuntimeError):
    """Something that a client sent could not be written down."""


class NotPublished(RuntimeError):
    """No flow has published yet what pages read beside forecasts: it says nothing of a model."""


class OutOfRange(ValueError):
    """A value that only the data can tell to be wrong, with the JSON pointer of its field."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(detail)
        self.path = path


def problem(
    request: Request | Scope,
    status: int,
    kind: str,
    detail: str,
    *,
    errors: Sequence[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem+json answer to a request."""
    scope = request.scope if isinstance(request, Request) else request
    scope["shelfcast.problem"] = kind
    body = Problem(
        type=f"urn:shelfcast:problem:{kind}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=scope["path"],
        request_id=request_id(scope),
        errors=list(errors) if errors else None,
    )
    # ASCII: a path or id with a lone surrogate has no UTF-8 form.
    content = json.dumps(body.model_dump(exclude_none=True), ensure_ascii=True)
    return Response(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def request_id(scope: Scope) -> str:
    """The request's id: the client's X-Request-ID, or a new one."""
    known: str | None = scope.get("shelfcast.request_id")
    if known is None:
        given = Headers(scope=scope).get(REQUEST_ID, "")
        fine = 0 < len(given) <= 128 and given.isascii() and given.isprintable()
        known = given if fine else uuid.uuid4().hex
        scope["shelfcast.request_id"] = known
    return known


def install(app: FastAPI) -> None:
    """Registers the problems of the rooms' errors and of HTTP itself."""
    plain = {
        UnknownSeries: (404, "unknown-series"),
        UnknownLevel: (422, "unknown-level"),
        OutOfRange: (422, "invalid"),
        HorizonTooLong: (422, "horizon-too-long"),
        UnknownModel: (404, "unknown-model"),
        NotKept: (503, "not-kept"),
        NotPublished: (503, NOT_PUBLISHED),
        NoChampion: (503, "no-champion"),
        StaleFeatures: (503, "stale-features"),
    }
    for error, (status, kind) in plain.items():
        app.add_exception_handler(error, _plain(status, kind))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AnyHTTPException, _http)


FIELD_OF = {"unknown-level": "/quantiles", "horizon-too-long": "/horizon"}


def _plain(status: int, kind: str) -> Any:
    async def answer(request: Request, error: Exception) -> Response:
        path = getattr(error, "path", FIELD_OF.get(kind))
        if path and request.method == "GET":  # a parameter of the query, not a JSON pointer
            path = path.removeprefix("/")
        errors = [FieldError(path=path, detail=str(error))] if path else None
        return problem(request, status, kind, str(error), errors=errors)

    return answer


async def _http(request: Request, error: Exception) -> Response:
    """Problems that the framework finds: no such route, method not allowed, unreadable body."""
    assert isinstance(error, AnyHTTPException)
    path, status = request.url.path, error.status_code
    if status == 404:
        kind, detail = "no-such-route", f"There is no {path}; /docs lists the routes."
    elif status == 405:
        allowed = (error.headers or {}).get("Allow", "")
        kind = "method-not-allowed"
        detail = f"{request.method} is not allowed on {path}; allowed: {allowed}."
    elif isinstance(error, BadObject):
        kind, detail = "malformed-json", error.detail
    elif status == 400:
        kind, detail = "malformed-json", "The body is not readable JSON."
    else:
        kind, detail = "http", str(error.detail)
    return problem(request, status, kind, detail, headers=error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    """Problems of a body or query that does not fit its type."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        said = found[0]["ctx"]["error"]
        detail = f"The body is not JSON: {said} at character {found[0]['loc'][-1]}."
        return problem(request, 400, "malformed-json", detail)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if isinstance(error.body, bytes) and not media_type.endswith("json"):
        detail = f"The content type is {media_type!a}; send application/json."
        return problem(request, 415, "not-json", detail)
    errors = [_field_error(e) for e in found[:MAX_ERRORS]]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    first = f"{errors[0].path.lstrip('/') or 'The body'}: {errors[0].detail}{more}"
    return problem(request, 422, "invalid", first, errors=errors)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    """One pydantic error as: what it says, what was got, and what is allowed there."""
    location = [_ascii(part) for part in error["loc"][1:]]
    path = ("/" if error["loc"][0] == "body" else "") + "/".join(location)
    given = error.get("input")
    got = f", got {json.dumps(given)[:60]}" if isinstance(given, str | int | float) else ""
    names = [part for part in location if part in EXPECTED]
    allowed = f"; {names[-1]} is {EXPECTED[names[-1]]}" if names else ""
    said = _ascii(error["msg"]).removeprefix("Value error, ")
    return FieldError(path="" if path == "/" else path, detail=f"{said}{got}{allowed}.")


def _ascii(value: object) -> str:
    return str(value).encode("ascii", "backslashreplace").decode()
