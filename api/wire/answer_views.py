"""A piece of an answer with reasoning and calls of tools, as the server writes it and the client reads it.

``text`` is there always, ``reasoning`` and ``calls`` where there is something of them. A call has ``id`` and ``name``
with its first piece, ``arguments`` are JSON text in pieces, and ``is_complete`` comes with the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta


def answer_view(events: Iterable[AnswerEvent]) -> dict[str, Any]:
    """The fields of events that follow each other."""
    view: dict[str, Any] = {"text": ""}
    calls: dict[int, dict[str, Any]] = {}
    for event in events:
        match event:
            case TextDelta(text):
                view["text"] += text
            case ReasoningDelta(text):
                view["reasoning"] = view.get("reasoning", "") + text
            case CallBegun(index, call_id, name):
                calls[index] = {"index": index, "id": call_id, "name": name, "arguments": ""}
            case ArgumentsDelta(index, text):
                calls.setdefault(index, {"index": index, "arguments": ""})["arguments"] += text
            case CallEnded(index):
                calls.setdefault(index, {"index": index, "arguments": ""})["is_complete"] = True
    return view | ({"calls": list(calls.values())} if calls else {})


def answer_events(view: Mapping[str, Any]) -> Iterator[AnswerEvent]:
    """The events that these fields are of: an answer's reasoning comes first, its calls last."""
    if view.get("reasoning"):
        yield ReasoningDelta(view["reasoning"])
    if view["text"]:
        yield TextDelta(view["text"])
    for call in view.get("calls", ()):
        if "id" in call:
            yield CallBegun(call["index"], call["id"], call["name"])
        if call["arguments"]:
            yield ArgumentsDelta(call["index"], call["arguments"])
        if call.get("is_complete"):
            yield CallEnded(call["index"])
