"""OpenAI's Responses.

| route | |
|---|---|
| `POST /v1/responses` | a response, streamed or not: see ``api.http.openai.responses.schemas`` |
| `POST /v1/responses/input_tokens` | how many tokens the input of the same body comes to |
| `POST /v1/responses/compact` | what was said as one item: see ``api.http.openai.responses.compaction`` |
| `WS /v1/responses` | responses over one connection: see ``api.http.openai.responses.socket`` |
| `GET /v1/responses/{id}` | as it is now; with `?stream=true&starting_after=n` its events after number ``n`` |
| `DELETE /v1/responses/{id}` | it is found no longer; those that go on from it stay whole |
| `POST /v1/responses/{id}/cancel` | ends it within a step, if it runs or waits |
| `GET /v1/responses/{id}/input_items` | the items of its own input, a page of them |

A response is a turn. With ``store``, which is the default, it is one of a session, goes on when its client leaves, and
is found again on every gateway and after every crash. Without, its client's leaving ends it. Of
``model: "agent/NAME"`` see ``api.http.openai.agents.responses``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.cluster import Cluster
from api.errors import SessionNotFound, TurnNotFound
from api.http.disconnects import while_connected
from api.http.event_stream import EventStream, kept_alive
from api.http.json_text import json_text
from api.http.limits import become_stream
from api.http.openai.agents.left_out import left_out
from api.http.openai.agents.models import agent_of
from api.http.openai.agents.response_ids import AgentResponse
from api.http.openai.agents.responses import AgentResponses
from api.http.openai.responses.compaction import compact
from api.http.openai.responses.conversation import find_conversation
from api.http.openai.responses.creation import Creation
from api.http.openai.responses.draft import Draft
from api.http.openai.responses.drafting import drafted, drafted_for_agent
from api.http.openai.responses.items import messages_of
from api.http.openai.responses.pages import PAGE_QUERY, number_of, page_of
from api.http.openai.responses.said import said_until
from api.http.openai.responses.schemas import ResponseBody
from api.http.openai.responses.stored import Stored, find_response, previous_response
from api.http.openai.responses.stream import event_texts
from api.http.openai.schemas import parse_body
from api.http.openai.warnings import with_warnings
from api.http.operations import EVENTS, JsonObject, Operation
from api.http.security import owner_of
from api.http.settings import settings_of
from api.turns import Message

Result = TypeVar("Result")

_PATH = "/v1/responses/{response_id}"
_FOUND, _MADE = {200: JsonObject}, {200: (JsonObject, EVENTS)}


def response_routes() -> list[BaseRoute]:
    """The routes under ``/v1/responses``."""
    return [
        Operation("POST", "/v1/responses", create_response, takes=ResponseBody, answers=_MADE),
        Operation("POST", "/v1/responses/input_tokens", count_input_tokens, takes=ResponseBody, answers=_FOUND),
        Operation("POST", "/v1/responses/compact", compact_response, takes=ResponseBody, answers=_FOUND),
        Operation("GET", _PATH, show_response, query={"stream": bool, "starting_after": int}, answers=_MADE),
        Operation("DELETE", _PATH, delete_response, answers=_FOUND),
        Operation("POST", f"{_PATH}/cancel", cancel_response, answers=_FOUND),
        Operation("GET", f"{_PATH}/input_items", list_input_items, query=PAGE_QUERY, answers=_FOUND),
    ]


async def create_response(request: Request) -> Response:
    """``POST /v1/responses``."""
    owner, settings = owner_of(request), settings_of(request)
    body = parse_body(ResponseBody, await request.body())
    if agent := agent_of(body.model):
        draft = await while_connected(request, drafted_for_agent(cluster_of(request), body, owner, settings))
        answer = await _of_agents(request).create(request, body, draft, agent)
        return with_warnings(answer, (*draft.warnings, *left_out(body)))
    draft = await _drafted(request, body)
    del body  # it might be large, and the answer might take long
    is_queued = bool(draft.fields["background"]) and not draft.is_streamed
    creation = Creation(cluster_of(request), owner, settings.openai.retention_s, is_queued)
    if draft.is_streamed:
        become_stream(request.scope)
    begun = creation.begin(draft)
    reading = await while_connected(request, whole_even_if_cancelled(begun) if draft.is_stored else begun)
    if draft.is_streamed:
        texts = kept_alive(event_texts(reading))
        answer = EventStream(texts, await anext(texts))
    else:
        answer = json_answer(reading.view() if is_queued else await while_connected(request, reading.whole()))
    return with_warnings(answer, (*draft.warnings, *reading.warnings))


async def count_input_tokens(request: Request) -> Response:
    """``POST /v1/responses/input_tokens``: what the same body would be charged with for its input, all told anew."""
    draft = await _drafted(request)
    draft = replace(draft, fields={**draft.fields, "store": False})
    retention_s = settings_of(request).openai.retention_s
    creation = Creation(cluster_of(request), owner_of(request), retention_s, is_queued=False)
    reading = await while_connected(request, creation.begin(draft))
    await reading.leave()
    return json_answer({"object": "response.input_tokens", "input_tokens": reading.num_input})


async def compact_response(request: Request) -> Response:
    """``POST /v1/responses/compact``."""
    draft = await _drafted(request)
    return json_answer(await while_connected(request, _compacted(cluster_of(request), draft, owner_of(request))))


async def _drafted(request: Request, body: ResponseBody | None = None) -> Draft:
    owner, hint = owner_of(request), request.headers.get("session-id", "")
    body = body or parse_body(ResponseBody, await request.body())
    return await while_connected(request, drafted(cluster_of(request), body, owner, settings_of(request), hint))


async def _compacted(cluster: Cluster, draft: Draft, owner: str) -> dict[str, Any]:
    return await compact(cluster, draft, await _said_before(cluster, draft, owner), owner)


async def _said_before(cluster: Cluster, draft: Draft, owner: str) -> tuple[Message, ...]:
    if (joined := draft.fields["conversation"]) is not None:
        return messages_of(await (await find_conversation(cluster, joined["id"], owner)).all_items())
    previous = await previous_response(cluster, draft.fields["previous_response_id"], owner)
    return await said_until(await previous.ended()) if previous else ()


async def show_response(request: Request) -> Response:
    """``GET /v1/responses/{id}``, and its events with ``?stream=true``."""
    query = request.query_params
    is_streamed = query.get("stream", "").lower() in ("true", "1")
    if of_agent := AgentResponse.of(request.path_params["response_id"]):
        agents = _of_agents(request)
        if not is_streamed:
            return await while_connected(request, agents.show(of_agent))
        after = number_of(query.get("starting_after"), "starting_after", -1)
        become_stream(request.scope)
        return EventStream(kept_alive(await while_connected(request, agents.events(of_agent, after))))
    stored = await _found(request)
    if not is_streamed:
        return json_answer(await stored.view())
    after = number_of(query.get("starting_after"), "starting_after", -1)
    become_stream(request.scope)
    texts = kept_alive(event_texts(await while_connected(request, stored.reading(after))))
    return EventStream(texts, await anext(texts))


async def delete_response(request: Request) -> Response:
    """``DELETE /v1/responses/{id}``; a running one is cancelled."""
    response_id = request.path_params["response_id"]
    if of_agent := AgentResponse.of(response_id):
        await _of_agents(request).delete(of_agent)
    else:
        stored = await _found(request)
        with suppress(SessionNotFound, TurnNotFound):  # it was there before: another call has deleted it, or this one
            await stored.session.hide(stored.id)
    return json_answer({"id": response_id, "object": "response.deleted", "deleted": True})


async def cancel_response(request: Request) -> Response:
    """``POST /v1/responses/{id}/cancel``; one that has ended is not changed."""
    if of_agent := AgentResponse.of(request.path_params["response_id"]):
        return await while_connected(request, _of_agents(request).cancel(of_agent))
    stored = await _found(request)
    if not stored.is_ended:
        await stored.session.cancel(stored.id)
    return json_answer(await while_connected(request, _ended_view(stored)))


async def _ended_view(stored: Stored) -> dict[str, Any]:
    return await (await stored.ended()).view()


async def list_input_items(request: Request) -> Response:
    """``GET /v1/responses/{id}/input_items``: its own, the newest first."""
    if of_agent := AgentResponse.of(request.path_params["response_id"]):
        return await _of_agents(request).input_items(of_agent, request.query_params)
    stored = await _found(request)
    return json_answer(page_of(stored.note.items, request.query_params))


async def _found(request: Request) -> Stored:
    return await find_response(cluster_of(request), request.path_params["response_id"], owner_of(request))


async def whole_even_if_cancelled(work: Awaitable[Result]) -> Result:
    """Do the work to its end, also where nobody waits for it any longer."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def json_answer(view: dict[str, Any]) -> Response:
    """A body that is an object."""
    return Response(json_text(view), media_type="application/json")


def _of_agents(request: Request) -> AgentResponses:
    return AgentResponses(cluster_of(request), owner_of(request), settings_of(request).openai.retention_s)


def cluster_of(request: Request) -> Cluster:
    """The cluster."""
    cluster: Cluster = request.app.state.cluster
    return cluster
