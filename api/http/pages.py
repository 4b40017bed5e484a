"""The pages for chats, agents and inferlets: the files of ``api/pages``, served as they are; and the JavaScript client.

Every file has an entity tag of its content, so a browser asks each time and gets 304 until a new version is deployed.
The content security policy allows nothing but these files and this server.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.http.operations import Content, Operation

PAGES = Path(__file__).parents[1] / "pages"
CLIENT = PAGES / "client"

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
    """The pages, what they load from ``/pages/``, and ``/client.js``; read once, when this is called."""
    files = {path.name: _file(path.name, path.read_bytes()) for path in PAGES.iterdir() if path.suffix in _MEDIA_TYPES}
    client = _file("client.js", client_module().encode())

    async def show_chat(request: Request) -> Response:
        return _respond(request, files["index.html"])

    async def show_agents(request: Request) -> Response:
        return _respond(request, files["agents.html"])

    async def show_inferlets(request: Request) -> Response:
        return _respond(request, files["inferlets.html"])

    async def show_client(request: Request) -> Response:
        return _respond(request, client)

    async def show_file(request: Request) -> Response:
        file = files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return _respond(request, file)

    return [
        Operation("GET", "/", show_chat, answers=_of_type(".html"), is_open=True),
        Operation("GET", "/agents", show_agents, answers=_of_type(".html"), is_open=True),
        Operation("GET", "/inferlets", show_inferlets, answers=_of_type(".html"), is_open=True),
        Operation("GET", "/client.js", show_client, answers=_of_type(".js"), is_open=True),
        Operation("GET", "/pages/{name}", show_file, answers=_of_type(*_MEDIA_TYPES), is_open=True),
    ]


def _of_type(*suffixes: str) -> dict[int, Content]:
    """What files with these suffixes are answered with."""
    return {200: tuple(_MEDIA_TYPES[suffix].partition(";")[0] for suffix in suffixes), 304: None}


def client_module() -> str:
    """The JavaScript client as one module: the files of ``api/pages/client`` without their imports of each other.

    Only what ``client.js`` exports is exported, so the top-level names of all files must differ.
    """
    parts = sorted(CLIENT.glob("*.js"), key=lambda path: (path.name != "client.js", path.name))
    sources = [re.sub(r"^import .*\n", "", path.read_text(), flags=re.MULTILINE) for path in parts]
    inner = [re.sub(r"^export ", "", source, flags=re.MULTILINE) for source in sources[1:]]
    return "\n".join([sources[0], *inner])


def _file(name: str, content: bytes) -> PageFile:
    return PageFile(content, _MEDIA_TYPES[Path(name).suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _respond(request: Request, file: PageFile) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
