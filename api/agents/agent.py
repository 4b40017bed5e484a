"""An agent: a model, what it is told, and its tools."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from api.agents.failures import Failed
from api.agents.prompts import AgentFunction
from api.agents.tools import AnyTool, check_timeout, spec_of
from api.constraints import Constraint, JsonSchema
from api.errors import InvalidRequest
from api.mcp_servers import McpServer
from api.names import check_name
from api.threads.commands import IfBusy
from api.tools import Tool, ToolChoice, check_tools

STATUSES = ("model", "tool", "window")
"""Of the statuses that agents tell by themselves."""


class Asked(BaseModel):
    """The arguments of a call of an agent."""

    model_config = ConfigDict(extra="forbid")

    prompt: str


class HandedOver(BaseModel):
    """The arguments of a handoff."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Agent:
    """What answers the prompts of a thread: the model speaks, calls tools, is told their results, and speaks again.

    Attributes:
        description: what other agents are told that may call it or hand over to it.
        model: a name or an alias; None for the default one.
        system: what the model is told first.
        tools: an agent among them is asked in a run of its own, below the one that calls it, and knows nothing but
            what it is asked; its answer is the result. The tools of a server among them join when it has told them.
        handoffs: agents that the model may hand the thread over to: they go on with it, and know what was said.
        output: the type that the answer is of, as pydantic has it: the model is held to it, and the answer is JSON.
        memory: whether its tools have one; see ``Memory``.
        max_actions: calls of tools in one run and those below it; None for any number.
        max_tokens: tokens that models may say in one run and those below it.
        timeout_s: time for one run, without that in which it waits for answers.
        if_busy: what becomes of a prompt that comes while another runs: "queue", "reject", "interrupt" (which ends
            that run and keeps what it said), "rollback" (which takes it out of the conversation), or "steer" (the
            prompt joins that run, unless it has limits, metadata or the like for a run of its own: then it waits).
        statuses: whether those who watch are told how a run does; or of what: names of ``STATUSES``, and of
            a function's own statuses. What a tool tells with ``status`` is always shown.
        function: what works on the prompts instead of the model; see ``agent``.

    Raises:
        InvalidRequest: two tools or two servers have one name, or something is not what it must be.
    """

    name: str
    model: str | None = None
    system: str = ""
    tools: Sequence[AnyTool | Agent | McpServer] = ()
    handoffs: Sequence[Agent] = ()
    output: Any = None
    memory: bool = False
    max_actions: int | None = 5
    max_tokens: int | None = None
    timeout_s: float | None = None
    if_busy: IfBusy = "queue"
    statuses: bool | Collection[str] = True
    description: str = ""
    function: AgentFunction | None = None
    max_calls: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        check_name("the name of an agent", self.name)
        if "/" in self.name:
            raise InvalidRequest("the name of an agent has no '/'")
        check_timeout("the timeout_s of an agent", self.timeout_s)
        if self.function and not inspect.iscoroutinefunction(self.function):
            raise InvalidRequest("a function that is an agent is an async def")
        _ = self.constraint
        check_tools([tool.spec for tool in self.callables], ToolChoice())
        names = {server.name for server in self.servers}
        if len(names) < len(self.servers):
            raise InvalidRequest(f"agent {self.name!r} has two MCP servers of one name")

    @property
    def callables(self) -> tuple[Callables, ...]:
        """All that the model may call, but the tools of servers (which ``Toolbox`` has): tools, and handoffs."""
        own = (tool for tool in self.tools if not isinstance(tool, McpServer))
        return (*own, *map(Handoff, self.handoffs))

    @property
    def servers(self) -> tuple[McpServer, ...]:
        """Those among its tools."""
        return tuple(tool for tool in self.tools if isinstance(tool, McpServer))

    @property
    def spec(self) -> Tool:
        """What another agent's model is told of it as a tool."""
        return spec_of(self.name, self.description or f"Ask the agent {self.name}.", Asked)

    @property
    def constraint(self) -> Constraint | None:
        """What the model's answer is held to."""
        return None if self.output is None else JsonSchema(json.dumps(TypeAdapter(self.output).json_schema()))

    def check_output(self, text: str) -> None:
        """That an answer is what it should be.

        Raises:
            Failed: it is not.
        """
        try:
            if self.output is not None:
                TypeAdapter(self.output).validate_json(text)
        except ValidationError as error:
            sentence = f"the answer is not of the agent's output: {error.errors()[0]['msg']}"
            raise Failed("output_invalid", sentence) from None

    def reachable(self) -> dict[str, Agent]:
        """By name: this one, and those that a thread of it may be handed to."""
        found: dict[str, Agent] = {}
        waiting = [self]
        while waiting:
            agent = waiting.pop()
            if agent.name not in found:
                found[agent.name] = agent
                waiting += agent.handoffs
        return found

    def tells(self, status: str) -> bool:
        """Whether those who watch are told of this."""
        return self.statuses is True or (not isinstance(self.statuses, bool) and status in self.statuses)


@dataclass(frozen=True, slots=True)
class Handoff:
    """To hand a thread over to an agent, as what the model may call."""

    agent: Agent
    max_calls: ClassVar[int | None] = None

    @property
    def name(self) -> str:
        """What the model calls it by."""
        return f"transfer_to_{self.agent.name}"

    @property
    def spec(self) -> Tool:
        """What the model is told of it."""
        description = f"Hand the conversation over to {self.agent.name}. {self.agent.description}".rstrip()
        return spec_of(self.name, description, HandedOver)


Callables: TypeAlias = AnyTool | Agent | Handoff
