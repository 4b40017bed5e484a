"""Native sessions over HTTP. The conversation itself runs over a WebSocket: see ``api.http.session_socket``.

| route | body | answer |
|---|---|---|
| `GET /api/models` | | 200 `{"models": [...]}`, the default one first |
| `GET /api/sessions` | | 200 `{"sessions": [...]}`, the caller's own, the latest used first |
| `POST /api/sessions` | `model?`, `adapter?`, `retention?`, `max_context?`, `idle_timeout_s?`, `title?` | 201 session |
| `GET /api/sessions/{id}` | | 200 session, with its history |
| `PATCH /api/sessions/{id}` | `title` | 200 session, renamed |
| `DELETE /api/sessions/{id}` | | 204, also when it was gone already |
| `POST /api/sessions/{id}/fork` | `length?` or `turn_id?` | 201 the new session; 409 `turn_running`, without a length |
| `POST /api/sessions/{id}/rollback` | `length` or `turn_id` | 200 session; 409 `turn_running` |
| `WS /api/sessions/{id}` | | see ``api.http.session_socket`` |

A session is also a conversation of OpenAI's API, by the same id after `conv_`; both names are taken here.

A session is `{id, title, model, adapter, retention, length, max_context, resident_tokens, created_at, last_used_at,
running, turns}`, a turn `{turn_id, messages, prompt_text, text, base_length, end_length, finish: {reason, stop} | null,
usage}`. Lengths are tokens, times are seconds since the epoch. ``turn_id`` in a fork or a rollback means: right before
that turn. The system prompt is nothing special: it is the first message of the first turn. A retention is `{policy,
threshold?}`. A session's ``adapter`` is one of its model's `adapters`, for the session's life and its forks. A session
without a given title has one that is made from its first message ("" before that); a fork begins with its source's.

Errors are those of ``api.errors``, with the status that its tree gives.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute

from api.cluster import SessionHandle
from api.errors import SessionNotFound
from api.http.bodies import parse_body
from api.http.models import cluster_of
from api.http.operations import Operation
from api.http.responses import answer
from api.http.schemas import ForkBody, OpenSessionBody, RenameBody, RollbackBody
from api.http.security import owner_of
from api.http.session_socket import session_named, session_socket
from api.wire.views import ModelsView, ModelView, SessionsView, SessionView, SummaryView

_PATH = "/api/sessions/{session_id}"


def session_routes() -> list[BaseRoute]:
    """The native protocol's routes."""
    return [
        Operation("GET", "/api/models", list_models, answers={200: ModelsView}),
        Operation("GET", "/api/sessions", list_sessions, answers={200: SessionsView}),
        Operation("POST", "/api/sessions", open_session, takes=OpenSessionBody, answers={201: SessionView}),
        Operation("GET", _PATH, show_session, answers={200: SessionView}),
        Operation("PATCH", _PATH, rename_session, takes=RenameBody, answers={200: SessionView}),
        Operation("DELETE", _PATH, close_session, answers={204: None}),
        Operation("POST", f"{_PATH}/fork", fork_session, takes=ForkBody, answers={201: SessionView}),
        Operation("POST", f"{_PATH}/rollback", roll_session_back, takes=RollbackBody, answers={200: SessionView}),
        WebSocketRoute(_PATH, session_socket),
    ]


async def list_models(request: Request) -> Response:
    owner_of(request)
    models = await cluster_of(request).models()
    return answer(ModelsView(models=tuple(ModelView.of(model) for model in models)))


async def list_sessions(request: Request) -> Response:
    summaries = await cluster_of(request).sessions(owner_of(request))
    return answer(SessionsView(sessions=tuple(SummaryView.of(summary) for summary in summaries)))


async def open_session(request: Request) -> Response:
    owner = owner_of(request)
    options = parse_body(OpenSessionBody, await request.body()).options()
    handle = await cluster_of(request).open_session(options, owner)
    return await _described(handle, 201, {"Location": f"{request.url.path}/{handle.session_id}"})


async def show_session(request: Request) -> Response:
    return await _described(await _session(request))


async def rename_session(request: Request) -> Response:
    handle = await _session(request)
    await handle.rename(parse_body(RenameBody, await request.body()).title)
    return await _described(handle)


async def close_session(request: Request) -> Response:
    try:
        await (await _session(request)).close()
    except SessionNotFound:
        pass
    return Response(status_code=204)


async def fork_session(request: Request) -> Response:
    handle = await _session(request)
    body = parse_body(ForkBody, await request.body())
    return await _described(await handle.fork(body.length, before=body.turn_id), 201)


async def roll_session_back(request: Request) -> Response:
    handle = await _session(request)
    body = parse_body(RollbackBody, await request.body())
    await handle.rollback(body.length, before=body.turn_id)
    return await _described(handle)


async def _session(request: Request) -> SessionHandle:
    return await cluster_of(request).session(session_named(request.path_params["session_id"]), owner_of(request))


async def _described(handle: SessionHandle, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return answer(SessionView.of(await handle.describe()), status, headers)
