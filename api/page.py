"""The chat page: the files of ``api/pages``, served as they are.

Every file has an entity tag of its content, so a browser asks each time and gets 304 until a new version is deployed.
The content security policy allows nothing but these files and this server.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

PAGES = Path(__file__).parent / "pages"

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file in memory."""

    content: bytes
    media_type: str
    etag: str


def page_routes() -> list[BaseRoute]:
    """``/`` and the files that it loads, from ``/pages/``; read once, when this is called."""
    files = {path.name: _read(path) for path in sorted(PAGES.iterdir()) if path.suffix in _MEDIA_TYPES}

    async def show_index(request: Request) -> Response:
        return _respond(request, files["index.html"])

    async def show_file(request: Request) -> Response:
        file = files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return _respond(request, file)

    return [Route("/", show_index), Route("/pages/{name}", show_file)]


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    return PageFile(content, _MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _respond(request: Request, file: PageFile) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
