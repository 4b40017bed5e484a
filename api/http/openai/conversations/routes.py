"""OpenAI's Conversations.

| route | |
|---|---|
| `POST /v1/conversations` | a new one, with ``items`` and ``metadata`` |
| `GET`, `POST`, `DELETE /v1/conversations/{id}` | show it; change its ``metadata``; delete it, but for its responses |
| `GET /v1/conversations/{id}/items` | a page of its items, the newest first |
| `POST /v1/conversations/{id}/items` | add items, which the next response reads |
| `GET`, `DELETE /v1/conversations/{id}/items/{item}` | show it; delete it: the next response does not read it |

A conversation is a session, and every session is one: `conv_` and its id. What is said in it over any other way (the
page, `greenroom chat`, a socket) is among its items. ``conversation`` of `POST /v1/responses` says to go on in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.errors import SessionNotFound
from api.http.disconnects import while_connected
from api.http.openai.conversations import changes
from api.http.openai.conversations.schemas import ConversationBody, ItemsBody, UpdateBody
from api.http.openai.envelope import InvalidField
from api.http.openai.responses.conversation import Conversation, find_conversation
from api.http.openai.responses.errors import ConversationNotFound
from api.http.openai.responses.items import InputItem, Item, entries_of
from api.http.openai.responses.pages import PAGE_QUERY, PageQuery, page_view
from api.http.openai.responses.references import resolved
from api.http.openai.responses.routes import cluster_of, json_answer, whole_even_if_cancelled
from api.http.openai.responses.schemas import LOGPROBS
from api.http.openai.schemas import parse_body
from api.http.operations import JsonObject, Operation
from api.http.security import owner_of
from api.http.settings import settings_of

Result = TypeVar("Result")

INCLUDABLE = frozenset(
    {
        "code_interpreter_call.outputs",
        "computer_call_output.output.image_url",
        "file_search_call.results",
        "message.input_image.image_url",
        LOGPROBS,
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
        "web_search_call.results",
    }
)
"""What OpenAI's API can be asked to include in items."""


_PATH = "/v1/conversations/{conversation_id}"
_ITEM = f"{_PATH}/items/{{item_id}}"
_ANSWERS = {200: JsonObject}
_INCLUDE = {"include": str}


def conversation_routes() -> list[BaseRoute]:
    """The routes under ``/v1/conversations``."""
    page = {**PAGE_QUERY, **_INCLUDE}
    return [
        Operation("POST", "/v1/conversations", create_conversation, takes=ConversationBody, answers=_ANSWERS),
        Operation("GET", _PATH, show_conversation, answers=_ANSWERS),
        Operation("POST", _PATH, update_conversation, takes=UpdateBody, answers=_ANSWERS),
        Operation("DELETE", _PATH, delete_conversation, answers=_ANSWERS),
        Operation("GET", f"{_PATH}/items", list_items, query=page, answers=_ANSWERS),
        Operation("POST", f"{_PATH}/items", create_items, takes=ItemsBody, query=_INCLUDE, answers=_ANSWERS),
        Operation("GET", _ITEM, show_item, query=_INCLUDE, answers=_ANSWERS),
        Operation("DELETE", _ITEM, delete_item, answers=_ANSWERS),
    ]


async def create_conversation(request: Request) -> Response:
    """``POST /v1/conversations``."""
    owner, cluster = owner_of(request), cluster_of(request)
    body = parse_body(ConversationBody, await request.body() or b"{}")
    items = await _items(request, body.items or ())
    made = changes.make(cluster, owner, settings_of(request).openai.retention_s, items, body.metadata or {})
    return json_answer((await while_connected(request, whole_even_if_cancelled(made))).view())


async def show_conversation(request: Request) -> Response:
    """``GET /v1/conversations/{id}``."""
    return json_answer((await _found(request)).view())


async def update_conversation(request: Request) -> Response:
    """``POST /v1/conversations/{id}``."""
    conversation = await _found(request)
    metadata = parse_body(UpdateBody, await request.body()).metadata or {}
    return json_answer((await _changed(request, changes.describe(conversation, metadata))).view())


async def delete_conversation(request: Request) -> Response:
    """``DELETE /v1/conversations/{id}``."""
    conversation = await _found(request)
    await _changed(request, changes.delete(conversation))
    return json_answer({"id": conversation.id, "object": "conversation.deleted", "deleted": True})


async def list_items(request: Request) -> Response:
    """``GET /v1/conversations/{id}/items``."""
    conversation, asked = await _found(request), PageQuery.of(request.query_params)
    conversation = replace(conversation, has_scores=LOGPROBS in _included(request))
    return json_answer(await _done(request, conversation.page(asked)))


async def create_items(request: Request) -> Response:
    """``POST /v1/conversations/{id}/items``."""
    conversation = await _found(request)
    _included(request)
    items = await _items(request, parse_body(ItemsBody, await request.body()).items)
    added = await _changed(request, changes.add(conversation, items, settings_of(request).max_prompt_chars))
    return json_answer(page_view(added, has_more=False))


async def show_item(request: Request) -> Response:
    """``GET /v1/conversations/{id}/items/{item}``."""
    conversation = await _found(request)
    conversation = replace(conversation, has_scores=LOGPROBS in _included(request))
    return json_answer(await _done(request, conversation.item(request.path_params["item_id"])))


async def delete_item(request: Request) -> Response:
    """``DELETE /v1/conversations/{id}/items/{item}``: answers with the conversation."""
    conversation = await _found(request)
    left = await _changed(request, changes.delete_item(conversation, request.path_params["item_id"]))
    return json_answer(left.view())


async def _found(request: Request) -> Conversation:
    return await find_conversation(cluster_of(request), request.path_params["conversation_id"], owner_of(request))


async def _done(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Do something with a conversation, which might go meanwhile."""
    try:
        return await while_connected(request, work)
    except SessionNotFound:
        raise ConversationNotFound(request.path_params["conversation_id"]) from None


async def _changed(request: Request, work: Awaitable[Result]) -> Result:
    """The same, to its end."""
    return await _done(request, whole_even_if_cancelled(work))


async def _items(request: Request, bodies: Sequence[InputItem]) -> list[Item]:
    """The items of a body; those that it only names are copied."""
    max_chars = settings_of(request).max_prompt_chars
    try:
        found = resolved(cluster_of(request), owner_of(request), entries_of(bodies), max_chars)
        return await while_connected(request, found)
    except InvalidField as error:
        raise InvalidField(error.message, "items", error.code) from None


def _included(request: Request) -> set[str]:
    """What is to be included; but for log-probabilities, items here have all that there is of them.

    Raises:
        InvalidField: OpenAI's API has it not.
    """
    query = request.query_params
    names = {*query.getlist("include"), *query.getlist("include[]")}
    for name in sorted(names - INCLUDABLE):
        raise InvalidField(f"include {name!r:.100} is not supported", "include", "unsupported")
    return names
