"""An agent: a model, what it is told, and its tools."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from api.agents.tools import AnyTool, check_timeout
from api.errors import InvalidRequest
from api.names import check_name
from api.threads.commands import IfBusy
from api.tools import ToolChoice, check_tools

STATUSES = ("model", "tool", "window")
"""Of the statuses that agents tell by themselves."""


@dataclass(frozen=True)
class Agent:
    """What answers the prompts of a thread: the model speaks, calls tools, is told their results, and speaks again.

    Attributes:
        model: a name or an alias; None for the default one.
        system: what the model is told first.
        max_actions: calls of tools in one run; None for any number.
        max_tokens: tokens that the model may say in one run.
        timeout_s: time for one run, without that in which it waits for answers.
        if_busy: what becomes of a prompt that comes while another runs: "queue", "reject", "interrupt" (which ends
            that run and keeps what it said), "rollback" (which takes it out of the conversation), or "steer" (the
            prompt joins that run).
        statuses: whether those who watch are told how a run does; or of what, of ``STATUSES``.

    Raises:
        InvalidRequest: two tools have one name, or something is not what it must be.
    """

    name: str
    model: str | None = None
    system: str = ""
    tools: Sequence[AnyTool] = ()
    max_actions: int | None = 5
    max_tokens: int | None = None
    timeout_s: float | None = None
    if_busy: IfBusy = "queue"
    statuses: bool | Collection[str] = True

    def __post_init__(self) -> None:
        check_name("the name of an agent", self.name)
        if "/" in self.name:
            raise InvalidRequest("the name of an agent has no '/'")
        check_timeout("the timeout_s of an agent", self.timeout_s)
        check_tools([tool.spec for tool in self.tools], ToolChoice())

    def tool(self, name: str) -> AnyTool | None:
        """The tool of this name; None where it has none."""
        return next((tool for tool in self.tools if tool.name == name), None)

    def tells(self, status: str) -> bool:
        """Whether those who watch are told of this."""
        return self.statuses is True or (not isinstance(self.statuses, bool) and status in self.statuses)
