"""Tools that a model may call, and its calls, whichever protocol they come through."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from api.errors import InvalidRequest

MAX_TOOLS = 128
MAX_TOOL_CHARACTERS = 262_144
"""Of all tools of a turn together: names, descriptions and schemas."""
MAX_NAME = 128
_NAME = re.compile(rf"[A-Za-z0-9_./:-]{{1,{MAX_NAME}}}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call.

    Attributes:
        parameters: JSON text of the schema that the arguments, an object, are valid under.
        strict: refuse the turn where no grammar holds the whole schema; else what can be held is held.

    Raises:
        InvalidRequest: the name has other characters than letters, digits and ``_./:-``, or more than 128; or the
            schema is not one of an object.
    """

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'
    strict: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidRequest(
                f"a tool's name has 1 to {MAX_NAME} letters, digits and characters of _./:-, not {self.name!r:.140}"
            )
        try:
            schema = json.loads(self.parameters)
        except (ValueError, RecursionError):
            raise InvalidRequest(f"the parameters of tool {self.name!r} are not JSON") from None
        if not isinstance(schema, dict) or schema.get("type", "object") != "object":
            raise InvalidRequest(f'the parameters of tool {self.name!r} must be a schema of "type" "object"')


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model has made; ``arguments`` is JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model calls tools: as it likes ("auto"), never ("none"), or at least one ("required").

    Attributes:
        names: the tools that may be called; any where it is empty. The others are still shown to the model.
    """

    mode: Literal["auto", "none", "required"] = "auto"
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str) -> ToolChoice:
        """This tool must be called."""
        return cls("required", (name,))


def check_tools(tools: Iterable[Tool], choice: ToolChoice) -> None:
    """Refuse tools of one name, too many of them, and a choice that there is not.

    Raises:
        InvalidRequest: one sentence.
    """
    by_name = {}
    for tool in tools:
        if tool.name in by_name:
            raise InvalidRequest(f"two tools are called {tool.name!r}")
        by_name[tool.name] = tool
    if len(by_name) > MAX_TOOLS:
        raise InvalidRequest(f"a turn can have {MAX_TOOLS} tools, not {len(by_name)}")
    size = sum(len(tool.name) + len(tool.description) + len(tool.parameters) for tool in by_name.values())
    if size > MAX_TOOL_CHARACTERS:
        raise InvalidRequest(f"the tools of a turn can have {MAX_TOOL_CHARACTERS} characters, not {size}")
    for name in choice.names:
        if name not in by_name:
            raise InvalidRequest(f"no tool is called {name!r:.140}")
    if choice.mode == "required" and not by_name:
        raise InvalidRequest("a tool call is required, but there are no tools")
