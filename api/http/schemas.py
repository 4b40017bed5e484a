"""The bodies of the native session protocol: what a client may send, checked before anything is done with it.

JSON types are strict (``"0.7"`` is no number) and unknown fields are refused; the error names the field.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from api.cluster import Retention, SessionOptions
from api.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from api.errors import InvalidRequest
from api.settings import MARK_CHARS
from api.turns import MAX_DISTRIBUTION, Message, Part, Sampling, Stop, Text, Tokens, TurnRequest

DEFAULT_MAX_TOKENS = 256
"""Tokens that a turn may produce when its request does not say."""

MAX_ALLOWED_TOKENS = 65_536
"""Of a turn whose request names them."""

TurnId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Offset = Annotated[int, Field(ge=0, lt=2**31)]


class Body(BaseModel):
    """What every body has in common: immutable, strict types, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


AnyBody = TypeVar("AnyBody", bound=Body)


class RetentionBody(Body):
    """What happens to the context between turns; ``threshold`` is in tokens and concerns ``adaptive``."""

    policy: Literal["keep", "drop", "adaptive", "predictive"] = "keep"
    threshold: int = Field(default=256, ge=0)


class OpenSessionBody(Body):
    """``POST /api/sessions``."""

    model: str | None = None
    retention: RetentionBody = RetentionBody()
    max_context: int | None = Field(default=None, ge=1)
    idle_timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    adapter: str | None = None
    title: Title | None = None

    def options(self) -> SessionOptions:
        """The same for the cluster."""
        retention = Retention(self.retention.policy, self.retention.threshold)
        return SessionOptions(self.model, retention, self.max_context, self.idle_timeout_s, self.adapter, self.title)


class RenameBody(Body):
    """``PATCH /api/sessions/{id}``."""

    title: Title


class ForkBody(Body):
    """``POST /api/sessions/{id}/fork``: at a length in tokens, right before a turn, or (neither) at the end."""

    length: int | None = Field(default=None, ge=0)
    turn_id: TurnId | None = None

    @model_validator(mode="after")
    def _check(self) -> ForkBody:
        if self.length is not None and self.turn_id is not None:
            raise ValueError("give length or turn_id, not both")
        return self


class RollbackBody(ForkBody):
    """``POST /api/sessions/{id}/rollback``: to a length in tokens, or to right before a turn."""

    @model_validator(mode="after")
    def _check(self) -> RollbackBody:
        if (self.length is None) == (self.turn_id is None):
            raise ValueError("give either length or turn_id")
        return self


class MessageBody(Body):
    """One chat message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class SamplingBody(Body):
    """See ``api.turns.Sampling``, which also checks the ranges; left out, a turn is greedy."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[TokenId, float] = Field(default_factory=dict, max_length=1024)
    seed: int | None = None
    num_logprobs: int | None = None
    raw_logprobs: bool = False

    def sampling(self) -> Sampling:
        """The same for the engine."""
        fields = self.model_dump(exclude={"logit_bias"})
        return Sampling(**fields, logit_bias=tuple(self.logit_bias.items()))


class ConstraintBody(Body):
    """What the output's text is held to, by one of these; see ``api.constraints``."""

    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    choice: tuple[str, ...] | None = None
    grammar: str | None = None

    @model_validator(mode="after")
    def _check(self) -> ConstraintBody:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give one of json_schema, regex, choice and grammar")
        return self

    def constraint(self) -> Constraint:
        """The same for the engine.

        Raises:
            InvalidRequest: it is empty or too long.
        """
        if self.regex is not None:
            return Regex(self.regex)
        if self.choice is not None:
            return Choice(self.choice)
        return _json_schema(self.json_schema) if self.grammar is None else Grammar(self.grammar)


def _json_schema(schema: dict[str, Any] | None) -> JsonSchema:
    try:
        return JsonSchema(json.dumps(schema, allow_nan=False))
    except ValueError:
        raise InvalidRequest("the JSON schema cannot be used: it has a number that is not finite") from None


class GenerateBody(Body):
    """``{"type": "generate"}``: extend the context by messages, text or tokens, or (none of them) just go on.

    With ``distribution`` the turn adds no token of its own: it ends with so many of the likeliest next ones.
    """

    type: Literal["generate"]
    turn_id: TurnId | None = None
    messages: tuple[MessageBody, ...] | None = Field(default=None, min_length=1)
    text: str | None = Field(default=None, min_length=1)
    tokens: tuple[TokenId, ...] | None = Field(default=None, min_length=1)
    sampling: SamplingBody = SamplingBody()
    max_tokens: int = Field(default=DEFAULT_MAX_TOKENS, ge=1)
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), max_length=16)
    constraint: ConstraintBody | None = None
    allowed_tokens: tuple[TokenId, ...] | None = Field(default=None, min_length=1, max_length=MAX_ALLOWED_TOKENS)
    distribution: int | None = Field(default=None, ge=1, le=MAX_DISTRIBUTION)

    @model_validator(mode="after")
    def _check(self) -> GenerateBody:
        if sum(prompt is not None for prompt in (self.messages, self.text, self.tokens)) > 1:
            raise ValueError("give one of messages, text and tokens")
        return self

    def request(self) -> TurnRequest:
        """The turn; an id is chosen where the client did not.

        Raises:
            InvalidRequest: a sampling parameter is out of range, or a constraint cannot be.
        """
        return TurnRequest(
            turn_id=self.turn_id or uuid4().hex,
            prompt=self._prompt(),
            sampling=self.sampling.sampling(),
            stop=Stop(max_tokens=self.max_tokens, texts=self.stop),
            allowed_tokens=self.allowed_tokens,
            constraint=self.constraint.constraint() if self.constraint else None,
            distribution=self.distribution,
        )

    @property
    def num_chars(self) -> int:
        """Characters that the turn adds as text, with some for each message; a token counts as one."""
        messages = sum(MARK_CHARS + len(message.content) for message in self.messages or ())
        return len(self.text or self.tokens or ()) + messages

    def _prompt(self) -> tuple[Part, ...]:
        if self.messages is not None:
            return tuple(Message(message.role, message.content) for message in self.messages)
        if self.text is not None:
            return (Text(self.text),)
        return (Tokens(self.tokens),) if self.tokens is not None else ()


class ResumeBody(Body):
    """``{"type": "resume"}``: follow a turn again, from the number of its tokens that the client has."""

    type: Literal["resume"]
    turn_id: TurnId
    offset: Offset = 0


class CancelBody(Body):
    """``{"type": "cancel"}``: end a turn, or (without an id) the one that runs."""

    type: Literal["cancel"]
    turn_id: TurnId | None = None


class TypingBody(Body):
    """``{"type": "typing"}``: the user has begun to type."""

    type: Literal["typing"]


class PingBody(Body):
    """``{"type": "ping"}``: answered with a pong."""

    type: Literal["ping"]


class ProgramBody(Body):
    """``POST /api/programs``: Python source, and the name of its file."""

    source: str = Field(min_length=1)
    file: str = Field(default="program.py", min_length=1, max_length=200, pattern=r"^[^/\\\x00-\x1f]+$")


class LaunchBody(Body):
    """``POST /api/inferlets``: a program by its hash or ``module:function``, once for each ``request_id``."""

    program: str = Field(min_length=1, max_length=300)
    arguments: tuple[Annotated[str, Field(max_length=65_536)], ...] = Field(default=(), max_length=1024)
    name: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
    request_id: str | None = Field(default=None, min_length=1, max_length=200)


ClientMessage = GenerateBody | ResumeBody | CancelBody | TypingBody | PingBody
_client_message: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


def parse_body(kind: type[AnyBody], data: bytes) -> AnyBody:
    """Read a request body; an empty one is ``{}``.

    Raises:
        InvalidRequest: not JSON, or not as the schema says; names the field.
    """
    try:
        return kind.model_validate_json(data or b"{}")
    except ValidationError as error:
        raise InvalidRequest(_sentence(error)) from None


def parse_message(data: str | bytes) -> ClientMessage:
    """Read one WebSocket message.

    Raises:
        InvalidRequest: not JSON, or not as the schema says; names the field.
    """
    try:
        return _client_message.validate_json(data)
    except ValidationError as error:
        raise InvalidRequest(_sentence(error)) from None


def turn_id_in(data: str | bytes) -> str | None:
    """The turn that a message asks for, also where it cannot be taken otherwise; None for other messages."""
    try:
        return _TurnOf.model_validate_json(data).turn_id
    except ValidationError:
        return None


class _TurnOf(BaseModel):
    type: Literal["generate", "resume"]
    turn_id: TurnId | None = None


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, with its field and without pydantic's vocabulary around it."""
    first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
    tags = ("generate", "resume", "cancel", "typing", "ping")
    field = ".".join(str(step) for position, step in enumerate(first["loc"]) if position or step not in tags)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "no such field"
    return f"{field}: {message}" if field else message
