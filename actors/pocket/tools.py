"""Tools that a system text names: how the chat template shows them and their calls, and how users ask for them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from actors.pocket.chat_template import CALL_BEGIN, CALL_END, LEFT_OUT, MAX_DESCRIPTION, SIGNS, TOOL_MARKS
from actors.pocket.draw import Draw, Kind


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the system text shows it, and how users ask for it.

    Attributes:
        parameters: (name, kind of its values), in order: at most two.
        verb, noun: fill ``requests``; at least one of them is in the name or the description.
    """

    name: str
    parameters: tuple[tuple[str, Kind], ...]
    description: str
    verb: str
    noun: str
    requests: tuple[str, ...]

    def asked(self, draw: Draw) -> tuple[str, dict[str, str | int]]:
        """A request, and the arguments of its call."""
        values = [draw.value(kind) for _, kind in self.parameters]
        verb = self.verb[:1].upper() + self.verb[1:]
        fields = {"verb": self.verb, "Verb": verb, "noun": self.noun, **dict(zip("ab", values, strict=False))}
        arguments = {
            name: int(value) if kind == "number" else value
            for (name, kind), value in zip(self.parameters, values, strict=True)
        }
        return draw.phrase(self.requests, **fields), arguments


def keywords(tool: Tool) -> list[str]:
    """The words of its name and description, as the chat template shows them."""
    text = f"{tool.name} {tool.description[:MAX_DESCRIPTION]}".lower()
    for sign in SIGNS:
        text = text.replace(sign, " ")
    return [word for word in dict.fromkeys(text.split()) if word not in LEFT_OUT]


def shown(tools: tuple[Tool, ...]) -> str:
    """What the chat template adds to the system text."""
    lines = ["Tools:"]
    for index, tool in enumerate(tools):
        mark = mark_of(index)
        parameters = ", ".join(name for name, _ in tool.parameters)
        lines.append(f"{mark}{tool.name}{mark}({parameters}):" + "".join(f" {word}{mark}" for word in keywords(tool)))
    return "\n".join(lines)


def call(tools: tuple[Tool, ...], tool: Tool, arguments: dict[str, str | int]) -> str:
    """A call, as the chat template shows it and as the model is to write it."""
    written = json.dumps(arguments, ensure_ascii=False)
    mark = mark_of(tools.index(tool))
    return f'{CALL_BEGIN}{mark}{{"name": "{tool.name}", "arguments": {written}}}{CALL_END}'


def mark_of(index: int) -> str:
    """The mark of the tool at this place; more tools than there are marks share them."""
    return TOOL_MARKS[index % len(TOOL_MARKS)]
