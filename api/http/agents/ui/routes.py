"""A thread for the AI SDK's ``useChat``, with ``new DefaultChatTransport({ api: "/api/agents/AGENT/ui" })``.

| route | body | answer |
|---|---|---|
| `POST /api/agents/{agent}/ui` | `id`, `messages` | 200 the stream of the run that these begin or continue |
| `GET /api/agents/{agent}/ui/{thread}/stream` | | 200 the message that is being said, from its start; 204: none is |
| `POST /api/agents/{agent}/ui/{thread}/stop` | | 204; its runs are cancelled |

The chat's ``id`` is the name or the id of the thread, and the id of an assistant's message that of its run. Of
``messages`` those of the user are taken which the thread does not have, by their ids; where the last one is the
assistant's, what it has for approvals and for calls of a ``client_tool``. A question of a tool's is a part `data-ask`,
to be answered at `POST /api/runs/{run_id}/answers`. The client may leave, and comes back by `GET`.

With the ``trigger`` "regenerate-message", and for a message of the user's that was changed (``messageId``), the thread
goes on in a fork without what came from that message on; the fork has its name, and what was there is found by its id.
What is still being said there is stopped then; a request that is refused stops nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.errors import InvalidRequest, ThreadNotFound
from api.http.agent_routes import agents_of
from api.http.agents.shown import texts_of
from api.http.agents.taken import Said, Taker, asks_of, give, new_messages
from api.http.agents.ui.frames import UiShown
from api.http.agents.ui.schemas import UiBody, UiMessageBody
from api.http.bodies import parse_body
from api.http.event_stream import EventStream, kept_alive
from api.http.operations import EVENTS, Operation
from api.http.security import owner_of
from api.threads.blocks import KINDS, run_of_call
from api.threads.commands import GivenAnswer, Prompt
from api.threads.contract import BlockQuery, ThreadHandle

PROTOCOL = {"x-vercel-ai-ui-message-stream": "v1"}
DONE = "data: [DONE]\n\n"
_EVERY = frozenset(KINDS)


def ui_routes() -> list[BaseRoute]:
    """The routes."""
    every = "/api/agents/{agent}/ui"
    one = f"{every}/{{thread:path}}"
    return [
        Operation("POST", every, chat, takes=UiBody, answers={200: EVENTS}),
        Operation("GET", f"{one}/stream", resume_chat, answers={200: EVENTS, 204: None}),
        Operation("POST", f"{one}/stop", stop_chat, answers={204: None}),
    ]


async def chat(request: Request) -> Response:
    owner = owner_of(request)
    body = parse_body(UiBody, await request.body())
    if body.trigger not in ("submit-message", "regenerate-message"):
        raise InvalidRequest(f"trigger: {body.trigger!r:.100} is not supported")
    if body.trigger == "regenerate-message" and not body.is_again:
        raise InvalidRequest("messages: to be answered again, the last one must be the user's")
    said = [message.said() for message in body.messages]
    agents, is_asked = agents_of(request), any(message.text for message in said)
    if not is_asked and not any(message.role == "assistant" for message in body.messages[-1:]):
        raise InvalidRequest("messages: there is no text of the user")
    thread = await (agents.open if is_asked else agents.find)(request.path_params["agent"], body.id, owner)
    if body.is_again:
        begun = await Taker(thread, "ui").begun_by(said[-1:])
        if begun:
            seq = await _before(thread, begun[said[-1].id])
            fork = await agents.rewind(request.path_params["agent"], body.id, seq, owner)
            await _stop(thread)  # only now: where no fork can be made, what is being said goes on
            thread = fork
    return _stream(thread, await _shown(thread, body.messages, said))


async def resume_chat(request: Request) -> Response:
    try:
        thread = await _thread(request)
    except ThreadNotFound:
        return Response(status_code=204)
    active = await thread.active_runs()
    if not active:
        return Response(status_code=204)
    return _stream(thread, await _as_it_is(thread, active[0].id))


async def stop_chat(request: Request) -> Response:
    await _stop(await _thread(request))
    return Response(status_code=204)


async def _stop(thread: ThreadHandle) -> None:
    for run in reversed(await thread.active_runs()):
        if run.parent_run_id is None:  # a run that goes on without those below it would say so to its model
            await thread.cancel(run.id)


async def _before(thread: ThreadHandle, run_id: str) -> int:
    """The seq of the last block before a run that is closed; 0 where there is none."""
    last = await _last_closed(thread, None)
    first, _ = await thread.blocks(BlockQuery(run_id, _EVERY, limit=1))
    if first and first[0].seq <= last:
        return await _last_closed(thread, first[0].seq)
    return last


async def _last_closed(thread: ThreadHandle, before: int | None) -> int:
    while True:
        query = BlockQuery(None, _EVERY, before=before, limit=1, is_descending=True, has_children=True)
        last, _ = await thread.blocks(query)
        if not last or last[0].state != "open":
            return last[0].seq if last else 0
        before = last[0].seq


async def _thread(request: Request) -> ThreadHandle:
    owner, names = owner_of(request), request.path_params
    return await agents_of(request).find(names["agent"], names["thread"], owner)


async def _shown(thread: ThreadHandle, messages: Sequence[UiMessageBody], said: Sequence[Said]) -> UiShown:
    """What of the thread answers this request, once all of it is durable."""
    if messages[-1].role == "assistant" and (answered := await _answer(thread, messages[-1])):
        return answered
    taker = Taker(thread, "ui")
    known = await taker.begun_by(said)
    new = [message for message in new_messages(said, known) if message.text]
    if new:
        return UiShown(await taker.prompt(new, Prompt("")), is_whole=True)
    again = [known[message.id] for message in said if message.id in known]
    if not again:
        raise InvalidRequest("messages: none of the user is new")
    return await _as_it_is(thread, again[-1])


async def _answer(thread: ThreadHandle, message: UiMessageBody) -> UiShown | None:
    """Give the answers that are awaited; where none is, those of earlier are shown again."""
    parts = {part.tool_call_id: part for part in message.parts if part.tool_call_id}
    run_id = run_of_call(thread.thread_id, next(reversed(parts))) if parts else ""
    asks = await asks_of(thread, run_id) if run_id else ()
    given: list[tuple[bool, GivenAnswer]] = []
    for ask in asks:
        part = parts.get(ask.call_id or "")
        if part and (answer := part.answer(ask)):
            given.append((ask.state == "open", answer))
    answers = [answer for is_open, answer in given if is_open] or [answer for _, answer in given]
    if not answers:
        return None
    await give(thread, run_id, asks, answers)
    return UiShown(run_id, (answer.ask_id for answer in answers), is_whole=False)


async def _as_it_is(thread: ThreadHandle, run_id: str) -> UiShown:
    """A run from its start to where it now waits, or to its end."""
    asks = await asks_of(thread, run_id)
    return UiShown(run_id, (ask.id for ask in asks if ask.state != "open"), is_whole=True)


def _stream(thread: ThreadHandle, shown: UiShown) -> Response:
    response = EventStream(kept_alive(_texts(thread, shown)))
    response.headers.update(PROTOCOL)
    return response


async def _texts(thread: ThreadHandle, shown: UiShown) -> AsyncGenerator[str]:
    async with aclosing(texts_of(thread, shown)) as texts:
        async for text in texts:
            yield text
    yield DONE
