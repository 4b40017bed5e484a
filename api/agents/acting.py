"""What a function that is an agent can do: call, say, and hand over. See ``agent``."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Literal, Protocol

from api.agents.agent import Agent
from api.agents.call_context import CallContext
from api.agents.tools import AnyTool, IfExpired
from api.errors import GreenroomError

EmitKind = Literal["message", "reasoning"]


class Acting(Protocol):
    """The run of a function. ``context`` has no call."""

    context: CallContext

    async def call(self, tool: AnyTool | Agent | str, arguments: dict[str, Any]) -> Any:
        """See ``call``."""
        ...

    async def emit(self, kind: EmitKind, content: Any) -> None:
        """See ``emit``."""
        ...

    async def hand_over(self, agent: Agent) -> None:
        """See ``handoff``."""
        ...

    async def ask(self, question: str, schema: dict[str, Any], timeout_s: float | None, if_expired: IfExpired) -> Any:
        """The answer as a list of one; None where it has expired."""
        ...

    async def remember(self, operation: str, key: str, value: Any) -> Any:
        """What an operation on the agent's memory comes to."""
        ...

    def status(self, text: str, name: str | None) -> None:
        """Tell those who watch."""
        ...


acting: ContextVar[Acting] = ContextVar("greenroom-agent")
"""The run whose function runs here."""


async def call(tool: AnyTool | Agent | str, /, **arguments: Any) -> Any:
    """Call a tool of the agent's, or an agent among them, as a model would: with approvals, limits and blocks.

    Several at once are calls in ``asyncio.gather``. Tools of a server's and of the caller's are called by their names.

    Returns:
        What it comes to: text, JSON, a ``File``, a tuple of several, or None.

    Raises:
        InvalidRequest: the agent has no such tool, or the arguments have no form in JSON.
        CallFailed: the call failed; its ``code`` says how. What the tool raised is raised as it is where it is one of
            Python's own exceptions.
    """
    return await _acting().call(tool, arguments)


async def emit(kind: EmitKind, content: object) -> None:
    """Say something: text, a ``File``, bytes, JSON, a tuple of these, or an async iterator of them, shown as they come.

    The last message is the answer of the run.

    Raises:
        InvalidRequest: it is none of these.
    """
    await _acting().emit(kind, content)


async def handoff(agent: Agent) -> None:
    """Let one of the agent's ``handoffs`` go on with the thread. Nothing after it is run.

    Raises:
        InvalidRequest: it is none of these.
    """
    await _acting().hand_over(agent)


def _acting() -> Acting:
    try:
        return acting.get()
    except LookupError:
        raise GreenroomError("this is only there for a function under @agent while it runs") from None
