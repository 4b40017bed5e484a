"""``tools`` and ``tool_choice`` of a response: for the engine, and as they are shown again."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from api.errors import InvalidRequest
from api.http.openai.envelope import InvalidField
from api.http.openai.schemas import Lenient
from api.tools import Tool, ToolChoice

SKIPPED = ("namespace", "web_search", "web_search_preview", "local_shell")
"""Tools of OpenAI's own servers that clients send along with theirs: left out, with a warning."""


class ToolBody(Lenient):
    """One tool."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def tool(self) -> Tool:
        """The same for the engine.

        Raises:
            InvalidField: it is of a kind that is not supported, or cannot be.
        """
        if self.type != "function":
            raise InvalidField(f"tools of type {self.type!r:.100} are not supported", "tools", "unsupported_content")
        if self.name is None:
            raise InvalidField("a function needs a name", "tools")
        parameters = self.parameters or {"type": "object", "properties": {}}
        try:
            return Tool(self.name, self.description or "", json.dumps(parameters, allow_nan=False), bool(self.strict))
        except ValueError:
            raise InvalidField("a schema has a number that is not finite", "tools") from None
        except InvalidRequest as error:
            raise InvalidField(str(error), "tools") from None

    @classmethod
    def read(cls, view: dict[str, Any]) -> ToolBody:
        """What ``view`` showed."""
        return cls.model_validate(view)

    def view(self) -> dict[str, object]:
        """As it is shown again."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": bool(self.strict),
        }


class NamedTool(Lenient):
    """A tool in a choice."""

    type: str
    name: str | None = None


class ChoiceBody(Lenient):
    """``tool_choice`` that is an object."""

    type: str
    name: str | None = None
    tools: tuple[NamedTool, ...] = Field(default=(), max_length=128)
    mode: Literal["auto", "none", "required"] = "auto"

    def choice(self) -> ToolChoice:
        """The same for the engine.

        Raises:
            InvalidField: it is of a kind that is not supported.
        """
        names = [self.name] if self.type == "function" else [tool.name for tool in self.tools]
        if self.type not in ("function", "allowed_tools") or any(tool.type != "function" for tool in self.tools):
            raise InvalidField(
                f"a tool_choice of type {self.type!r:.100} is not supported", "tool_choice", "unsupported"
            )
        if not names or None in names:
            raise InvalidField("tool_choice needs the name of a function", "tool_choice")
        found = tuple(name for name in names if name is not None)
        return ToolChoice.of(*found) if self.type == "function" else ToolChoice(self.mode, found)

    def view(self) -> dict[str, object]:
        """As it is shown again."""
        if self.type == "function":
            return {"type": "function", "name": self.name}
        tools = [{"type": tool.type, "name": tool.name} for tool in self.tools]
        return {"type": "allowed_tools", "tools": tools, "mode": self.mode}


def choice_of(body: str | ChoiceBody | None) -> ToolChoice:
    """The choice for the engine; "auto" where nothing is said.

    Raises:
        InvalidField: there is no such choice.
    """
    match body:
        case ChoiceBody():
            return body.choice()
        case None | "auto":
            return ToolChoice()
        case "none":
            return ToolChoice("none")
        case "required":
            return ToolChoice("required")
    raise InvalidField(f"tool_choice cannot be {body!r:.100}", "tool_choice")
