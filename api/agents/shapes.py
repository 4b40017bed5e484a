"""The decorator that makes a function an agent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any, overload

from api.agents.agent import Agent
from api.agents.prompts import AgentFunction
from api.agents.tools import AnyTool
from api.mcp_servers import McpServer
from api.threads.commands import IfBusy


@overload
def agent(function: AgentFunction, /) -> Agent: ...


@overload
def agent(
    *,
    name: str | None = None,
    model: str | None = None,
    tools: Sequence[AnyTool | Agent | McpServer] = (),
    handoffs: Sequence[Agent] = (),
    max_actions: int | None = 5,
    max_tokens: int | None = None,
    timeout_s: float | None = None,
    if_busy: IfBusy = "queue",
    statuses: bool | Collection[str] = True,
    memory: bool = False,
    description: str = "",
) -> Callable[[AgentFunction], Agent]: ...


def agent(function: AgentFunction | None = None, /, **options: Any) -> Any:
    """Make ``async def f(prompt: Prompt)`` an agent: it works on the prompts of a thread, instead of a model.

    It can ``call`` the agent's tools, ``emit`` what it has to say, ``ask`` a person, tell a ``status``, and end with a
    ``handoff``; and it has all that a program has (see ``api.inferlet``), but for messages. Where its process dies it
    runs again from its start, and its calls return what they returned: between two of them it must do the same each
    time. What it raises fails the run (``agent_error``); a limit that it reaches ends the run, whatever it catches. It
    is run again with what the run was steered with meanwhile. Tasks that it has begun end with it.

    Args:
        name: by default the function's.
        model: ``prompt.model``. What it says counts towards ``max_tokens``.
        tools, handoffs: what it may call, and hand over to.
        description: by default the function's docstring.

    See ``Agent`` for the others.

    Raises:
        InvalidRequest: as ``Agent``.
    """
    if function is not None:
        return _agent(function)
    return lambda decorated: _agent(decorated, **options)


def _agent(function: AgentFunction, name: str | None = None, description: str = "", **options: Any) -> Agent:
    description = description or inspect.getdoc(function) or ""
    return Agent(name or function.__name__, function=function, description=description, **options)
