"""A turn: one request to extend a context, what limits it, and the frames that come out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from api.constraints import Constraint
from api.errors import InvalidRequest
from api.sampling import BOUNDS as BOUNDS
from api.sampling import Bound as Bound
from api.sampling import Sampling as Sampling
from api.tools import Tool, ToolCall, ToolChoice, check_tools

MAX_DISTRIBUTION = 4096
"""Tokens of a ``Distribution`` at most: the whole of a small vocabulary, and some 100 KB of a large one."""

MAX_STOP_CHARS = 1024
"""Of a stop text that a client gives."""


Role = Literal["system", "developer", "user", "assistant", "tool"]
"""Where a model's chat template does not know ``developer``, that is ``system``."""


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text, tokenised alone, without a beginning-of-text token; special tokens in it are recognised."""

    text: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids as they are."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A chat message, put through the model's chat template; the template's marks in its texts are plain characters.

    Attributes:
        reasoning: what an assistant thought before it answered; many templates leave it out of earlier turns.
        tool_calls: of an assistant, after its content.
        tool_call_id: of a ``tool``: the call whose result the content is.
        name: of a ``tool``: the tool that was called.
    """

    role: Role
    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class BeginningOfText:
    """The model's beginning-of-text token, where the context is still empty; nothing elsewhere.

    With ``if_usual`` only where the tokenizer itself puts it before a text.
    """

    if_usual: bool = False


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was said in another context, as its token ids, under the messages and tools before it here.

    Attributes:
        ids: of that context, from its start.
        front: the messages at its start, in whose place those before this part come.
        tools: the tools that it began with, in whose place the turn's own come.
        messages: the same as messages, used where the chat template does not show where the front ends.
    """

    ids: tuple[int, ...]
    front: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    messages: tuple[Message, ...] = ()


Part = Text | Tokens | Message | BeginningOfText | Earlier


def result_of(call: ToolCall, content: str) -> Message:
    """What a tool has answered to a call, for the model to read."""
    return Message("tool", content, tool_call_id=call.id, name=call.name)


def messages_in(prompt: Iterable[Part]) -> tuple[Message, ...]:
    """The messages of a prompt, those that were said earlier too."""
    return tuple(
        message
        for part in prompt
        for message in (part.messages if isinstance(part, Earlier) else (part,) if isinstance(part, Message) else ())
    )


@dataclass(frozen=True, slots=True)
class Stop:
    """What ends a turn, whichever comes first.

    Attributes:
        max_tokens: tokens sampled at most, >= 1.
        at_eos: an end-of-text token ends the turn (it stays in the context).
        token_lists: the output's last tokens equal one of these.
        texts: the output's text contains one of these; the text is cut right after it.
        suffixes: the whole output's text ends with one of these ("" always does), tested only after every ``stride``
            tokens and after an end-of-text token that does not end the turn.
        stride: tokens between two tests of ``suffixes``, counted from the start or from the last end-of-text token.
    """

    max_tokens: int
    at_eos: bool = True
    token_lists: tuple[tuple[int, ...], ...] = ()
    texts: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    stride: int = 1

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InvalidRequest("max_tokens must be >= 1")
        if self.stride < 1:
            raise InvalidRequest("stride must be >= 1")
        if any(not tokens for tokens in self.token_lists) or any(not text for text in self.texts):
            raise InvalidRequest("an empty stop would stop everything")


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One request to extend a context.

    Attributes:
        turn_id: chosen by the caller, unique in its session; asking twice with one id is asking once.
        prompt: what is appended before sampling starts; may be empty to go on.
        max_context: tokens that the context's KV cache may hold; None for the model's own limit. As in Petals,
            the last sampled token is not in it, so the text may be one token longer. The prompt must fit, else
            ``LengthExceeded``; when the room after it is less than ``stop.max_tokens``, the turn ends "context".
        skip_special_tokens: leave special tokens out of the text (never out of the ids).
        allowed_tokens: every token of the output is one of these; None for any.
        constraint: what the output's text is held to. An end-of-text token can be drawn only where the text is
            complete, and ends the turn ("eos") whatever ``stop`` says. Where nothing can follow, the turn ends "stop"
            without one. ``stop`` may cut the text short.
        distribution: None for a turn that samples. n makes the turn compute its prompt, add no token, and end
            "distribution" with the n likeliest next tokens, n from 1 to ``MAX_DISTRIBUTION``.
        tools: that the model is told of by its chat template, and may call. Its calls are in its text, in the model's
            own format, with arguments that are valid under the tools' schemas; ``api.answers`` finds them there.
        tool_choice: what it may call, and whether it must.
        parallel_tool_calls: whether it may make several calls; else the turn ends after the first.
        drops_oldest: where the prompt does not fit with an answer of ``stop.max_tokens`` tokens, or of a quarter of the
            context if that is less, its oldest messages after those of the system are left out; ``LengthExceeded``
            where the context is not empty.
        note: what its caller wants to find again with it; kept with a session's turns, and not looked at.
        embedding: compute the prompt, in a context of its own, add no token, and end "embedding" with the mean of the
            model's last hidden states; of a model that is configured to.
    """

    turn_id: str
    prompt: tuple[Part, ...]
    sampling: Sampling = field(default_factory=Sampling)
    stop: Stop = field(default_factory=lambda: Stop(max_tokens=256))
    max_context: int | None = None
    skip_special_tokens: bool = True
    allowed_tokens: tuple[int, ...] | None = None
    constraint: Constraint | None = None
    distribution: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True
    note: str = ""
    drops_oldest: bool = False
    embedding: bool = False

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """Those of the tools that its answer might call."""
        return () if self.tool_choice.mode == "none" else self.tools

    @property
    def is_held_reply(self) -> bool:
        """Whether it answers messages with a text that is held to a constraint."""
        return self.constraint is not None and bool(messages_in(self.prompt))

    def __post_init__(self) -> None:
        check_tools(self.tools, self.tool_choice)
        if self.allowed_tokens is not None and not self.allowed_tokens:
            raise InvalidRequest("allowed_tokens must name at least one token")
        if self.distribution is not None and not 1 <= self.distribution <= MAX_DISTRIBUTION:
            raise InvalidRequest(f"distribution must lie between 1 and {MAX_DISTRIBUTION}")


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Natural log-probabilities at one position, after penalties, what is allowed and temperature, before top-k and on.

    With ``Sampling.raw_logprobs`` before all of that. ``top`` holds (token id, log-probability), likeliest first; what
    is not allowed is not in it.
    """

    chosen: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Distribution:
    """The next token's probabilities, where ``TokenLogprobs`` has them; a temperature of 0 counts as 1.

    Attributes:
        top: (token id, natural log-probability), likeliest first; what is not allowed is not in it.
        entropy: of the whole distribution, in nats.
    """

    top: tuple[tuple[int, float], ...]
    entropy: float


Reason = Literal["eos", "stop", "length", "context", "cancelled", "distribution", "embedding"]


@dataclass(frozen=True, slots=True)
class Finish:
    """How a turn ended.

    Attributes:
        reason: eos: an end-of-text token; stop: one of the stops, or the constraint's end; length: ``max_tokens``;
            context: the context is full (``max_context`` or the model's limit) before ``max_tokens``; cancelled: on
            request; distribution, embedding: it was asked for that.
        stop: the stop text, or the text of the stop tokens, that matched; None at a constraint's end.
        tail: text that was held back because its last character was unfinished (U+FFFD for the missing part).
        orphaned: cancelled because it had no reader.
        embedding: little-endian floats of 32 bits.
    """

    reason: Reason
    stop: str | None = None
    tail: str = ""
    orphaned: bool = False
    distribution: Distribution | None = None
    embedding: bytes | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of a turn's output; ``pieces[i]`` is the text that ``ids[i]`` completed ("" inside a character).

    Frames of one turn follow each other without gap or overlap: the next offset is ``offset + len(ids)``. A reader
    that comes back asks from its offset. Only the last frame has ``finish``; it may have no ids.
    """

    turn_id: str
    attempt: int
    offset: int
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    logprobs: tuple[TokenLogprobs, ...] = ()
    finish: Finish | None = None

    @property
    def text(self) -> str:
        """The text of this frame, with what the end of the turn released."""
        return "".join(self.pieces) + (self.finish.tail if self.finish else "")

    def after(self, num: int) -> Frame:
        """The same, without its first tokens."""
        parts = self.ids[num:], self.pieces[num:], self.logprobs[num:]
        return Frame(self.turn_id, self.attempt, self.offset + num, *parts, self.finish)


@dataclass(frozen=True, slots=True)
class TurnStart:
    """What is known when a turn has been admitted.

    Attributes:
        base_length: tokens in the context before this turn.
        prompt_ids: what the prompt came to.
        num_resident: tokens, of base and prompt, whose KV cache was found and need not be computed.
        unheld: what of its tools' schemas their arguments are not held to, each in a few words.
        tools: that its answer might call.
        is_held_reply: see ``TurnRequest``.
        model: that answers it; "" where that is not known, of a turn of long ago or one that came to nothing.
    """

    turn_id: str
    base_length: int
    prompt_ids: tuple[int, ...]
    num_resident: int
    unheld: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    model: str = ""
    is_held_reply: bool = False
