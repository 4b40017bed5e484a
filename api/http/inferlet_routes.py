"""Inferlets over HTTP. Talking to one over a WebSocket: see ``api.http.inferlet_socket``.

| route | body | answer |
|---|---|---|
| `POST /api/programs` | `source`, `file?` | 201 `{program, file}`: ``program`` is the source's SHA-256 |
| `GET /api/programs` | | 200 `{"programs": [...]}` that the caller can launch |
| `POST /api/inferlets` | `program`, `arguments?`, `name?`, `request_id?` | 201 inferlet |
| `GET /api/inferlets` | | 200 `{"inferlets": [...]}`, the caller's own, the latest used first |
| `GET /api/inferlets/{id}` | | 200 inferlet |
| `DELETE /api/inferlets/{id}` | | 200 inferlet, ended; its events stay readable for a while |
| `POST /api/inferlets/{id}/messages` | `text`, `bytes` (base64) or `json`; `key?` | 202 `{position}` |
| `GET /api/inferlets/{id}/events?after=` | | 200 server-sent events, after `after` or `Last-Event-ID`; 204: no more |
| `WS /api/inferlets/{id}?after=` | | see ``api.http.inferlet_socket`` |

An event is `{type, position, …}` as ``api.inferlet_events`` has it; its position is its id. The stream ends with the
inferlet. A message with the ``key`` of an earlier one is that message: it is safe to repeat; an
inferlet that has ended takes no others (409 `inferlet_ended`). So is a launch with a ``request_id``: the same again,
from the same caller, is the inferlet that it launched.

Errors are those of ``api.errors``, with the status that its tree gives.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute

from api.errors import GreenroomError, InvalidRequest
from api.http.bodies import parse_body
from api.http.event_stream import KEEP_ALIVE, KEEP_ALIVE_S, EventStream, error_text, event_text
from api.http.inferlet_socket import inferlet_socket, position_of
from api.http.models import cluster_of
from api.http.operations import EVENTS, JsonObject, Operation
from api.http.responses import answer
from api.http.schemas import LaunchBody, ProgramBody
from api.http.security import owner_of
from api.http.uploads import check_upload
from api.inferlet_events import Event, event_view
from api.inferlets import InferletHandle, ProgramInfo
from api.values import from_json
from api.wire.inferlet_views import (
    AcceptedView,
    InferletSummaryView,
    InferletsView,
    InferletView,
    ProgramsView,
    ProgramView,
)

_PATH = "/api/inferlets/{instance_id}"


def inferlet_routes() -> list[BaseRoute]:
    """Programs and inferlets."""
    return [
        Operation("POST", "/api/programs", upload_program, takes=ProgramBody, answers={201: ProgramView}),
        Operation("GET", "/api/programs", list_programs, answers={200: ProgramsView}),
        Operation("POST", "/api/inferlets", launch, takes=LaunchBody, answers={201: InferletView}),
        Operation("GET", "/api/inferlets", list_inferlets, answers={200: InferletsView}),
        Operation("GET", _PATH, show_inferlet, answers={200: InferletView}),
        Operation("DELETE", _PATH, terminate, answers={200: InferletView}),
        Operation("POST", f"{_PATH}/messages", send_message, takes=JsonObject, answers={202: AcceptedView}),
        Operation("GET", f"{_PATH}/events", show_events, query={"after": int}, answers={200: EVENTS, 204: None}),
        WebSocketRoute(_PATH, inferlet_socket),
    ]


async def upload_program(request: Request) -> Response:
    owner = owner_of(request)
    check_upload(request)
    body = parse_body(ProgramBody, await request.body())
    program = await cluster_of(request).upload_program(body.source, body.file, owner)
    return answer(ProgramView.of(ProgramInfo(program, body.file)), 201)


async def list_programs(request: Request) -> Response:
    programs = await cluster_of(request).programs(owner_of(request))
    return answer(ProgramsView(programs=tuple(ProgramView.of(program) for program in programs)))


async def launch(request: Request) -> Response:
    owner = owner_of(request)
    body = parse_body(LaunchBody, await request.body())
    handle = await cluster_of(request).launch(body.program, body.arguments, owner, body.name, body.request_id)
    return await _described(handle, 201, {"Location": f"{request.url.path}/{handle.instance_id}"})


async def list_inferlets(request: Request) -> Response:
    found = await cluster_of(request).inferlets(owner_of(request))
    return answer(InferletsView(inferlets=tuple(InferletSummaryView.of(summary) for summary in found)))


async def show_inferlet(request: Request) -> Response:
    return await _described(await _inferlet(request))


async def terminate(request: Request) -> Response:
    handle = await _inferlet(request)
    await handle.terminate()
    return await _described(handle)


async def send_message(request: Request) -> Response:
    handle = await _inferlet(request)
    body = _object(await request.body())
    key = body.get("key")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= 200):
        raise InvalidRequest("key: a string of 1 to 200 characters is expected")
    return answer(AcceptedView(position=await handle.send(from_json(body), key)), 202)


async def show_events(request: Request) -> Response:
    handle = await _inferlet(request)
    after = position_of(request.headers.get("last-event-id") or request.query_params.get("after"))
    described = await handle.describe()
    if described.is_over and after + 1 == described.end_position:
        return Response(status_code=204)  # which keeps a browser's EventSource from coming back
    if after >= described.end_position:
        raise InvalidRequest(f"after: there is no event {after}, the next one is {described.end_position}")
    return EventStream(_texts(handle.events(after)))


async def _texts(events: AsyncIterator[Event]) -> AsyncGenerator[str]:
    """Events as they come, and comments while none do."""
    following = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait([following], timeout=KEEP_ALIVE_S)
            if not following.done():
                yield KEEP_ALIVE
                continue
            event = following.result()
            if event is None:
                return
            yield event_text("message", event_view(event), str(event.position))
            following = asyncio.ensure_future(anext(events, None))
    except GreenroomError as error:
        yield error_text(error)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidRequest("the body is a JSON object")
    return body


async def _inferlet(request: Request) -> InferletHandle:
    return await cluster_of(request).inferlet(request.path_params["instance_id"], owner_of(request))


async def _described(handle: InferletHandle, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return answer(InferletView.of(await handle.describe()), status, headers)
