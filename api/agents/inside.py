"""What a tool can do while it runs: tell how it does, and ask a person."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter

from api.agents.tools import IfExpired, check_timeout
from api.errors import GreenroomError
from api.inferlet.work_effects import Reporter

Answered = TypeVar("Answered")


@dataclass(frozen=True, slots=True)
class CallContext:
    """The call that a tool runs for."""

    agent: str
    thread_id: str
    run_id: str
    call_id: str


@dataclass(frozen=True, slots=True)
class Inside:
    """A call in its own thread."""

    call: CallContext
    reporter: Reporter
    asking: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, question: dict[str, Any]) -> Any:
        """The answer to one question at a time, as a list of one; None where it has expired."""
        with self.asking:
            self.reporter.put("ask", question)
            return self.reporter.wait_for_answer()


inside: ContextVar[Inside] = ContextVar("greenroom-tool")
"""The call whose tool runs."""


def context() -> CallContext:
    """The call that the tool runs for.

    Raises:
        GreenroomError: no tool of an agent runs here.
    """
    return _inside().call


def status(text: str, name: str | None = None) -> None:
    """Tell those who watch the run how the tool does."""
    _inside().reporter.put("status", {"text": text, "name": name})


async def ask(
    question: str,
    answer: type[Answered] = str,  # type: ignore[assignment]
    *,
    timeout_s: float | None = None,
    if_expired: IfExpired = "fail",
) -> Answered | None:
    """Ask a person, and wait for the answer; for tools that are ``async def``.

    The thread of the agent keeps its process meanwhile, since the tool runs there. An approval of the call, or a client
    tool, needs none while it waits.

    Args:
        answer: what the answer must be, as pydantic has it.
        timeout_s: for so long; None for ever. The tool's own time limit stands still meanwhile.
        if_expired: the run fails then, or this returns None.

    Raises:
        InvalidRequest: ``timeout_s`` is not from 0 to 30 days.
    """
    check_timeout("the timeout_s of an ask", timeout_s)
    call, adapter = _inside(), TypeAdapter(answer)
    asked = {
        "question": question,
        "schema": adapter.json_schema(),
        "timeout_s": timeout_s,
        "if_expired": if_expired,
    }
    given = await asyncio.to_thread(call.ask, asked)
    return None if given is None else adapter.validate_python(given[0])


def _inside() -> Inside:
    try:
        return inside.get()
    except LookupError:
        raise GreenroomError("this is only there for a tool while an agent runs it") from None
