"""A model's LoRA adapters over HTTP: those of the configuration, and those that are loaded and unloaded while it runs.

| route | body | answer |
|---|---|---|
| `GET /api/models/{model}/adapters` | | 200 `{"adapters": [{name, is_configured, num_ready}]}` |
| `POST /api/models/{model}/adapters` | `name`, `path` | 201 the adapter, once all actors have it; 409 `name_taken` |
| `DELETE /api/models/{model}/adapters/{adapter}` | | 204, also when it was gone already |

``path`` is a directory on the disks of the nodes, absolute. To load and to unload is an operator's act: who may upload
programs may do it. Turns that run with an adapter that is unloaded end with `unknown_adapter`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.http.bodies import Body, parse_body
from api.http.models import cluster_of
from api.http.operations import Operation
from api.http.paths import NAME
from api.http.responses import answer
from api.http.security import owner_of
from api.http.uploads import check_upload
from api.wire.views import AdaptersView, AdapterView

_PATH = f"/api/models/{{model:{NAME}}}/adapters"
_ACT = "adapters may be loaded"


class AdapterBody(Body):
    """``POST /api/models/{model}/adapters``: what sessions are to call it, and where it is."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^/\x00-\x1f\x7f]+$")]
    path: Annotated[str, StringConstraints(max_length=4096, pattern=r"^/[^\x00]*$")]


def adapter_routes() -> list[BaseRoute]:
    """The routes of adapters."""
    return [
        Operation("GET", _PATH, list_adapters, answers={200: AdaptersView}),
        Operation("POST", _PATH, load_adapter, takes=AdapterBody, answers={201: AdapterView}),
        Operation("DELETE", f"{_PATH}/{{adapter}}", unload_adapter, answers={204: None}),
    ]


async def list_adapters(request: Request) -> Response:
    owner_of(request)
    return answer(await _adapters(request))


async def load_adapter(request: Request) -> Response:
    owner_of(request)
    check_upload(request, _ACT)
    body = parse_body(AdapterBody, await request.body())
    await cluster_of(request).load_adapter(request.path_params["model"], body.name, body.path)
    found = [one for one in (await _adapters(request)).adapters if one.name == body.name]
    return answer(found[0] if found else AdapterView(name=body.name, is_configured=False, num_ready=0), 201)


async def unload_adapter(request: Request) -> Response:
    owner_of(request)
    check_upload(request, _ACT)
    await cluster_of(request).unload_adapter(request.path_params["model"], request.path_params["adapter"])
    return Response(status_code=204)


async def _adapters(request: Request) -> AdaptersView:
    infos = await cluster_of(request).adapters(request.path_params["model"])
    return AdaptersView(adapters=tuple(AdapterView.of(info) for info in infos))
