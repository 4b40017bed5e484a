"""What a tool can do while it runs, and an agent that is a function: tell how it does, and ask a person."""

from __future__ import annotations

import asyncio
import json
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from api.agents.acting import acting
from api.agents.call_context import CallContext
from api.agents.tools import IfExpired, check_timeout, problems_of
from api.errors import GreenroomError, InvalidRequest
from api.inferlet.context import Done
from api.inferlet.work_effects import Reporter

Answered = TypeVar("Answered")


@dataclass(frozen=True, slots=True)
class Inside:
    """A call in its own thread."""

    call: CallContext
    reporter: Reporter
    asking: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, question: dict[str, Any]) -> Any:
        """The answer to one question at a time, as a list of one; None where it has expired."""
        return self._answer("ask", question)

    def remember(self, operation: str, key: str, value: Any = None) -> Any:
        """What an operation on the agent's memory comes to.

        Raises:
            InvalidRequest: it cannot be.
        """
        error, found = self._answer("memory", {"operation": operation, "key": key, "value": value})
        if error is not None:
            raise InvalidRequest(error)
        return found

    def _answer(self, kind: Literal["ask", "memory"], value: dict[str, Any]) -> Any:
        with self.asking:
            self.reporter.put(kind, value)
            return self.reporter.wait_for_answer()


class Memory:
    """What an agent with ``memory=True`` keeps for its owner, in all of its threads; for tools that are ``async def``.

    Keys are text of up to 64 characters, values text, bytes or JSON. All calls raise ``InvalidRequest`` where the agent
    has no memory, or the key or the value is not one.
    """

    async def get(self, key: str) -> Any:
        """The value under a key; None where there is none."""
        return await self._do("get", key)

    async def put(self, key: str, value: Any) -> None:
        """Set a key. Durable on return."""
        await self._do("put", key, value)

    async def delete(self, key: str) -> bool:
        """Remove a key; whether it was there."""
        return bool(await self._do("delete", key))

    async def list(self, prefix: str = "") -> list[str]:
        """The keys that begin so, in order."""
        return list(await self._do("list", prefix))

    async def _do(self, operation: str, key: str, value: Any = None) -> Any:
        if function := acting.get(None):
            return await function.remember(operation, key, value)
        return await asyncio.to_thread(_inside().remember, operation, key, value)


memory = Memory()


inside: ContextVar[Inside] = ContextVar("greenroom-tool")
"""The call whose tool runs."""


def context() -> CallContext:
    """The call that the tool runs for; of an agent that is a function, without a call.

    Raises:
        GreenroomError: no agent runs here, and no tool of one.
    """
    function = acting.get(None)
    return function.context if function else _inside().call


def status(text: str, name: str | None = None) -> Done:
    """Tell those who watch the run how the tool does, or the agent that is a function. It need not be awaited."""
    if function := acting.get(None):
        function.status(text, name)
    else:
        _inside().reporter.put("status", {"text": text, "name": name})
    return Done()


async def ask(
    question: str,
    answer: type[Answered] = str,  # type: ignore[assignment]
    *,
    timeout_s: float | None = None,
    if_expired: IfExpired = "fail",
) -> Answered | None:
    """Ask a person, and wait for the answer; for tools that are ``async def``, and agents that are functions.

    For the question of a tool the thread keeps its process meanwhile, since the tool runs there. An agent that is a
    function, an approval of a call, or a client tool needs none while it waits.

    Args:
        answer: what the answer must be, as pydantic has it. The question is asked again, with what was wrong, after one
            that is not.
        timeout_s: for so long each time; None for ever. The tool's own time limit stands still meanwhile.
        if_expired: the run fails then, or this returns None.

    Raises:
        InvalidRequest: ``timeout_s`` is not from 0 to 30 days.
    """
    check_timeout("the timeout_s of an ask", timeout_s)
    adapter, function = TypeAdapter(answer), acting.get(None)
    asked: dict[str, Any] = {
        "question": question,
        "schema": adapter.json_schema(),
        "timeout_s": timeout_s,
        "if_expired": if_expired,
    }
    while True:
        given = await (function.ask(**asked) if function else asyncio.to_thread(_inside().ask, asked))
        if given is None:
            return None
        try:
            return adapter.validate_json(json.dumps(given[0]))
        except ValidationError as error:
            asked["question"] = f"{question}\nThe answer before was not valid: {problems_of(error)}"


def _inside() -> Inside:
    try:
        return inside.get()
    except LookupError:
        raise GreenroomError("this is only there for a tool while an agent runs it") from None
