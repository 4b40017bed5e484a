"""Items: what goes into a response, in the form in which it is shown again, and as messages for the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from api.http.bodies import ToolName
from api.http.openai.envelope import InvalidField
from api.http.openai.messages import ContentPart, num_chars
from api.http.openai.responses.ids import input_item_id
from api.http.openai.responses.opaque import opaque, value_of
from api.http.openai.schemas import Lenient
from api.settings import MARK_CHARS
from api.tools import ToolCall
from api.turns import Message, Role

Item = dict[str, Any]
"""An item as clients are shown it."""

_ROLES: Mapping[str, Role] = {"user": "user", "system": "system", "developer": "developer", "assistant": "assistant"}


class InputItem(Lenient):
    """An item as clients send it; one without ``type`` is a message, or with an ``id`` alone a reference."""

    type: str | None = None
    id: str | None = None
    role: str | None = None
    content: str | tuple[ContentPart, ...] | None = None
    call_id: str | None = None
    name: ToolName | None = None
    arguments: str | None = None
    output: str | tuple[ContentPart, ...] | None = None
    summary: tuple[ContentPart, ...] | None = None
    encrypted_content: str | None = None

    @property
    def reference(self) -> str | None:
        """The id of the item that this stands for; None where it is an item itself."""
        is_bare = self.type is None and self.role is None
        return self.id if self.type == "item_reference" or is_bare else None

    def entries(self) -> Iterator[Item | str]:
        """The item, or those that it stands for, without ids; or the id of one that it only names.

        Raises:
            InvalidField: one is of a kind that is not supported, or lacks something.
        """
        if self.reference is not None:
            yield self.reference
        elif self.type != "compaction":
            yield self.item()
        else:
            for kept in self._compacted():
                yield kept.item()

    def _compacted(self) -> Iterator[InputItem]:
        kept = value_of(self.encrypted_content)
        try:
            yield from map(InputItem.model_validate, kept if isinstance(kept, list) else [None])
        except ValidationError:
            raise InvalidField("this compaction was not made here", "input", "invalid_encrypted_content") from None

    def item(self) -> Item:
        """The item, without an id.

        Raises:
            InvalidField: it is of a kind that is not supported, or lacks something.
        """
        match self.type:
            case None | "message":
                return self._message()
            case "function_call":
                return call_item(*(self._needed(field) for field in ("call_id", "name", "arguments")))
            case "function_call_output":
                return self._result()
            case "reasoning":
                summary = [{"type": "summary_text", "text": part.text or ""} for part in self.summary or ()]
                parts = () if isinstance(self.content, str) else self.content or ()
                texts = [part.text or "" for part in parts] or [value_of(self.encrypted_content)]
                content = [reasoning_text(text) for text in texts if isinstance(text, str)]
                return {"type": "reasoning", "summary": summary, "content": content}
        raise InvalidField(f"items of type {self.type!r:.100} are not supported", "input", "unsupported_content")

    def _message(self) -> Item:
        if self.role not in _ROLES:
            raise InvalidField(f"a message cannot have the role {self.role!r:.100}", "input")
        if self.content is None:
            raise InvalidField("a message needs content", "input")
        parts = (ContentPart(type="text", text=self.content),) if isinstance(self.content, str) else self.content
        content = [_content(part, self.role == "assistant") for part in parts]
        return _completed("message", role=self.role, content=content)

    def _result(self) -> Item:
        """Of a call; or without one, where a tool has something to tell, as Codex's do."""
        if self.call_id is None and self.name is None:
            raise InvalidField("a function_call_output needs call_id, or the name of its tool", "input")
        origin = {"call_id": self.call_id, "name": self.name}
        given = {field: value for field, value in origin.items() if value is not None}
        return _completed("function_call_output", **given, output=self._output())

    def _output(self) -> str:
        if self.output is None:
            raise InvalidField("a function_call_output needs output", "input")
        if isinstance(self.output, str):
            return self.output
        return "\n".join(part.text_of("input") for part in self.output)

    def _needed(self, field: str) -> str:
        value: str | None = getattr(self, field)
        if value is None:
            raise InvalidField(f"a {self.type} needs {field}", "input")
        return value


def entries_of(bodies: Iterable[InputItem]) -> Iterator[Item | str]:
    """The items of a body, and the ids of those that it only names.

    Raises:
        InvalidField: one is of a kind that is not supported, or lacks something.
    """
    return chain.from_iterable(body.entries() for body in bodies)


def compaction(messages: Iterable[Message]) -> Item:
    """An item that stands for these messages, which have no calls."""
    kept = [{"role": message.role, "content": message.content} for message in messages]
    return {"type": "compaction", "id": f"cmp_{uuid4().hex}", "encrypted_content": opaque(kept)}


def text_item(text: str) -> Item:
    """A message of the user's."""
    return InputItem(role="user", content=text).item()


def call_item(call_id: str, name: str, arguments: str) -> Item:
    """A call of a tool."""
    return _completed("function_call", call_id=call_id, name=name, arguments=arguments)


def with_ids(items: Sequence[Item], response_id: str) -> list[Item]:
    """The items of a response's input with their ids; one that has an id already keeps it."""
    return [{"id": input_item_id(response_id, item["type"], number), **item} for number, item in enumerate(items)]


def num_item_chars(items: Iterable[Item]) -> int:
    """Characters that the model is to read of them, with some for each item and each part of one."""
    return sum(num_chars(messages_of([item])) + MARK_CHARS * max(1, _num_parts(item)) for item in items)


def _num_parts(item: Item) -> int:
    return len(item.get("content", ())) + len(item.get("summary", ()))


def has_results(items: Iterable[Item]) -> bool:
    """Whether results of calls are among these items."""
    return any(item["type"] == "function_call_output" for item in items)


def names_in(messages: Iterable[Message]) -> dict[str, str]:
    """The tools that are called in them, by the calls' ids."""
    return {call.id: call.name for message in messages for call in message.tool_calls}


def messages_of(items: Iterable[Item], names: Mapping[str, str] = {}) -> tuple[Message, ...]:
    """The same for the model: reasoning, an answer and its calls are one message.

    Args:
        names: of the tools of earlier calls, by the calls' ids.
    """
    known = dict(names)
    messages: list[Message] = []
    answer: Message | None = None
    for item in items:
        match item["type"]:
            case "reasoning":
                if reasoning := _joined([*item["content"], *item["summary"]]):
                    messages += [answer] if answer else []
                    answer = Message("assistant", "", reasoning=reasoning)
                continue
            case "function_call":
                call = ToolCall(item["call_id"], item["name"], item["arguments"])
                known[call.id] = call.name
                answer = answer or Message("assistant", "")
                answer = replace(answer, tool_calls=(*answer.tool_calls, call))
                continue
            case "message" if item["role"] == "assistant":
                if answer and (answer.content or answer.tool_calls):
                    messages.append(answer)
                    answer = None
                answer = replace(answer or Message("assistant", ""), content=_joined(item["content"]))
                continue
        messages += [answer] if answer else []
        answer = None
        if item["type"] == "message":
            messages.append(Message(_ROLES[item["role"]], _joined(item["content"])))
        else:
            call_id: str | None = item.get("call_id")
            name = known.get(call_id or "", item.get("name"))
            messages.append(Message("tool", item["output"], tool_call_id=call_id, name=name))
    return (*messages, *([answer] if answer else []))


def _completed(kind: str, **fields: object) -> Item:
    return {"type": kind, "status": "completed", **fields}


def _content(part: ContentPart, is_answer: bool) -> dict[str, object]:
    text = part.text_of("input")
    if part.type == "refusal":
        return {"type": "refusal", "refusal": text}
    return output_text(text) if is_answer else {"type": "input_text", "text": text}


def output_text(text: str) -> dict[str, object]:
    """A part of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def reasoning_text(text: str) -> Item:
    """A part of what was thought."""
    return {"type": "reasoning_text", "text": text}


def _joined(parts: Iterable[Mapping[str, Any]]) -> str:
    return "\n".join(part.get("text") or part.get("refusal") or "" for part in parts)
