"""Agents over HTTP: which there are, and prompts to them. What a prompt begins: see ``api.http.thread_routes``.

| route | body | answer |
|---|---|---|
| `GET /api/agents` | | 200 `{agents: [{name, source}]}` that the caller can prompt |
| `POST /api/agents` | `source`, `file?` | 201 the same, of those that are written in the source |
| `DELETE /api/agents/{agent}` | | 204; threads that have begun go on with it |
| `POST /api/agents/{agent}/async_prompt` | `prompt`, `context_id?` or `context_keys?`, … | 202, see below |
| `POST /api/agents/{agent}/prompt` | the same | 200 `{blocks, run, thread_id, context_id}` once it has ended or asks |

A prompt is durable when it is answered, and goes on when its caller leaves: `{task: {id, state}, file: {id}, run_id,
thread_id, context_id, cursor, stream_url}`. With the header `Idempotency-Key` the same prompt again is the same run.
Without ``context_id`` and ``context_keys`` it begins a new thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.cluster import Cluster
from api.errors import InvalidRequest
from api.http.bodies import parse_body
from api.http.json_text import json_text
from api.http.operations import Operation
from api.http.security import owner_of
from api.http.thread_schemas import AgentsBody, PromptBody
from api.http.uploads import check_upload
from api.threads.contract import AgentInfo, Agents, BlockQuery, Outcome, ThreadHandle
from api.wire.thread_views import (
    AgentsView,
    AgentView,
    BegunView,
    BlockView,
    FileView,
    PromptedView,
    RunView,
    TaskView,
    plain,
)
from api.wire.views import View

WAIT_S = 600.0
"""For which ``prompt`` waits at most; the run goes on after it."""

MAX_KEY_CHARS = 256


def agent_routes() -> list[BaseRoute]:
    """Agents."""
    return [
        Operation("GET", "/api/agents", list_agents, answers={200: AgentsView}),
        Operation("POST", "/api/agents", upload_agents, takes=AgentsBody, answers={201: AgentsView}),
        Operation("DELETE", "/api/agents/{agent}", delete_agent, answers={204: None}),
        Operation("POST", "/api/agents/{agent}/prompt", prompt, takes=PromptBody, answers={200: PromptedView}),
        Operation("POST", "/api/agents/{agent}/async_prompt", async_prompt, takes=PromptBody, answers={202: BegunView}),
    ]


async def list_agents(request: Request) -> Response:
    return _agents_response(await agents_of(request).agents(owner_of(request)), 200)


async def upload_agents(request: Request) -> Response:
    owner = owner_of(request)
    check_upload(request)
    body = parse_body(AgentsBody, await request.body())
    return _agents_response(await agents_of(request).upload(body.source, body.file, owner), 201)


async def delete_agent(request: Request) -> Response:
    check_upload(request)
    await agents_of(request).remove(request.path_params["agent"], owner_of(request))
    return Response(status_code=204)


async def async_prompt(request: Request) -> Response:
    _, outcome = await _begin(request)
    run, cursor = outcome.run, outcome.cursor
    view = BegunView(
        task=TaskView(id=run.id, state=run.state),
        file=FileView(id=run.thread_id),
        run_id=run.id,
        thread_id=run.thread_id,
        context_id=run.context_id,
        cursor=cursor,
        stream_url=f"/api/threads/{run.thread_id}/stream?run_id={run.id}&after={quote(cursor)}",
    )
    return view_response(view, 202)


async def prompt(request: Request) -> Response:
    thread, outcome = await _begin(request)
    run = await thread.wait(outcome.run.id, WAIT_S)
    asked = BlockQuery(run.id, frozenset(("message",)), frozenset(("assistant",)), limit=1000)
    blocks, _ = await thread.blocks(asked)
    view = PromptedView(
        blocks=tuple(BlockView.of(block) for block in blocks),
        run=RunView.of(run),
        thread_id=run.thread_id,
        context_id=run.context_id,
    )
    return view_response(view)


async def _begin(request: Request) -> tuple[ThreadHandle, Outcome]:
    owner, key = owner_of(request), idempotency_key(request)
    body = parse_body(PromptBody, await request.body())
    thread = await agents_of(request).open(request.path_params["agent"], body.name, owner, key)
    return thread, await thread.prompt(body.command(), key)


def idempotency_key(request: Request) -> str | None:
    """What names the request, where it has a name.

    Raises:
        InvalidRequest: it is too long, or empty.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_KEY_CHARS:
        raise InvalidRequest(f"Idempotency-Key: 1 to {MAX_KEY_CHARS} characters are expected")
    return key


def view_response(view: View, status: int = 200) -> Response:
    """A view as the answer."""
    return Response(json_text(plain(view)), status, media_type="application/json")


def _agents_response(agents: Iterable[AgentInfo], status: int) -> Response:
    return view_response(AgentsView(agents=tuple(AgentView.of(agent) for agent in agents)), status)


def agents_of(request: Request) -> Agents:
    """The cluster's."""
    cluster: Cluster = request.app.state.cluster
    return cluster.agents
