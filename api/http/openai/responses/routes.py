"""OpenAI's Responses.

| route | |
|---|---|
| `POST /v1/responses` | a response, streamed or not: see ``api.http.openai.responses.schemas`` |

A response is a turn. With ``store``, which is the default, it is one of a session, goes on when its client leaves, and
is found again on every gateway and after every crash. Without, its client's leaving ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.cluster import Cluster
from api.errors import TooLarge
from api.http.disconnects import while_connected
from api.http.event_stream import EventStream
from api.http.json_text import json_text
from api.http.limits import become_stream
from api.http.openai.models import find_model
from api.http.openai.responses.creation import begin_stored, begin_unstored
from api.http.openai.responses.draft import Draft, draft_of
from api.http.openai.responses.errors import ItemNotFound
from api.http.openai.responses.items import Item, num_chars
from api.http.openai.responses.reading import Reading
from api.http.openai.responses.schemas import ResponseBody
from api.http.openai.responses.stream import event_texts
from api.http.openai.schemas import parse_body
from api.http.security import owner_of
from api.settings import ApiSettings

Result = TypeVar("Result")


def response_routes() -> list[BaseRoute]:
    """The routes under ``/v1/responses``."""
    return [Route("/v1/responses", create_response, methods=["POST"])]


async def create_response(request: Request) -> Response:
    """``POST /v1/responses``."""
    owner, cluster = owner_of(request), cluster_of(request)
    settings: ApiSettings = request.app.state.settings
    body = parse_body(ResponseBody, await request.body())
    draft = await _drafted(cluster, body, settings)
    if body.stream:
        become_stream(request.scope)
    reading = await while_connected(request, _begun(cluster, draft, owner, settings))
    if body.stream:
        texts = event_texts(reading)
        answer: Response = EventStream(texts, await anext(texts))
    else:
        answer = json_answer(await while_connected(request, reading.whole()))
    for warning in (*draft.warnings, *reading.warnings):
        answer.headers.append("Warning", f'199 greenroom "{quotable(warning)}"')
    return answer


async def _drafted(cluster: Cluster, body: ResponseBody, settings: ApiSettings) -> Draft:
    body.check()
    items: list[Item] = []
    for entry in body.entries():
        if isinstance(entry, str):
            raise ItemNotFound(entry)
        items.append(entry)
    if num_chars(items) + len(body.instructions or "") > settings.max_prompt_chars:
        raise TooLarge(f"the input has more than {settings.max_prompt_chars} characters")
    return draft_of(body, items, await find_model(cluster, body.model))


async def _begun(cluster: Cluster, draft: Draft, owner: str, settings: ApiSettings) -> Reading:
    if not draft.is_stored:
        return await begin_unstored(cluster, draft, owner)
    return await whole_even_if_cancelled(begin_stored(cluster, draft, owner, settings.openai.retention_s))


async def whole_even_if_cancelled(work: Awaitable[Result]) -> Result:
    """Do the work to its end, also where nobody waits for it any longer."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def quotable(text: str) -> str:
    """A text that can stand between quotes in a header."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return "".join("'" if one in '"\\' else one for one in plain if one.isprintable())[:1000]


def json_answer(view: dict[str, Any]) -> Response:
    """A body that is an object."""
    return Response(json_text(view), media_type="application/json")


def cluster_of(request: Request) -> Cluster:
    """The cluster."""
    cluster: Cluster = request.app.state.cluster
    return cluster
