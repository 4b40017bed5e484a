"""What a client may send over a session's socket, checked before anything is done with it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from api.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from api.errors import InvalidRequest
from api.http.bodies import Body, ToolName, bounded, sentence_about
from api.settings import MARK_CHARS
from api.tools import MAX_TOOLS, Tool, ToolCall, ToolChoice
from api.turns import MAX_DISTRIBUTION, MAX_STOP_CHARS, Message, Part, Sampling, Stop, Text, Tokens, TurnRequest

DEFAULT_MAX_TOKENS = 256
"""Tokens that a turn may produce when its request does not say."""

MAX_ALLOWED_TOKENS = 65_536
"""Of a turn whose request names them."""

TurnId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Offset = Annotated[int, Field(ge=0, lt=2**31)]


class ToolCallBody(Body):
    """A call of a tool, in an assistant's message; ``arguments`` is JSON text."""

    id: str
    name: ToolName
    arguments: str

    def call(self) -> ToolCall:
        """The same for the engine."""
        return ToolCall(self.id, self.name, self.arguments)


class MessageBody(Body):
    """One chat message; of a tool with the id of the call that it answers, and the tool's name."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCallBody, ...] = ()
    tool_call_id: str | None = None
    name: ToolName | None = None

    @property
    def num_chars(self) -> int:
        """Characters that the model is to read."""
        calls = sum(len(call.id) + len(call.name) + len(call.arguments) for call in self.tool_calls)
        return len(self.content) + len(self.reasoning) + len(self.tool_call_id or "") + len(self.name or "") + calls

    def message(self) -> Message:
        """The same for the engine."""
        calls = tuple(call.call() for call in self.tool_calls)
        return Message(self.role, self.content, self.reasoning, calls, self.tool_call_id, self.name)


class ToolBody(Body):
    """A tool that the model may call; ``parameters`` is the schema of its arguments."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool = False

    def tool(self) -> Tool:
        """The same for the engine.

        Raises:
            InvalidRequest: it cannot be.
        """
        if self.parameters is None:
            return Tool(self.name, self.description, strict=self.strict)
        parameters = _json(f"the parameters of tool {self.name!r:.140}", self.parameters)
        return Tool(self.name, self.description, parameters, self.strict)


class ToolChoiceBody(Body):
    """Which of the tools may be called, or (``required``) must be."""

    mode: Literal["auto", "required"] = "required"
    names: tuple[str, ...] = Field(min_length=1, max_length=MAX_TOOLS)


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
        if self.grammar is not None:
            return Grammar(self.grammar)
        return JsonSchema(_json("the JSON schema", self.json_schema))


def _json(what: str, value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        raise InvalidRequest(f"{what} cannot be used: it has a number that is not finite") from None


class GenerateBody(Body):
    """``{"type": "generate"}``: extend the context by messages, text or tokens, or (none of them) just go on.

    With ``distribution``, a number, the turn adds no token: it ends with that many of the likeliest next ones.
    """

    type: Literal["generate"]
    turn_id: TurnId | None = None
    messages: tuple[MessageBody, ...] | None = Field(default=None, min_length=1)
    text: str | None = Field(default=None, min_length=1)
    tokens: tuple[TokenId, ...] | None = Field(default=None, min_length=1)
    sampling: SamplingBody = SamplingBody()
    max_tokens: int = Field(default=DEFAULT_MAX_TOKENS, ge=1)
    stop: tuple[Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)], ...] = Field(default=(), max_length=16)
    constraint: ConstraintBody | None = None
    allowed_tokens: tuple[TokenId, ...] | None = Field(default=None, min_length=1, max_length=MAX_ALLOWED_TOKENS)
    distribution: int | None = Field(default=None, ge=1, le=MAX_DISTRIBUTION)
    tools: tuple[ToolBody, ...] = Field(default=(), max_length=MAX_TOOLS)
    tool_choice: Literal["auto", "none", "required"] | ToolChoiceBody = "auto"
    parallel_tool_calls: bool = True

    @model_validator(mode="after")
    def _check(self) -> GenerateBody:
        if sum(prompt is not None for prompt in (self.messages, self.text, self.tokens)) > 1:
            raise ValueError("give one of messages, text and tokens")
        return self

    def request(self) -> TurnRequest:
        """The turn; an id is chosen where the client did not.

        Raises:
            InvalidRequest: a sampling parameter is out of range, or a constraint or a tool cannot be.
        """
        return TurnRequest(
            turn_id=self.turn_id or uuid4().hex,
            prompt=self._prompt(),
            sampling=self.sampling.sampling(),
            stop=Stop(max_tokens=self.max_tokens, texts=self.stop),
            allowed_tokens=self.allowed_tokens,
            constraint=self.constraint.constraint() if self.constraint else None,
            distribution=self.distribution,
            tools=tuple(body.tool() for body in self.tools),
            tool_choice=self._choice(),
            parallel_tool_calls=self.parallel_tool_calls,
        )

    @property
    def num_chars(self) -> int:
        """Characters that the turn adds as text, with some for each message; a token counts as one."""
        messages = sum(MARK_CHARS + message.num_chars for message in self.messages or ())
        return len(self.text or self.tokens or ()) + messages

    def _choice(self) -> ToolChoice:
        choice = self.tool_choice
        return ToolChoice(choice) if isinstance(choice, str) else ToolChoice(choice.mode, choice.names)

    def _prompt(self) -> tuple[Part, ...]:
        if self.messages is not None:
            return tuple(message.message() for message in self.messages)
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


ClientMessage = GenerateBody | ResumeBody | CancelBody | TypingBody | PingBody
_client_message: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


def parse_message(data: str | bytes) -> ClientMessage:
    """Read one WebSocket message.

    Raises:
        InvalidRequest: not JSON, or not as the schema says; names the field.
    """
    try:
        return _client_message.validate_json(bounded(data))
    except ValidationError as error:
        raise InvalidRequest(sentence_about(error)) from None


def turn_id_in(data: str | bytes) -> str | None:
    """The turn that a message asks for, also where it cannot be taken otherwise; None for other messages."""
    try:
        return _TurnOf.model_validate_json(data).turn_id
    except ValidationError:
        return None


class _TurnOf(BaseModel):
    type: Literal["generate", "resume"]
    turn_id: TurnId | None = None
