"""Threads over HTTP: their runs, and what happens in them. Prompts: see ``api.http.agent_routes``.

| route | body or query | answer |
|---|---|---|
| `GET /api/threads` | `agent`, `context_id` | 200 `{threads}`, the caller's own, the latest used first |
| `GET /api/threads/{id}` | | 200 `{thread}` |
| `POST /api/threads/{id}/fork` | `after`: a block's id or seq, or 0 | 201 `{thread}`, a new one; 409 at an open block |
| `POST /api/threads/{id}/typing` | | 204; the user has begun to type, and the thread's actor is there for the prompt |
| `DELETE /api/threads/{id}` | | 204; it is 410 from then on |
| `GET /api/threads/{id}/blocks` | `run_id, kinds, roles, after, before, limit, order, children` | 200 `{blocks, …}` |
| `GET /api/threads/{id}/stream` | `after, run_id, kinds, deltas, children` | 200 server-sent events, see below |
| `GET /api/runs` | `state, agent, after, limit` | 200 `{runs, next}`, the caller's own, see below |
| `GET /api/runs/{id}` | | 200 `{run}` |
| `GET /api/runs/{id}/wait` | `timeout_s` | 200 `{run}`, once it has ended or waits for an answer, or in time |
| `POST /api/runs/{id}/cancel` | `mode?`: keep or rollback | 202 `{run}` |
| `POST /api/runs/{id}/answers` | `answers: [{ask_id, approve?, value?, reason?}]` | 202 `{run}` |
| `POST /api/runs/{id}/steer` | `prompt` | 202 `{run}` |

`GET /api/runs` has the runs of all threads, but for those that other runs began, the newest first, with the beginnings
of their prompts and without metadata. A page can be short where ``agent`` is asked for; ``next`` is null after the
last.

A fork has the blocks up to ``after``, with ids of its own, and knows them; what came later is left out. With the header
`Idempotency-Key` the same fork again is the same thread.

`/api/files` is `/api/threads`, and `/api/tasks` is `/api/runs`. Blocks are by default the transcript: messages of user
and assistant. Events are `block.created`, `block.completed` (`{seq, block}`), `run.updated`, `run.ended` (`{seq, run}`)
and `block.delta` (`{block_id, run_id, part, offset, text}`, the offset in UTF-8 bytes). The id of an event is where to
go on after it, as ``after`` or `Last-Event-ID`; nothing is missed or repeated. A reader that has not taken an event for
a minute gets `lagged`, with `{after}` to go on at, and the stream ends. With ``run_id`` the stream ends with the
run. Runs that other runs began, by calls of agents, are left out unless their own ``run_id`` or ``children=true`` is
asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.errors import GreenroomError, RunNotFound, ThreadDeleted, ThreadNotFound
from api.http.agent_routes import agents_of, idempotency_key, view_response
from api.http.bodies import parse_body
from api.http.event_stream import EventStream, error_text, event_text, kept_alive
from api.http.operations import EVENTS, Operation
from api.http.security import owner_of
from api.http.thread_queries import one_of, time_and_id, timeout_of, whole_number, words
from api.http.thread_schemas import AnswersBody, CancelBody, ForkThreadBody, SteerBody
from api.threads.blocks import KINDS, ROLES, thread_of
from api.threads.contract import BlockQuery, StreamQuery, ThreadEvent, ThreadHandle
from api.threads.positions import Position
from api.threads.runs import STATES, Run, RunState
from api.wire.thread_views import (
    BlocksView,
    BlockView,
    OneRunView,
    OneThreadView,
    RunsView,
    RunView,
    ThreadsView,
    ThreadView,
    event_view,
)

MAX_LIMIT = 1000
MAX_SEQ = 10**15

MAX_LAG_S = 60.0
"""A reader that takes so long for one event has its place among the streams no longer."""

Number = Annotated[int, Field(ge=0)]

_STREAM_QUERY = {"after": str, "run_id": str, "kinds": str, "deltas": bool, "children": bool}
_BLOCK_QUERY = {
    **{"run_id": str, "kinds": str, "roles": str},
    **{"after": Number, "before": Number, "limit": Number, "order": Literal["asc", "desc"], "children": bool},
}

_RUN_QUERY = {"state": RunState, "agent": str, "after": str, "limit": Number}


def thread_routes() -> list[BaseRoute]:
    """Threads and runs."""
    return [
        *(route for name in ("threads", "files") for route in _of_threads(f"/api/{name}")),
        *(route for name in ("runs", "tasks") for route in _of_runs(f"/api/{name}")),
    ]


def _of_threads(every: str) -> list[BaseRoute]:
    one = f"{every}/{{thread_id}}"
    return [
        Operation("GET", every, list_threads, query={"agent": str, "context_id": str}, answers={200: ThreadsView}),
        Operation("GET", one, show_thread, answers={200: OneThreadView}),
        Operation("POST", f"{one}/fork", fork_thread, takes=ForkThreadBody, answers={201: OneThreadView}),
        Operation("POST", f"{one}/typing", type_in_thread, answers={204: None}),
        Operation("DELETE", one, delete_thread, answers={204: None}),
        Operation("GET", f"{one}/blocks", list_blocks, query=_BLOCK_QUERY, answers={200: BlocksView}),
        Operation("GET", f"{one}/stream", stream, query=_STREAM_QUERY, answers={200: EVENTS}),
    ]


def _of_runs(every: str) -> list[BaseRoute]:
    run = f"{every}/{{run_id}}"
    return [
        Operation("GET", every, list_runs, query=_RUN_QUERY, answers={200: RunsView}),
        Operation("GET", run, show_run, answers={200: OneRunView}),
        Operation("GET", f"{run}/wait", wait, query={"timeout_s": float}, answers={200: OneRunView}),
        Operation("POST", f"{run}/cancel", cancel, takes=CancelBody, answers={202: OneRunView}),
        Operation("POST", f"{run}/answers", answer, takes=AnswersBody, answers={202: OneRunView}),
        Operation("POST", f"{run}/steer", steer, takes=SteerBody, answers={202: OneRunView}),
    ]


async def list_threads(request: Request) -> Response:
    query = request.query_params
    asked = {name: query[name] for name in ("agent", "context_id") if name in query}
    found = await agents_of(request).threads(owner_of(request))
    threads = [one for one in found if all(getattr(one, name) == value for name, value in asked.items())]
    return view_response(ThreadsView(threads=tuple(ThreadView.of(thread) for thread in threads)))


async def show_thread(request: Request) -> Response:
    return view_response(OneThreadView(thread=ThreadView.of(await (await _thread(request)).describe())))


async def fork_thread(request: Request) -> Response:
    owner, thread_id, key = owner_of(request), request.path_params["thread_id"], idempotency_key(request)
    body = parse_body(ForkThreadBody, await request.body())
    fork = await agents_of(request).fork(thread_id, body.after, owner, key)
    return view_response(OneThreadView(thread=ThreadView.of(await fork.describe())), 201)


async def type_in_thread(request: Request) -> Response:
    await _thread(request)  # where it is found, its actor is
    return Response(status_code=204)


async def delete_thread(request: Request) -> Response:
    await (await _thread(request)).delete()
    return Response(status_code=204)


async def list_blocks(request: Request) -> Response:
    thread, query = await _thread(request), request.query_params
    asked = BlockQuery(
        query.get("run_id"),
        words("kinds", query, KINDS),
        words("roles", query, ROLES),
        whole_number("after", query, 0, MAX_SEQ) or 0,
        whole_number("before", query, 0, MAX_SEQ),
        whole_number("limit", query, 1, MAX_LIMIT) or 100,
        one_of("order", query, ("asc", "desc")) == "desc",
        one_of("children", query, ("false", "true")) == "true",
    )
    blocks, has_more = await thread.blocks(asked)
    return view_response(BlocksView(blocks=tuple(BlockView.of(block) for block in blocks), has_more=has_more))


async def stream(request: Request) -> Response:
    thread, query = await _thread(request), request.query_params
    after = request.headers.get("last-event-id") or query.get("after")
    has_deltas = one_of("deltas", query, ("true", "false")) == "true"
    has_children = one_of("children", query, ("false", "true")) == "true"
    asked = StreamQuery(query.get("run_id"), words("kinds", query, KINDS), has_deltas, has_children)
    Position.of(after)
    if asked.run_id is not None:
        await thread.run(asked.run_id)
    return EventStream(kept_alive(_texts(thread.stream(after, asked))))


async def list_runs(request: Request) -> Response:
    query, limit = request.query_params, whole_number("limit", request.query_params, 1, MAX_LIMIT) or 100
    state = next(iter(words("state", query, STATES, most=1)), None)
    runs = await agents_of(request).runs(owner_of(request), state, time_and_id("after", query), limit)
    last = runs[-1] if len(runs) == limit else None
    shown = tuple(RunView.of(run) for run in runs if query.get("agent", run.agent) == run.agent)
    return view_response(RunsView(runs=shown, next=last and f"{last.created_at!r}~{last.id}"))


async def show_run(request: Request) -> Response:
    return _run_response(await (await _thread_of_run(request)).run(_run_id(request)), 200)


async def wait(request: Request) -> Response:
    thread = await _thread_of_run(request)
    return _run_response(await thread.wait(_run_id(request), timeout_of(request.query_params)), 200)


async def cancel(request: Request) -> Response:
    thread = await _thread_of_run(request)
    body = parse_body(CancelBody, await request.body() or b"{}")
    return _run_response(await thread.cancel(_run_id(request), body.mode))


async def answer(request: Request) -> Response:
    thread = await _thread_of_run(request)
    body = parse_body(AnswersBody, await request.body())
    return _run_response(await thread.answer(_run_id(request), tuple(one.given() for one in body.answers)))


async def steer(request: Request) -> Response:
    thread = await _thread_of_run(request)
    body = parse_body(SteerBody, await request.body())
    return _run_response(await thread.steer(_run_id(request), body.prompt))


async def _texts(events: AsyncIterator[ThreadEvent]) -> AsyncGenerator[str]:
    clock = asyncio.get_running_loop().time
    try:
        async for event in events:
            told_at = clock()
            yield event_text(event.name, event_view(event), event.position)
            if clock() - told_at > MAX_LAG_S:
                yield event_text("lagged", {"after": event.position}, event.position)
                return
    except GreenroomError as error:
        yield error_text(error)


async def _thread(request: Request) -> ThreadHandle:
    return await agents_of(request).thread(request.path_params["thread_id"], owner_of(request))


async def _thread_of_run(request: Request) -> ThreadHandle:
    owner, run_id = owner_of(request), _run_id(request)
    try:
        return await agents_of(request).thread(thread_of(run_id), owner)
    except (ThreadNotFound, ThreadDeleted):
        raise RunNotFound(run_id) from None


def _run_id(request: Request) -> str:
    run_id: str = request.path_params["run_id"]
    return run_id


def _run_response(run: Run, status: int = 202) -> Response:
    return view_response(OneRunView(run=RunView.of(run)), status)
