"""What an answer is held to where its turn has tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from api.answers.formats import AnswerFormat
from api.constraints import Constraint, Grammar
from api.errors import Unsupported
from api.tools import Tool, ToolChoice
from api.turns import TurnRequest


@dataclass(frozen=True, slots=True)
class AnswerConstraint:
    """Reasoning where the model does that, then text, or calls, or text and calls.

    Attributes:
        tools: those that may be called.
        mode: whether calls are possible, needed, or not possible; see ``ToolChoice``.
        has_many: whether there may be several calls.
        text: what the text is held to; calls have no text before them then.
    """

    format: AnswerFormat
    tools: tuple[Tool, ...]
    mode: Literal["auto", "none", "required"]
    has_many: bool
    text: Constraint | None = None

    @property
    def mark_ids(self) -> frozenset[int]:
        """Tokens that are none of the text."""
        return frozenset(token_id for _, token_id in self.format.mark_ids)


EngineConstraint: TypeAlias = Constraint | AnswerConstraint
"""What engines hold the output of a turn to."""


def constraint_of(request: TurnRequest, format: AnswerFormat) -> EngineConstraint | None:
    """What the output of a turn is held to, in a model that writes this format; None for nothing.

    In channels is what is read as such: a reply to messages. What goes on from a text, or from tokens, is that text.

    Raises:
        Unsupported: the turn has tools, and the model has no calls, or the text is held to a grammar beside them.
    """
    if not request.tools and not (request.is_held_reply and format.has_channels):
        return request.constraint
    calls = format.require_calls()
    choice = request.tool_choice if request.tools else ToolChoice("none")
    if (
        choice.mode == "none"
        and not format.has_channels
        and not any(calls.opening == mark for mark, _ in format.mark_ids)
    ):
        return request.constraint
    if choice.mode != "required" and isinstance(request.constraint, Grammar):
        where = "in a channel" if format.has_channels else "beside tools that may be called"
        raise Unsupported(f"a grammar is not supported {where}")
    tools = tuple(tool for tool in request.tools if not choice.names or tool.name in choice.names)
    return AnswerConstraint(format, tools, choice.mode, request.parallel_tool_calls, request.constraint)
