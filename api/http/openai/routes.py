"""OpenAI's API for stateless calls, on contexts that cost no actor.

| route | |
|---|---|
| `GET /v1/models`, `GET /v1/models/{id}` | the models, under each of their names, and agents as `agent/NAME` |
| `POST /v1/chat/completions` | a chat goes on: see ``api.http.openai.chat`` |
| `POST /v1/completions` | a text goes on: see ``api.http.openai.completions`` |
| `POST /v1/embeddings` | texts as vectors: see ``api.http.openai.embeddings`` |

The first two can be streamed as server-sent events. A client that leaves ends what is computed for it. Errors have
OpenAI's form: see ``api.http.openai.envelope``.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute

from api.cluster import Cluster
from api.errors import TooLarge
from api.http.disconnects import while_connected
from api.http.event_stream import EventStream, kept_alive
from api.http.json_text import json_text
from api.http.limits import become_stream
from api.http.models import find_model
from api.http.openai.agents.chat import complete_with_agent
from api.http.openai.agents.models import agent_model, agent_models, agent_of
from api.http.openai.answer import Answer, Plan, whole
from api.http.openai.chat import ChatBody
from api.http.openai.completions import CompletionBody
from api.http.openai.conversations.routes import conversation_routes
from api.http.openai.embeddings import EmbeddingBody, EmbeddingList, embedded
from api.http.openai.models import ModelList, ModelObject, model_view, models_view
from api.http.openai.responses.routes import response_routes
from api.http.openai.responses.socket import response_socket
from api.http.openai.schemas import parse_body
from api.http.openai.stream import event_texts
from api.http.openai.warnings import with_warnings
from api.http.operations import EVENTS, JsonObject, Operation
from api.http.security import owner_of
from api.http.settings import settings_of


def openai_routes() -> list[BaseRoute]:
    """The routes under ``/v1``."""
    return [
        Operation("GET", "/v1/models", list_models, answers={200: ModelList}),
        Operation("GET", "/v1/models/{name:path}", show_model, answers={200: ModelObject}),
        Operation("POST", "/v1/chat/completions", complete_chat, takes=ChatBody, answers={200: (JsonObject, EVENTS)}),
        Operation("POST", "/v1/completions", complete_text, takes=CompletionBody, answers={200: (JsonObject, EVENTS)}),
        Operation("POST", "/v1/embeddings", embed, takes=EmbeddingBody, answers={200: EmbeddingList}),
        *response_routes(),
        WebSocketRoute("/v1/responses", response_socket),
        *conversation_routes(),
    ]


async def list_models(request: Request) -> Response:
    """``GET /v1/models``."""
    owner, cluster = owner_of(request), _cluster(request)
    listed = await models_view(cluster)
    return _json({**listed, "data": [*listed["data"], *await agent_models(cluster, owner)]})


async def show_model(request: Request) -> Response:
    """``GET /v1/models/{id}``."""
    owner, name = owner_of(request), request.path_params["name"]
    if agent_of(name):
        return _json(await agent_model(_cluster(request), name, owner))
    return _json(model_view(await find_model(_cluster(request), name), name))


async def complete_chat(request: Request) -> Response:
    """``POST /v1/chat/completions``."""
    return await _complete(request, ChatBody)


async def complete_text(request: Request) -> Response:
    """``POST /v1/completions``."""
    return await _complete(request, CompletionBody)


async def embed(request: Request) -> Response:
    """``POST /v1/embeddings``."""
    owner, cluster = owner_of(request), _cluster(request)
    body = parse_body(EmbeddingBody, await request.body())
    settings = settings_of(request)
    if body.num_chars > settings.max_prompt_chars:
        raise TooLarge(f"the input has more than {settings.max_prompt_chars} characters")
    model = await find_model(cluster, body.model)
    answer = await while_connected(request, embedded(cluster, body, model, owner))
    return Response(answer, media_type="application/json")


async def _complete(request: Request, kind: type[ChatBody] | type[CompletionBody]) -> Response:
    owner, cluster = owner_of(request), _cluster(request)
    body = parse_body(kind, await request.body())
    settings = settings_of(request)
    if body.num_chars > settings.max_prompt_chars:
        raise TooLarge(f"the prompt has more than {settings.max_prompt_chars} characters")
    if isinstance(body, ChatBody) and (agent := agent_of(body.model)):
        return await complete_with_agent(request, cluster, body, agent, owner)
    plan = body.plan(await find_model(cluster, body.model))
    hint = body.prompt_cache_key or request.headers.get("session-id", "")
    if body.stream:
        become_stream(request.scope)
        answer = await while_connected(request, Answer.begin(cluster, plan, owner, hint, body.keep_s))
        texts = kept_alive(event_texts(answer, body.view(answer), body.includes_usage))
        return with_warnings(EventStream(texts, await anext(texts)), answer.warnings)
    return await while_connected(request, _whole(cluster, body, plan, owner, hint))


async def _whole(cluster: Cluster, body: ChatBody | CompletionBody, plan: Plan, owner: str, hint: str) -> Response:
    answer = await Answer.begin(cluster, plan, owner, hint, body.keep_s)
    try:
        return with_warnings(_json(body.view(answer).whole(await whole(answer))), answer.warnings)
    finally:
        await answer.end()


def _json(view: Mapping[str, object]) -> Response:
    return Response(json_text(view), media_type="application/json")


def _cluster(request: Request) -> Cluster:
    cluster: Cluster = request.app.state.cluster
    return cluster
