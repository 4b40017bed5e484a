"""What the native protocol answers: models, sessions, turns and errors, as the server writes and the client reads them.

Times are seconds since the epoch, lengths are tokens.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, model_validator

from api.cluster import TurnRecord
from api.errors import GreenroomError, sentence_of
from api.turns import Message, Reason, Text, messages_in


class View(BaseModel):
    """What every view has in common: immutable; a client ignores what a newer server adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def of(cls, value: Any) -> Self:
        """From the cluster's value, whose attributes have the names of the fields."""
        return cls.model_validate(value, from_attributes=True)


def called(field: str, *attribute: str) -> Any:
    """A field that the cluster's value has by another name, or in one of its attributes."""
    return Field(validation_alias=AliasChoices(field, AliasPath(*attribute)))


class ModelView(View):
    """An entry of ``GET /api/models``; ``num_ready`` counts the model actors that can answer now.

    ``is_passive``: there is none since nobody uses the model; the next request starts one, and waits for it. What a
    model is that has never been in memory is not known: 0 and nothing.
    """

    name: str
    aliases: tuple[str, ...]
    engine: str
    max_context: int = called("max_context", "max_context_tokens")
    vocab_size: int
    has_chat_template: bool
    num_ready: int
    adapters: tuple[str, ...] = ()
    is_passive: bool = False


class SummaryView(View):
    """An entry of ``GET /api/sessions``."""

    id: str = called("id", "session_id")
    model: str
    state: Literal["active", "passive"]
    created_at: float
    last_used_at: float
    title: str = ""


class MessageView(View):
    """A chat message of a turn's prompt."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


def _role(message: Message) -> Literal["system", "user", "assistant", "tool"]:
    return "system" if message.role == "developer" else message.role


class DistributionView(View):
    """What may come next: ``[token id, natural log-probability]``, likeliest first; ``entropy`` in nats, of all."""

    top: tuple[tuple[int, float], ...]
    entropy: float


class FinishView(View):
    """How a turn ended: eos, stop (and at which text), length, context, cancelled, or (as asked for) distribution."""

    reason: Reason
    stop: str | None
    distribution: DistributionView | None = Field(default=None, exclude_if=lambda value: value is None)


class UsageView(View):
    """What a turn took. ``resident_tokens`` of base and prompt were found computed; None where it is not known."""

    prompt_tokens: int
    output_tokens: int
    context_tokens: int
    resident_tokens: int | None = None


class TurnView(View):
    """A turn as history; ``finish`` is None while it runs.

    Attributes:
        messages: the chat messages of its prompt.
        prompt_text: what it was given as plain text; None where it was given none.
        text: its output.
        base_length: tokens in the context before it: fork or roll back to this to undo it.
    """

    turn_id: str
    messages: tuple[MessageView, ...]
    prompt_text: str | None
    text: str
    base_length: int
    end_length: int
    finish: FinishView | None
    usage: UsageView

    @model_validator(mode="before")
    @classmethod
    def _of_record(cls, turn: object) -> object:
        if not isinstance(turn, TurnRecord):
            return turn
        texts = [part.text for part in turn.prompt if isinstance(part, Text)]
        num_prompt = turn.end_length - turn.base_length - turn.num_output
        return {
            "turn_id": turn.turn_id,
            "messages": [MessageView(role=_role(one), content=one.content) for one in messages_in(turn.prompt)],
            "prompt_text": "".join(texts) if texts else None,
            "text": turn.text,
            "base_length": turn.base_length,
            "end_length": turn.end_length,
            "finish": turn.finish,
            "usage": UsageView(prompt_tokens=num_prompt, output_tokens=turn.num_output, context_tokens=turn.end_length),
        }


class RetentionView(View):
    """What happens to the context between turns; ``threshold`` is in tokens and concerns ``adaptive``."""

    policy: Literal["keep", "drop", "adaptive", "predictive"]
    threshold: int


class SessionView(View):
    """A session with its history; ``running`` is the id of the turn in progress."""

    id: str = called("id", "session_id")
    model: str
    retention: RetentionView
    length: int
    max_context: int
    resident_tokens: int = called("resident_tokens", "num_resident")
    created_at: float
    last_used_at: float
    running: str | None
    turns: tuple[TurnView, ...]
    adapter: str | None = None
    title: str = ""


class AdapterView(View):
    """An adapter of a model; ``num_ready`` counts the model actors that have it now."""

    name: str
    is_configured: bool
    num_ready: int


class AdaptersView(View):
    """``GET /api/models/{model}/adapters``."""

    adapters: tuple[AdapterView, ...]


class ModelsView(View):
    """``GET /api/models``, the default one first."""

    models: tuple[ModelView, ...]


class SessionsView(View):
    """``GET /api/sessions``, the latest used first."""

    sessions: tuple[SummaryView, ...]


def error_message(error: GreenroomError, turn_id: str | None = None) -> dict[str, Any]:
    """An error as a WebSocket message."""
    message: dict[str, Any] = {
        "type": "error",
        "code": error.code,
        "message": sentence_of(error),
        "retryable": error.retryable,
    }
    if error.retry_after_s is not None:
        message["retry_after_s"] = error.retry_after_s
    if turn_id is not None:
        message["turn_id"] = turn_id
    return message
