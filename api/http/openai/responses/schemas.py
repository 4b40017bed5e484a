"""The body of ``POST /v1/responses``, and what it asks for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from api.constraints import MAX_CHARACTERS, Constraint, JsonSchema
from api.errors import InvalidRequest
from api.http.openai.envelope import InvalidField
from api.http.openai.formats import any_object
from api.http.openai.responses.items import InputItem, Item, entries_of, text_item
from api.http.openai.responses.output import ENCRYPTED_REASONING
from api.http.openai.responses.tools import ChoiceBody, ToolBody
from api.http.openai.schemas import Count, Lenient, SamplingBody

MAX_ITEMS = 10_000
MAX_METADATA = 16
MAX_INCLUDED = 16

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=MAX_METADATA)
]
ShortName = Annotated[str, Field(max_length=512)]

_UNSUPPORTED = ("prompt", "context_management", "stop")
LOGPROBS = "message.output_text.logprobs"
_INCLUDED = (ENCRYPTED_REASONING, LOGPROBS)


class FormatBody(Lenient):
    """``text.format``."""

    type: Literal["text", "json_object", "json_schema"]
    name: ShortName | None = None
    description: Annotated[str, Field(max_length=MAX_CHARACTERS)] | None = None
    body: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None

    def constraint(self) -> Constraint | None:
        """The same for the engine; None for free text.

        Raises:
            InvalidField: a schema is missing, or cannot be.
        """
        if self.type == "text":
            return None
        if self.type == "json_object":
            return any_object()
        if self.body is None:
            raise InvalidField("text.format of type 'json_schema' needs a schema", "text")
        try:
            return JsonSchema(json.dumps(self.body, allow_nan=False))
        except InvalidRequest as error:
            raise InvalidField(str(error), "text") from None
        except ValueError:
            raise InvalidField("the schema has a number that is not finite", "text") from None

    def view(self) -> dict[str, object]:
        """As it is shown again."""
        if self.type != "json_schema":
            return {"type": self.type}
        return {
            "type": self.type,
            "name": self.name or "",
            "description": self.description,
            "schema": self.body,
            "strict": bool(self.strict),
        }


class TextBody(Lenient):
    """``text``."""

    format: FormatBody | None = None
    verbosity: Literal["low", "medium", "high"] | None = None

    def view(self) -> dict[str, object]:
        """As it is shown again."""
        verbosity = {"verbosity": self.verbosity} if self.verbosity else {}
        return {"format": self.format.view() if self.format else {"type": "text"}, **verbosity}


class ReasoningBody(Lenient):
    """``reasoning``; models here reason as they do."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class NamedConversation(Lenient):
    """``conversation`` that is an object."""

    id: str


class ResponseBody(SamplingBody):
    """A response that is to be made."""

    input: str | Annotated[tuple[InputItem, ...], Field(max_length=MAX_ITEMS)] | None = None
    instructions: str | None = None
    previous_response_id: ShortName | None = None
    conversation: ShortName | NamedConversation | None = None
    store: bool | None = None
    background: bool | None = None
    metadata: Metadata | None = None
    include: Annotated[tuple[str, ...], Field(max_length=MAX_INCLUDED)] | None = None
    max_output_tokens: Count | None = None
    max_tool_calls: Count | None = None
    tools: Annotated[tuple[ToolBody, ...], Field(max_length=1024)] | None = None
    tool_choice: str | ChoiceBody | None = None
    parallel_tool_calls: bool | None = None
    text: TextBody | None = None
    reasoning: ReasoningBody | None = None
    truncation: Literal["auto", "disabled"] | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    service_tier: ShortName | None = None
    safety_identifier: ShortName | None = None
    prompt_cache_key: ShortName | None = None
    prompt: Any = None
    context_management: Any = None

    @property
    def is_stored(self) -> bool:
        """Whether it is to be found again; there is nothing to be found of one that is only to compute its prompt."""
        return self.store is not False and not self.is_prewarming

    @property
    def conversation_id(self) -> str | None:
        """The conversation that it belongs to."""
        return self.conversation.id if isinstance(self.conversation, NamedConversation) else self.conversation

    @property
    def num_logprobs(self) -> int | None:
        """Likeliest tokens at each place of the text, beside the text's own; None without log-probabilities."""
        is_asked = self.top_logprobs or LOGPROBS in (self.include or ())
        return (self.top_logprobs or 0) if is_asked else None

    def entries(self) -> Iterable[Item | str]:
        """The items of its input, and the ids of those that it only names.

        Raises:
            InvalidField: one is of a kind that is not supported.
        """
        if isinstance(self.input, str):
            return [text_item(self.input)]
        return entries_of(self.input or ())

    def check(self) -> None:
        """Refuse what would be ignored otherwise, and what cannot be together.

        Raises:
            InvalidField: names it.
        """
        for name in _UNSUPPORTED:
            if getattr(self, name):
                raise InvalidField(f"{name} is not supported", name, "unsupported")
        if self.num_choices != 1:
            raise InvalidField("a response has one answer", "n", "unsupported")
        for value in self.include or ():
            if value not in _INCLUDED:
                raise InvalidField(f"include {value!r:.100} is not supported", "include", "unsupported")
        if self.previous_response_id is not None and self.conversation is not None:
            raise InvalidField("previous_response_id and conversation cannot be together", "conversation")
        if not self.is_stored:
            for name in ("background", "conversation"):
                if getattr(self, name):
                    raise InvalidField(f"{name} needs store", name)
