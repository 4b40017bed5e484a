"""``POST /api/agents/{agent}/agui``: a run of an agent, as AG-UI 1.0 has it.

``threadId`` is the name or the id of the thread, and ``runId`` what the client calls the run. Of ``messages`` those of
the user are taken which the thread does not have, by their ids, and those of tools which answer a ``client_tool``;
``resume`` answers approvals (``{approved, reason?}``) and questions (``{value}``). A run that was answered goes on: to
the client it is another run. The ``runId`` of a run that is there shows that run from its beginning and begins nothing,
as does a transcript with nothing new. The client may leave: the run goes on. ``tools``, ``context`` and ``state`` are
not read: what an agent may call, tools of its client among it, its author says.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.errors import AskNotFound, BlockNotFound, InvalidRequest
from api.http.agent_routes import agents_of
from api.http.agents.agui.frames import AguiShown, Names
from api.http.agents.agui.schemas import MessageBody, ResumeBody, RunInputBody
from api.http.agents.shown import texts_of
from api.http.agents.taken import Said, Taker, asks_of, give, new_messages
from api.http.bodies import parse_body
from api.http.event_stream import EventStream, kept_alive
from api.http.operations import EVENTS, Operation
from api.http.security import owner_of
from api.threads.blocks import run_of_call, thread_of, top_of
from api.threads.commands import GivenAnswer, Prompt
from api.threads.contract import ThreadHandle

RUN = "agui.run"
"""The label with the client's name of the run."""


def agui_routes() -> list[BaseRoute]:
    """The route."""
    path = "/api/agents/{agent}/agui"
    return [Operation("POST", path, run_agui, takes=RunInputBody, answers={200: EVENTS})]


async def run_agui(request: Request) -> Response:
    owner = owner_of(request)
    body = parse_body(RunInputBody, await request.body())
    said = [message.said() for message in body.messages]
    is_asked = any(message.text is not None for message in said)
    if not is_asked and not body.resume and not any(message.role == "tool" for message in body.messages):
        raise InvalidRequest("messages: there is none of the user, and nothing is resumed")
    agents, agent = agents_of(request), request.path_params["agent"]
    thread = await (agents.open if is_asked else agents.find)(agent, body.thread_id, owner)
    shown = await _shown(thread, body, said)
    return EventStream(kept_alive(texts_of(thread, shown)))


async def _shown(thread: ThreadHandle, body: RunInputBody, said: Sequence[Said]) -> AguiShown:
    """What of the thread answers this request, once all of it is durable."""
    names = Names(body.thread_id, body.run_id, body.parent_run_id)
    begun = (await thread.labelled(frozenset({(RUN, body.run_id)}))).get((RUN, body.run_id))
    if begun:
        return AguiShown(names, (begun,), is_whole=True)
    taker = Taker(thread, "agui")
    known = await taker.begun_by(said)
    new = [message for message in new_messages(said, known) if message.text]
    answered, past = await _answer(thread, body, has_more=bool(new))
    if new:
        prompt = Prompt("", "queue" if answered else None, labels={RUN: body.run_id})
        prompted = await taker.prompt(new, prompt)
        runs = (answered, prompted) if answered and answered != prompted else (prompted,)
        return AguiShown(names, runs, past, is_whole=not answered)
    if answered:
        return AguiShown(names, (answered,), past, is_whole=False)
    again = [known[message.id] for message in said if message.id in known]
    if not again:
        raise InvalidRequest("messages: there is no text of the user")
    return AguiShown(names, (again[-1],), is_whole=True)


async def _answer(thread: ThreadHandle, body: RunInputBody, *, has_more: bool) -> tuple[str | None, list[str]]:
    """Give the answers among this, now or earlier; the run that they are for, and its asks that they answer.

    Those of tools count only where they are awaited, or nothing else has come.
    """
    run_id = await _resumed(thread, body.resume)
    results = _results(thread, body.messages)
    run_id = run_id or (run_of_call(thread.thread_id, results[-1].tool_call_id or "") if results else None)
    asks = await asks_of(thread, run_id) if run_id else ()
    if not run_id or not asks:
        return None, []
    by_id, by_call = {ask.id: ask for ask in asks}, {ask.call_id: ask for ask in asks if _is_of_client(ask.ask)}
    answers: list[GivenAnswer] = []
    past: list[str] = []
    for entry in body.resume:
        if entry.interrupt_id not in by_id:
            raise AskNotFound(entry.interrupt_id)
        ask = by_id[entry.interrupt_id]
        past.append(ask.id)
        if ask.state == "open" or entry.status == "resolved":
            answers.append(entry.answer(ask))
    for message in results:
        found = by_call.get(message.tool_call_id)
        if found and (found.state == "open" or not (has_more or body.resume)):
            past.append(found.id)
            answers.append(message.answer(found))
    await give(thread, run_id, asks, answers)
    return (run_id, past) if past else (None, [])


async def _resumed(thread: ThreadHandle, entries: Sequence[ResumeBody]) -> str | None:
    if not entries:
        return None
    first = entries[0].interrupt_id
    if thread_of(first) != thread.thread_id:
        raise AskNotFound(first)
    try:
        return top_of((await thread.block(first)).run_id)
    except BlockNotFound:
        raise AskNotFound(first) from None


def _results(thread: ThreadHandle, messages: Sequence[MessageBody]) -> list[MessageBody]:
    """Of the client's tools, those of one run and after the last thing that was said."""
    begin = max((index + 1 for index, one in enumerate(messages) if _is_said(one)), default=0)
    found = [one for one in messages[begin:] if one.role == "tool" and thread_of(one.id) != thread.thread_id]
    runs = [run_of_call(thread.thread_id, one.tool_call_id or "") for one in found]
    return [one for one, run_id in zip(found, runs, strict=True) if run_id and run_id == runs[-1]]


def _is_said(message: MessageBody) -> bool:
    return message.role == "assistant" and bool(message.content)


def _is_of_client(ask: object) -> bool:
    return getattr(ask, "type", None) == "client_tool"
