"""A response's output: its items, and the events of their coming, from the turn's tokens.

An event's number is a function of the tokens before it, so that it is the same on every reading: each token has
``NUMBERS`` of them, in the order of its events. Deltas of one frame are one event with the last one's number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta
from api.answers.parser import AnswerParser
from api.http.openai.responses.ids import output_item_id
from api.http.openai.responses.items import Item, output_text, reasoning_text
from api.http.openai.responses.opaque import opaque
from api.turns import Frame

FAILED = 1 << 40
"""The first number of the events that tell of a failure, wherever it came."""

NUMBERS = 64
"""Events that one token can have, and those before the first token together: far more than a token's few."""

ENCRYPTED_REASONING = "reasoning.encrypted_content"
"""In ``include``: reasoning has a text that stands for it, which clients that keep nothing else can send back."""

Event = dict[str, Any]


class Output:
    """Takes a turn's frames from its first token on.

    Attributes:
        items: those that have begun, as they are now.
        num_tokens, num_reasoning: of the output, and of these before the answer proper.

    Args:
        after: events up to this number are left out.
        encrypts_reasoning: see ``ENCRYPTED_REASONING``.
    """

    def __init__(
        self, response_id: str, parser: AnswerParser, after: int = -1, encrypts_reasoning: bool = False
    ) -> None:
        self.items: list[Item] = []
        self.num_tokens = 0
        self.num_reasoning = 0
        self._response_id = response_id
        self._parser = parser
        self._after = after
        self._encrypts_reasoning = encrypts_reasoning
        self._number = NUMBERS
        self._events: list[Event] = []
        self._logprobs: list[Item] = []

    def take(self, frame: Frame, logprobs: Sequence[Item] = ()) -> list[Event]:
        """The events of the next frame; of its end too, where it is the last.

        Args:
            logprobs: of its tokens, where they are asked for; an end token has none.
        """
        for index, (token_id, piece) in enumerate(zip(frame.ids, frame.pieces, strict=True)):
            self.num_tokens += 1
            self._number = self.num_tokens * NUMBERS
            was_in_text = self._parser.is_in_text
            self._logprobs += logprobs[index : index + 1]
            self._add(self._parser.token(token_id, piece))
            self.num_reasoning += bool(self._is_open("reasoning"))
            if not (was_in_text and self._parser.is_in_text):
                self._logprobs = []
        if frame.finish is not None:
            self._number = (self.num_tokens + 1) * NUMBERS
            self._add(self._parser.finish(frame.finish.tail))
            if not self.items and frame.finish.reason != "distribution":
                self._open("message", role="assistant", content=[])
            self._close("completed" if frame.finish.reason in ("eos", "stop") else "incomplete")
        return self.drain()

    def cut(self) -> list[Event]:
        """The events of an end that is no turn's end: the open item stays incomplete."""
        self._number = FAILED
        self._close("incomplete")
        return self.drain()

    def emit(self, kind: str, **data: Any) -> None:
        """Add an event under the next number."""
        if self._number > self._after:
            self._events.append({"type": kind, "sequence_number": self._number, **data})
        self._number += 1

    def drain(self) -> list[Event]:
        """The events since the last time, deltas that follow each other as one."""
        events, self._events = _merged(self._events), []
        return events

    def opening(self, *kinds: str, response: Item) -> list[Event]:
        """The events before the first token."""
        self._number = 0
        for kind in kinds:
            self.emit(kind, response=response)
        return self.drain()

    def _add(self, events: Iterable[AnswerEvent]) -> None:
        for event in events:
            match event:
                case ReasoningDelta(text):
                    self._delta("reasoning", "response.reasoning.delta", text)
                case TextDelta(text):
                    self._delta("message", "response.output_text.delta", text)
                case CallBegun(_, id, name):
                    self._close("completed")
                    self._open("function_call", call_id=id, name=name, arguments="")
                case ArgumentsDelta(_, text):
                    item = self.items[-1]
                    item["arguments"] += text
                    self.emit("response.function_call_arguments.delta", **self._place(), delta=text)
                case CallEnded():
                    self._close("completed")

    def _delta(self, item_kind: str, event_kind: str, text: str) -> None:
        if not self._is_open(item_kind):
            self._close("completed")
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

    def _close(self, status: str) -> None:
        if not self.items or self.items[-1]["status"] != "in_progress":
            return
        item = self.items[-1]
        item["status"] = status
        if item["type"] == "function_call":
            done = {"arguments": item["arguments"], "name": item["name"]}
            self.emit("response.function_call_arguments.done", **self._place(), **done)
        else:
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
