"""Chat messages as OpenAI's clients send them, for the model's own chat template."""

from __future__ import annotations

from typing import Literal

from api.http.openai.envelope import InvalidField
from api.http.openai.schemas import Lenient
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


class ChatMessage(Lenient):
    """One message; ``function`` is ``tool``."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | tuple[ContentPart, ...] | None = None
    refusal: str | None = None

    def message(self) -> Message:
        """The same for the engine; parts are joined by a newline.

        Raises:
            InvalidField: a part is no text, or there is no content at all.
        """
        return Message("tool" if self.role == "function" else self.role, self._text())

    def _text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        if self.content is not None:
            return "\n".join(part.text_of("messages") for part in self.content)
        if self.role != "assistant":
            raise InvalidField(f"a message of role {self.role!r} needs content", "messages")
        return self.refusal or ""
