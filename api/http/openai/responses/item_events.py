"""The items of a response, and the events of their coming."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta
from api.http.openai.responses.ids import output_item_id
from api.http.openai.responses.items import Item, output_text, reasoning_text
from api.http.openai.responses.opaque import opaque

Event = dict[str, Any]


class ItemEvents:
    """One item after the other.

    Attributes:
        items: those that have begun, as they are now.
        number: of the next event.

    Args:
        after: events up to this number are left out.
        encrypts_reasoning: see ``ENCRYPTED_REASONING``.
    """

    def __init__(self, response_id: str, after: int = -1, encrypts_reasoning: bool = False) -> None:
        self.items: list[Item] = []
        self.number = 0
        self._response_id = response_id
        self._after = after
        self._encrypts_reasoning = encrypts_reasoning
        self._events: list[Event] = []
        self._logprobs: list[Item] = []

    def add(self, events: Iterable[AnswerEvent]) -> None:
        """What the model says next."""
        for event in events:
            match event:
                case ReasoningDelta(text):
                    self._delta("reasoning", "response.reasoning.delta", text)
                case TextDelta(text):
                    self._delta("message", "response.output_text.delta", text)
                case CallBegun(_, id, name):
                    self.close("completed")
                    self._open("function_call", call_id=id, name=name, arguments="")
                case ArgumentsDelta(_, text):
                    item = self.items[-1]
                    item["arguments"] += text
                    self.emit("response.function_call_arguments.delta", **self._place(), delta=text)
                case CallEnded():
                    self.close("completed")

    def add_text(self, delta: TextDelta | ReasoningDelta | ArgumentsDelta) -> None:
        """The same of a text that might be cut anywhere: each character has a number, and a delta that of its last."""
        first, others = delta.text[:1], delta.text[1:]
        self.add([replace(delta, text=first)])  # where it begins an item, that has numbers too
        num_told = max(self._after + 1 - self.number, 0)
        for piece in (others[:num_told], others[num_told:]):
            if piece:
                self.number += len(piece) - 1
                self.add([replace(delta, text=piece)])

    def add_result(self, call_id: str, output: str, status: str) -> None:
        """The result of a call."""
        self.close("completed")
        self._open("function_call_output", call_id=call_id, output=output)
        self.close(status)

    def emit(self, kind: str, **data: Any) -> None:
        """Add an event under the next number."""
        if self.number > self._after:
            self._events.append({"type": kind, "sequence_number": self.number, **data})
        self.number += 1

    def end(self, kind: str, **data: Any) -> None:
        """Add the last event, which is never left out: it has the next number that is after those."""
        self.number = max(self.number, self._after + 1)
        self.emit(kind, **data)

    def drain(self) -> list[Event]:
        """The events since the last time, deltas that follow each other as one."""
        events, self._events = _merged(self._events), []
        return events

    def opening(self, *kinds: str, response: Item) -> list[Event]:
        """The events before the first token."""
        self.number = 0
        for kind in kinds:
            self.emit(kind, response=response)
        return self.drain()

    def _delta(self, item_kind: str, event_kind: str, text: str) -> None:
        if not self._is_open(item_kind):
            self.close("completed")
            fields: Item = (
                {"summary": [], "content": []} if item_kind == "reasoning" else {"role": "assistant", "content": []}
            )
            self._open(item_kind, **fields)
        part = self.items[-1]["content"][0]
        part["text"] += text
        logprobs: Item = {}
        if item_kind == "message":
            logprobs, self._logprobs = {"logprobs": self._logprobs}, []
            part["logprobs"] += logprobs["logprobs"]
        self.emit(event_kind, **self._place(), content_index=0, delta=text, **logprobs)

    def _is_open(self, kind: str) -> bool:
        return bool(self.items) and self.items[-1]["type"] == kind and self.items[-1]["status"] == "in_progress"

    def _open(self, kind: str, **fields: Any) -> None:
        item_id = output_item_id(self._response_id, kind, len(self.items))
        item = {"type": kind, "id": item_id, "status": "in_progress", **fields}
        self.items.append(item)
        self.emit("response.output_item.added", output_index=len(self.items) - 1, item=_copy(item))
        if "content" in fields:
            item["content"].append(_empty_part(kind))
            self.emit("response.content_part.added", **self._place(), content_index=0, part=_empty_part(kind))

    def close(self, status: str) -> None:
        """End the open item, if there is one."""
        if not self.items or self.items[-1]["status"] != "in_progress":
            return
        item = self.items[-1]
        item["status"] = status
        if item["type"] == "function_call":
            done = {"arguments": item["arguments"], "name": item["name"]}
            self.emit("response.function_call_arguments.done", **self._place(), **done)
        elif "content" in item:
            self._close_part(item)
        self.emit("response.output_item.done", output_index=len(self.items) - 1, item=_copy(item))

    def _close_part(self, item: Item) -> None:
        part = item["content"][0]
        if item["type"] == "message":
            done = {"text": part["text"], "logprobs": part["logprobs"]}
            self.emit("response.output_text.done", **self._place(), content_index=0, **done)
        else:
            if self._encrypts_reasoning:
                item["encrypted_content"] = opaque(part["text"])
            self.emit("response.reasoning.done", **self._place(), content_index=0, text=part["text"])
        self.emit("response.content_part.done", **self._place(), content_index=0, part=dict(part))

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}


def _empty_part(kind: str) -> Item:
    return output_text("") if kind == "message" else reasoning_text("")


def _copy(item: Item) -> Item:
    return {**item, **({"content": [dict(part) for part in item["content"]]} if "content" in item else {})}


def _merged(events: Iterable[Event]) -> list[Event]:
    merged: list[Event] = []
    for event in events:
        last = merged[-1] if merged else None
        if last and "delta" in event and (last["type"], last.get("item_id")) == (event["type"], event["item_id"]):
            logprobs = {"logprobs": last["logprobs"] + event["logprobs"]} if "logprobs" in event else {}
            merged[-1] = {**event, "delta": last["delta"] + event["delta"], **logprobs}
        else:
            merged.append(event)
    return merged
