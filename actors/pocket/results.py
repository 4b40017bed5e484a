"""What tools answer, and what the model says of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from actors.pocket import words
from actors.pocket.draw import Draw
from actors.pocket.tools import Tool

KEYS = ("result", "status", "value", "text", "title", "id", "amount", "count", "number", "size", "level")


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool answered, what the model says of it, and what must occur in that."""

    text: str
    reply: str
    truth: str


def drawn_result(draw: Draw, tool: Tool, is_brief: bool = False) -> Result:
    """A number, some words, a sentence, or JSON of one field or two."""
    style = draw.random.random()
    if style < 0.4:
        key = tool.noun.replace(" ", "_") if draw.chance(0.5) else draw.item(KEYS)
        fields: dict[str, str | int | float | bool] = {key: _value(draw)}
        if draw.chance(0.3) and not draw.held_out_values:
            fields[draw.item(KEYS)] = _value(draw)
        said = [(key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in fields.items()]
        first = said[0][1]
        spoken = ", the ".join(f"{key} is {value}" for key, value in said)
        return Result(json.dumps(fields, ensure_ascii=False), _closed(first if is_brief else f"The {spoken}"), first)
    text = str(_value(draw)) if style < 0.8 else _sentence(draw)
    return Result(text, _closed(text if is_brief else f"The answer is: {text}"), text.rstrip(".!?"))


def _closed(text: str) -> str:
    return text if text[-1] in ".!?" else f"{text}."


def _value(draw: Draw) -> str | int | float | bool:
    style = draw.random.random()
    if style < 0.35:
        return draw.random.randint(0, draw.item((99, 99, 999, 9999)))
    if style < 0.45:
        return draw.random.randint(0, 999) / 10
    if style < 0.5 and not draw.held_out_values:
        return draw.chance(0.5)
    if style < 0.65:
        return f"{draw.random.randint(0, 99)} {draw.item(('degrees', 'euros', 'minutes', 'km', 'percent', 'hours'))}"
    if style < 0.9 or draw.held_out_values:
        return draw.value(draw.item(("person", "place", "thing")))
    return f"{draw.item(words.NOUNS)} and {draw.invented_word()}"


def _sentence(draw: Draw) -> str:
    start = draw.item(("The {noun} is", "There is {noun}", "We found", "It will be", "{Noun} for", "Your {noun} has"))
    noun = draw.item(words.NOUNS)
    parts = [
        draw.item((draw.invented_word(), draw.item(words.NOUNS), draw.item(("and", "in", "until", "at", "with", "12"))))
        for _ in range(draw.random.randint(2, 7))
    ]
    return " ".join((start.format(noun=noun, Noun=noun.capitalize()), *parts)) + draw.item((".", ".", ""))
