"""``/v1/responses`` with ``model: "agent/NAME"``: a response is a run of the agent, or what comes of it up to a call of
the caller's.

| route | |
|---|---|
| `POST /v1/responses` | streamed or not; with ``previous_response_id`` in the same thread, where that was its last run and both are stored, else in a fork of it; with ``conversation`` in the thread of that name or id; else in a new thread |
| `GET /v1/responses/{id}` | as it is now; with `?stream=true&starting_after=n` its events after number ``n``, and the last one in any case |
| `POST /v1/responses/{id}/cancel` | ends its run, where that is worked on or waits for a person; one that ended with a call of the caller's is not changed |
| `DELETE /v1/responses/{id}` | it is found no longer, by no id of its thread that tells the same; what was said stays in its thread, for what goes on there. Where the thread has no name, and nothing else, it is deleted |
| `GET /v1/responses/{id}/input_items` | the items of its own input, a page of them |

What the agent's own instructions are the agent says. Calls of its own tools are items, each with its result after it. A
call without one, of the caller's ``tools`` or of a ``client_tool``, is the caller's: the response ends with it, and the
next request with the result goes on with the same run. One whose run waits for a person has failed until that has
answered; then it goes on. A client that leaves ends nothing.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.cluster import Cluster
from api.errors import InferletEnded, RunNotFound, ThreadBusy, ThreadDeleted, ThreadNotFound
from api.http.agents.shown import frames_of
from api.http.agents.taken import asks_of
from api.http.disconnects import while_connected
from api.http.event_stream import EventStream, event_text, kept_alive
from api.http.json_text import json_text
from api.http.limits import become_stream
from api.http.openai.agents.begun import (
    Begun,
    calls_of_caller,
    go_on,
    missing_result,
    prompt_of,
    results_in,
    thread_and_call,
    tool_choice_of,
)
from api.http.openai.agents.chat import KEPT_S
from api.http.openai.agents.left_out import check_for_agent
from api.http.openai.agents.response_ids import AgentResponse
from api.http.openai.agents.response_kept import Keeping, is_stored, kept_of, names_of
from api.http.openai.agents.response_reading import found, input_of, read, shown_of, there
from api.http.openai.agents.response_shown import ResponseShown
from api.http.openai.agents.response_state import state_of
from api.http.openai.envelope import InvalidField
from api.http.openai.responses.draft import Draft
from api.http.openai.responses.errors import PreviousResponseNotFound, ResponseNotFound
from api.http.openai.responses.items import messages_of
from api.http.openai.responses.pages import page_of
from api.http.openai.responses.resource import State, resource
from api.http.openai.responses.schemas import ResponseBody
from api.http.openai.stream import DONE
from api.threads.blocks import KINDS, run_of_call, top_of
from api.threads.commands import MAX_NAME_CHARS, Limits, Prompt
from api.threads.contract import BlockQuery, ThreadHandle
from api.threads.runs import Run
from api.turns import Message

_NEWEST = BlockQuery(kinds=frozenset(KINDS), limit=1, is_descending=True, has_children=True)

ENDS_S = 60.0
"""For a run that is cancelled, or that is to be gone on from in a fork, to end in."""


class AgentResponses:
    """Those of one owner's agents; a thread of stored ones is kept for ``retention_s`` after its last use."""

    def __init__(self, cluster: Cluster, owner: str, retention_s: float) -> None:
        self._cluster, self._agents = cluster, cluster.agents
        self._owner = owner
        self._retention_s = retention_s

    async def create(self, request: Request, body: ResponseBody, draft: Draft, agent: str) -> Response:
        """``POST /v1/responses``."""
        check_for_agent(body, draft.constraint, "text", None if body.num_logprobs is None else "top_logprobs")
        if draft.is_streamed:
            become_stream(request.scope)
        begun = await self._begin(body, draft, agent)
        response = AgentResponse.begun(begun)
        kept = await kept_of(begun.thread, response)
        if response.goes_on and await self._agents.is_hidden(str(response), self._owner):
            raise ResponseNotFound(str(response))  # the same results were given before, and that is deleted
        is_stored = kept is not None and kept.is_stored
        fields = kept.fields if kept and is_stored else {**draft.fields, "store": is_stored}
        shown = await shown_of(begun.thread, response, fields)
        if draft.is_streamed:
            return EventStream(kept_alive(_texts(begun.thread, shown)))
        if not draft.fields["background"]:
            await while_connected(request, read(begun.thread, shown))
        if shown.error:
            raise shown.error
        return _json(shown.view())

    async def show(self, response: AgentResponse) -> Response:
        """``GET /v1/responses/{id}``."""
        thread, kept = await found(self._agents, self._owner, response)
        shown = await shown_of(thread, response, kept.fields)
        state = await state_of(thread, response)
        if state in ("queued", "in_progress"):
            return _json(resource(str(response), kept.fields, State(state)))
        await read(thread, shown)
        return _json(shown.view())

    async def events(self, response: AgentResponse, after: int) -> AsyncGenerator[str]:
        """``GET /v1/responses/{id}?stream=true``: those after this number, and those that come."""
        thread, kept = await found(self._agents, self._owner, response)
        return _texts(thread, await shown_of(thread, response, kept.fields, after))

    async def cancel(self, response: AgentResponse) -> Response:
        """``POST /v1/responses/{id}/cancel``; one that is over, be it with a call of the caller's, is not changed."""
        thread, _ = await found(self._agents, self._owner, response)
        if await self._end(thread, response):
            for run_id in response.runs:
                await thread.wait(run_id, ENDS_S)
        return await self.show(response)

    async def _end(self, thread: ThreadHandle, response: AgentResponse) -> bool:
        """Cancel its runs, where it is not over: they are worked on, or wait for a person."""
        is_over = await state_of(thread, response) == "over"
        for run_id in () if is_over else reversed(response.runs):
            await thread.cancel(run_id)
        return not is_over

    async def delete(self, response: AgentResponse) -> None:
        """``DELETE /v1/responses/{id}``; where nothing else is in its thread, and that has no name, the thread too."""
        thread, kept = await there(self._agents, self._owner, response)
        was_hidden = await self._agents.is_hidden(str(response), self._owner)
        with suppress(ThreadNotFound, ThreadDeleted):  # it was there before: another call has deleted it
            await self._end(thread, response)
            names = await names_of(thread, response)
            for name in reversed(names):
                await self._agents.hide(name, self._owner)
            if await _is_all(thread, response):  # what goes on with it from now on finds that it is hidden
                await thread.delete()
                for name in names:
                    await self._agents.unhide(name, self._owner)
        if was_hidden:  # by a call that might have been cut short
            raise ResponseNotFound(str(response))

    async def input_items(self, response: AgentResponse, query: Mapping[str, str]) -> Response:
        """``GET /v1/responses/{id}/input_items``."""
        thread, kept = await found(self._agents, self._owner, response)
        return _json(page_of(await input_of(thread, response, kept), query))

    async def _begin(self, body: ResponseBody, draft: Draft, agent: str) -> Begun:
        messages = messages_of(draft.items)
        limits = Limits(max_tokens=body.max_output_tokens or body.max_tokens, max_actions=body.max_tool_calls)
        choices, keeping = tool_choice_of(body.tool_choice), Keeping(draft)
        prompt = Prompt("", None, choices, limits, tools=draft.tools)
        previous = None
        if body.previous_response_id is not None:
            previous = await self._previous(body.previous_response_id, agent)
        if results := results_in(messages):
            if draft.is_stored:
                await self._check_stored(results)
            is_next = previous is not None
            return await go_on(self._cluster, agent, self._owner, messages, prompt, "input", keeping, is_next=is_next)
        if not messages:
            raise InvalidField("input is needed", "input")
        prompt = prompt_of(messages, prompt, "input")
        prompt = replace(prompt, metadata=keeping.with_run(prompt))
        if previous is not None:
            return await self._after(*previous, prompt, draft)
        thread = await self._opened(draft, agent)
        for run in await thread.active_runs() if draft.fields["conversation"] else ():
            if run.state == "waiting":
                raise missing_result(await asks_of(thread, run.id))
        return await _begun(thread, prompt)

    async def _opened(self, draft: Draft, agent: str) -> ThreadHandle:
        name = draft.fields["conversation"] and draft.fields["conversation"]["id"]
        if name and len(name) > MAX_NAME_CHARS:
            raise InvalidField(f"the name of a thread has {MAX_NAME_CHARS} characters at most", "conversation")
        return await self._agents.open(agent, name, self._owner, idle_timeout_s=None if name else self._kept_s(draft))

    def _kept_s(self, draft: Draft) -> float:
        return self._retention_s if draft.is_stored else KEPT_S

    async def _previous(self, response_id: str, agent: str) -> tuple[AgentResponse, ThreadHandle, Run]:
        """A response that is stored, its thread, and its last run."""
        response = AgentResponse.of(response_id)
        if response is None:
            raise PreviousResponseNotFound(response_id)
        try:
            await found(self._agents, self._owner, response)
            thread = await self._agents.find(agent, response.thread_id, self._owner)
            return response, thread, await thread.run(response.runs[-1])
        except (ResponseNotFound, ThreadNotFound, ThreadDeleted, RunNotFound):
            raise PreviousResponseNotFound(response_id) from None

    async def _check_stored(self, results: Sequence[Message]) -> None:
        """A response that is stored goes on with a run that is."""
        thread_id, call = thread_and_call(results[-1].tool_call_id or "")
        with suppress(ThreadNotFound, ThreadDeleted, RunNotFound):
            thread = await self._agents.thread(thread_id, self._owner)
            if not is_stored(await thread.run(run_of_call(thread_id, call))):
                raise InvalidField("what goes on with a run that is not stored cannot be stored either", "store")

    async def _after(
        self, previous: AgentResponse, thread: ThreadHandle, run: Run, prompt: Prompt, draft: Draft
    ) -> Begun:
        """What follows a response, if that was not deleted meanwhile, and its thread with it.

        Who deletes it hides it before it looks whether the thread has anything else.
        """
        begun: Begun | None = None
        try:
            begun = await self._following(thread, run, prompt, draft)
            await found(self._agents, self._owner, previous)
        except (ResponseNotFound, ThreadNotFound, ThreadDeleted, InferletEnded):
            with suppress(ThreadNotFound, ThreadDeleted, InferletEnded):
                if begun:
                    await begun.thread.cancel(begun.runs[0])
            raise PreviousResponseNotFound(str(previous)) from None
        return begun

    async def _following(self, thread: ThreadHandle, run: Run, prompt: Prompt, draft: Draft) -> Begun:
        """In this thread, where the run is the last one there; else, and if not to be stored, in a fork after it."""
        if draft.is_stored and run.state != "waiting" and await _last_run(thread) == run.id:
            with suppress(ThreadBusy):  # another request might have come meanwhile
                return await _begun(thread, replace(prompt, if_busy="queue", after=run.id))
        run = await thread.wait(run.id, ENDS_S)
        if run.state == "waiting":
            raise missing_result(await asks_of(thread, run.id))
        return await _begun(await self._forked(thread, run, self._kept_s(draft)), prompt)

    async def _forked(self, thread: ThreadHandle, run: Run, kept_s: float) -> ThreadHandle:
        """A thread that begins with everything up to the end of this run."""
        if not run.is_over:
            raise ThreadBusy(f"run {run.id} has not ended yet: a branch begins at its end")
        newest, _ = await thread.blocks(replace(_NEWEST, run_id=run.id))
        if not newest:
            raise InvalidField("the response ended before it began: go on after an earlier one", "previous_response_id")
        return await self._agents.fork(thread.thread_id, newest[0].id, self._owner, idle_timeout_s=kept_s)


async def _begun(thread: ThreadHandle, prompt: Prompt) -> Begun:
    return Begun(thread, ((await thread.prompt(prompt)).run.id,))


async def _is_all(thread: ThreadHandle, response: AgentResponse) -> bool:
    """Whether the thread has been made for this response, and has nothing else."""
    if response.num_asked is not None or (await thread.describe()).context_id != thread.thread_id:
        return False
    asks = calls_of_caller(await asks_of(thread, response.runs[0]))
    return await thread.run_ids() == response.runs and all(ask.answer is None for ask in asks)


async def _last_run(thread: ThreadHandle) -> str | None:
    """The id of the run that was accepted last, of those that are active or have begun."""
    active = [run.id for run in await thread.active_runs() if run.parent_run_id is None]
    if active:
        return active[-1]
    newest, _ = await thread.blocks(_NEWEST)
    return top_of(newest[0].run_id) if newest else None


async def _texts(thread: ThreadHandle, shown: ResponseShown) -> AsyncGenerator[str]:
    async with aclosing(frames_of(thread, shown)) as events:
        async for event in events:
            yield event_text(event["type"], event)
    yield DONE


def _json(view: dict[str, Any]) -> Response:
    return Response(json_text(view), media_type="application/json")
