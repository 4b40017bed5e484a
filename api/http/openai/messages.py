"""Chat messages as OpenAI's clients send them, for the model's own chat template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from api.http.bodies import ToolName
from api.http.openai.envelope import InvalidField
from api.http.openai.schemas import Lenient
from api.settings import MARK_CHARS
from api.tools import ToolCall
from api.turns import Message

_TEXT_TYPES = ("text", "input_text", "output_text")


class ContentPart(Lenient):
    """A part of a content that is a list."""

    type: str
    text: str | None = None
    refusal: str | None = None

    def text_of(self, param: str) -> str:
        """Its text.

        Raises:
            InvalidField: it is of a kind that is no text.
        """
        if self.type in _TEXT_TYPES and self.text is not None:
            return self.text
        if self.type == "refusal" and self.refusal is not None:
            return self.refusal
        raise InvalidField(f"content of type {self.type!r} is not supported", param, "unsupported_content")


class CalledFunction(Lenient):
    """``function`` of a call."""

    name: ToolName
    arguments: str


class CallBody(Lenient):
    """A call of a tool, in an assistant's message."""

    id: str
    type: str = "function"
    function: CalledFunction | None = None

    def call(self) -> ToolCall:
        """The same for the engine.

        Raises:
            InvalidField: it calls no function.
        """
        if self.function is None:
            raise InvalidField(f"calls of type {self.type!r:.100} are not supported", "messages", "unsupported_content")
        return ToolCall(self.id, self.function.name, self.function.arguments)


class ChatMessage(Lenient):
    """One message; ``function`` is ``tool``, and ``reasoning_content`` is what vLLM and others call it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | tuple[ContentPart, ...] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[CallBody, ...] | None = None
    tool_call_id: str | None = None
    name: ToolName | None = None

    def message(self) -> Message:
        """The same for the engine; parts are joined by a newline.

        Raises:
            InvalidField: a part is no text, or there is no content at all.
        """
        content = self._text()
        match self.role:
            case "assistant":
                calls = tuple(call.call() for call in self.tool_calls or ())
                return Message("assistant", content, self.reasoning_content or "", calls)
            case "tool" | "function":
                return Message("tool", content, tool_call_id=self.tool_call_id, name=self.name)
        return Message(self.role, content)

    def _text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        if self.content is not None:
            return "\n".join(part.text_of("messages") for part in self.content)
        if self.role != "assistant":
            raise InvalidField(f"a message of role {self.role!r} needs content", "messages")
        return self.refusal or ""


def messages_of(bodies: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The messages; a tool's result gets the name of the tool whose call it answers.

    Raises:
        InvalidField: one of them cannot be.
    """
    names: dict[str | None, str] = {}
    messages = []
    for message in (body.message() for body in bodies):
        names |= {call.id: call.name for call in message.tool_calls}
        if message.role == "tool" and message.name is None:
            message = replace(message, name=names.get(message.tool_call_id))
        messages.append(message)
    return tuple(messages)


def num_chars(messages: Iterable[Message]) -> int:
    """Characters that the model is to read, with some for each message."""
    return sum(
        MARK_CHARS
        + len(message.content)
        + len(message.reasoning)
        + len(message.tool_call_id or "")
        + len(message.name or "")
        + sum(len(call.id) + len(call.name) + len(call.arguments) for call in message.tool_calls)
        for message in messages
    )
