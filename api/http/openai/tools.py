"""``tools`` and ``tool_choice`` of a chat, for the engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from api.errors import InvalidRequest
from api.http.openai.envelope import InvalidField
from api.http.openai.schemas import Lenient
from api.tools import Tool, ToolChoice, check_tools


class FunctionBody(Lenient):
    """``function`` of a tool."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def tool(self) -> Tool:
        """The same for the engine.

        Raises:
            InvalidField: it cannot be.
        """
        parameters = self.parameters or {"type": "object", "properties": {}}
        try:
            return Tool(self.name, self.description or "", json.dumps(parameters, allow_nan=False), bool(self.strict))
        except ValueError:
            raise InvalidField("a schema has a number that is not finite", "tools") from None
        except InvalidRequest as error:
            raise InvalidField(str(error), "tools") from None


class ToolBody(Lenient):
    """One tool."""

    type: str
    function: FunctionBody | None = None


class NamedFunction(Lenient):
    """``function`` of a choice."""

    name: str


class NamedTool(Lenient):
    """A tool in a choice."""

    type: str
    function: NamedFunction | None = None


class AllowedTools(Lenient):
    """``allowed_tools`` of a choice."""

    mode: Literal["auto", "required"]
    tools: tuple[NamedTool, ...] = Field(max_length=128)


class ChoiceBody(NamedTool):
    """``tool_choice`` that is an object."""

    allowed_tools: AllowedTools | None = None

    def choice(self) -> ToolChoice:
        """The same for the engine.

        Raises:
            InvalidField: it names no function.
        """
        if self.type == "function" and self.function is not None:
            return ToolChoice.of(self.function.name)
        if self.type == "allowed_tools" and self.allowed_tools is not None:
            functions = [tool.function for tool in self.allowed_tools.tools]
            if functions and None not in functions:
                return ToolChoice(self.allowed_tools.mode, tuple(function.name for function in functions if function))
        raise InvalidField("tool_choice needs the name of a function", "tool_choice")


def tools_of(bodies: Sequence[ToolBody]) -> tuple[Tool, ...]:
    """The tools.

    Raises:
        InvalidField: one is of a kind that is not supported, or cannot be.
    """
    for body in bodies:
        if body.type != "function":
            raise InvalidField(f"tools of type {body.type!r:.100} are not supported", "tools", "unsupported_content")
        if body.function is None:
            raise InvalidField("a tool needs a function", "tools")
    return tuple(body.function.tool() for body in bodies if body.function)


def choice_of(body: str | ChoiceBody | None, tools: Sequence[Tool]) -> ToolChoice:
    """The choice among these tools; "auto" where nothing is said.

    Raises:
        InvalidField: there is no such choice.
    """
    match body:
        case ChoiceBody():
            choice = body.choice()
        case None | "auto":
            choice = ToolChoice()
        case "none":
            choice = ToolChoice("none")
        case "required":
            choice = ToolChoice("required")
        case _:
            raise InvalidField(f"tool_choice cannot be {body!r:.100}", "tool_choice")
    try:
        check_tools(tools, choice)
    except InvalidRequest as error:
        raise InvalidField(str(error), "tools") from None
    return choice
