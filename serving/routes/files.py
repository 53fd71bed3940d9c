"""Routes of files: the planner's page, the documentation, tables as Excel workbooks."""

from hashlib import sha256
from pathlib import Path

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from serving.api.files import WorkbookRequest
from serving.routes.answers import LARGE, Router, on, problems
from serving.workbooks import MEDIA_TYPE, workbook

WEB = Path(__file__).parent.parent / "web"
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "Cache-Control": "no-cache",  # asked for again each time, and answered by the ETag
}


def routes() -> Router:
    """`/` is the planner's page, `/docs` the documentation, `/web/NAME` a file of either."""
    router = Router()
    # Read at start: no name that a client sends ever becomes a path.
    files = {f.name: _Answer(f) for f in WEB.iterdir() if f.suffix in TYPES}

    @router.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        return files["index.html"].to(request)

    @router.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return files["docs.html"].to(request)

    @router.get("/web/{name}", include_in_schema=False)
    async def file(request: Request, name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name].to(request)

    @router.post(
        "/v1/workbooks",
        summary="Tables as an Excel workbook",
        response_description="The .xlsx file.",
        response_class=Response,
        responses={
            200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
            **problems(400, 413, 415, 422),
        },
        tags=["files"],
    )
    async def workbooks(request: WorkbookRequest) -> Response:
        """The tables that are sent, a sheet each; no text becomes a formula or a link."""
        return Response(await on(LARGE, workbook, request.sheets), media_type=MEDIA_TYPE)

    return router


class _Answer:
    """A file in memory, sent when the client does not have it yet."""

    def __init__(self, path: Path) -> None:
        self._content, self._type = path.read_bytes(), TYPES[path.suffix]
        self._tag = f'"{sha256(self._content).hexdigest()[:16]}"'

    def to(self, request: Request) -> Response:
        headers = {**HEADERS, "ETag": self._tag}
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers=headers)
        return Response(self._content, media_type=self._type, headers=headers)
