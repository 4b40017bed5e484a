"""What a list of messages begins or continues with an agent, in OpenAI's protocols.

Messages after the last one of the assistant are new. A result of a tool goes on with the run that made the call, whose
id names its thread. Without one a new run begins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from api.cluster import Cluster
from api.errors import Conflict, GreenroomError, ThreadDeleted, ThreadNotFound
from api.http.agents.taken import asks_of, give, has_answer
from api.http.openai.envelope import InvalidField
from api.threads.blocks import Block, Role, number_of, run_of_call, top_of
from api.threads.commands import Answers, GivenAnswer, Prompt
from api.threads.contract import ThreadHandle
from api.threads.runs import Run
from api.tools import ToolChoice
from api.turns import Message


@dataclass(frozen=True, slots=True)
class Begun:
    """Runs of a thread that give the answer.

    Attributes:
        asks: those of the first run that were answered, after which the answer begins; none where a run begins it.
    """

    thread: ThreadHandle
    runs: tuple[str, ...]
    asks: tuple[Block, ...] = ()


Results: TypeAlias = Mapping[tuple[str, str], int]
"""Results of calls of one run, each with the id that the call was told as: the numbers of their asks."""

NO_RESULTS: Results = MappingProxyType({})

_WITH_MESSAGE = "greenroom.with_message"
"""In an answer's metadata: the key of the message that it came with."""


class Keeping(Protocol):
    """What is kept of a request."""

    def with_run(self, prompt: Prompt, results: Results) -> dict[str, Any]:
        """With the run that this begins after these."""
        ...

    def with_answer(self, run: Run, results: Results) -> dict[str, Any]:
        """With the last of these for a run."""
        ...


def results_in(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The new ones that are results of tools."""
    begin = max((index + 1 for index, message in enumerate(messages) if message.role == "assistant"), default=0)
    return tuple(message for message in messages[begin:] if message.role == "tool")


def prompt_of(messages: Sequence[Message], prompt: Prompt, field: str) -> Prompt:
    """The last message, after those before it.

    Raises:
        InvalidField: it is no text of the user's; names the ``field``.
    """
    *before, last = messages
    if last.role != "user" or not last.content:
        raise InvalidField("the last message is to be a text of the user's", field)
    roles: dict[str, Role] = {"user": "user", "assistant": "assistant"}
    history = tuple((roles[one.role], one.content) for one in before if one.role in roles and one.content)
    return replace(prompt, text=last.content, history=history)


async def go_on(
    cluster: Cluster,
    agent: str,
    owner: str,
    messages: Sequence[Message],
    prompt: Prompt,
    field: str,
    keeping: Keeping | None = None,
    *,
    is_next: bool = False,
) -> Begun:
    """Answer the calls of these results; where a user's message is the last, it begins a run after that one. The
    thread takes both, or neither; once, where the request is sent again.

    Args:
        prompt: what a run is begun with.
        is_next: no other run is to be between these two.

    Raises:
        InvalidField: there are no such calls; names the ``field``.
        AlreadyAnswered: a call has another result.
        ThreadBusy: another run came after the one that made the calls.
    """
    results = results_in(messages)
    thread_id, _ = thread_and_call(results[-1].tool_call_id or "")
    try:
        thread = await cluster.agents.find(agent, thread_id, owner)
    except (ThreadNotFound, ThreadDeleted):
        raise InvalidField("a tool's message has the id of a call that this agent made", field) from None
    answered = await _answered(thread, results, field)
    run_id, asks = answered.run_id, answered.asks
    if messages[-1].role != "user":
        kept = keeping.with_answer(await thread.run(run_id), answered.known) if keeping else {}
        last = max(asks, key=lambda ask: number_of(ask.id))
        await give(thread, run_id, asks, [answered.to(ask, kept if ask is last else {}) for ask in asks])
        return Begun(thread, (run_id,), asks)
    key = _key(results, messages[-1])
    given = [(ask, answered.to(ask, {_WITH_MESSAGE: key})) for ask in asks]
    new = tuple(one for ask, one in given if not has_answer(ask, one) or _is_with(ask, key))
    prompt = replace(prompt, text=messages[-1].content, if_busy="queue", after=run_id if is_next else None)
    prompt = replace(prompt, metadata=keeping.with_run(prompt, answered.known) if keeping else {})
    run = (await thread.prompt(replace(prompt, answering=Answers(run_id, new) if new else None), key)).run
    return Begun(thread, (run_id, run.id), asks)


class Choice(Protocol):
    """``tool_choice`` that is an object."""

    def choice(self) -> ToolChoice:
        """What it stands for; raises ``InvalidField``."""
        ...


def tool_choice_of(body: str | Choice | None) -> tuple[str, ...]:
    """What a ``tool_choice`` says of the first step of a run.

    Raises:
        InvalidField: it is no choice, or one among several tools.
    """
    if body is None or body == "auto":
        return ()
    if isinstance(body, str):
        if body not in ("none", "required"):
            raise InvalidField(f"tool_choice cannot be {body!r:.100}", "tool_choice")
        return (body,)
    choice = body.choice()
    if choice.mode != "required" or len(choice.names) != 1:
        raise InvalidField("for an agent tool_choice names one tool", "tool_choice", "unsupported")
    return choice.names


def call_id(call: Block) -> str:
    """What the caller is told as the id of a call."""
    return f"{call.call_id}-{call.run_id.partition('.')[0]}"


def thread_and_call(told_id: str) -> tuple[str, str]:
    """The thread in which a call was made, and the call's id there, of the id that its caller was told."""
    call, _, thread_id = told_id.rpartition("-")
    return thread_id, call


def calls_of_caller(asks: Sequence[Block]) -> list[Block]:
    """Those of these asks that wait for the result of a tool of the caller's."""
    return [ask for ask in asks if ask.ask and ask.ask.type == "client_tool"]


@dataclass(frozen=True, slots=True)
class _Answered:
    """What results answer.

    Attributes:
        run_id: the run that waits for them, or has.
        asks: those of it that they are for.
        texts: of the results, by the calls' ids in the thread.
        known: of all calls of the run that have one, or have one here.
    """

    run_id: str
    asks: tuple[Block, ...]
    texts: Mapping[str, str]
    known: Results

    def to(self, ask: Block, metadata: dict[str, Any]) -> GivenAnswer:
        """The answer to one of the asks."""
        return GivenAnswer(ask.id, value=self.texts[ask.call_id or ""], metadata=metadata)


async def _answered(thread: ThreadHandle, results: Sequence[Message], field: str) -> _Answered:
    texts = {thread_and_call(one.tool_call_id or "")[1]: one.content for one in results}
    run_id = run_of_call(thread.thread_id, next(reversed(texts)))
    asked = calls_of_caller(await asks_of(thread, run_id))
    asks = [ask for ask in asked if ask.call_id in texts]
    if not asks:
        raise InvalidField("no call waits for the result of this id", field)
    if left := [ask for ask in asked if ask.state == "open" and ask.call_id not in texts]:
        raise missing_result(left, field)
    values = [texts.get(ask.call_id or "", ask.answer and ask.answer.value) for ask in asked]
    known = {
        (call_id(ask), value): number_of(ask.id)
        for ask, value in zip(asked, values, strict=True)
        if isinstance(value, str)
    }
    return _Answered(run_id, tuple(asks), texts, known)


def _is_with(ask: Block, key: str) -> bool:
    """Whether its answer came with the message of this key, so that it comes again where that is sent again."""
    return ask.answer is not None and ask.answer.metadata.get(_WITH_MESSAGE) == key


def missing_result(asks: Sequence[Block], field: str = "input") -> GreenroomError:
    """What a request is refused with while these wait."""
    call = next((ask for ask in calls_of_caller(asks) if ask.state == "open"), None)
    if call is None:
        return waits_for_person(top_of(asks[0].run_id))
    return InvalidField(f"No tool output found for function call {call_id(call)}.", field)


def waits_for_person(run_id: str) -> GreenroomError:
    """What a request is refused with while this run waits for what its caller cannot give."""
    return Conflict(f"the agent waits for a person: answer it at POST /api/runs/{run_id}/answers")


def _key(results: Sequence[Message], last: Message) -> str:
    """The same for a request that is sent again."""
    said = json.dumps([sorted(one.tool_call_id or "" for one in results), last.content])
    return f"chat/{hashlib.sha256(said.encode()).hexdigest()}"
