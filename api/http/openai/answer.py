"""What one request is answered with: its choices as pieces, and its usage."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, ReasoningDelta, TextDelta
from api.answers.parser import AnswerParser
from api.answers.parsers import parser_of
from api.cluster import Cluster, ModelInfo
from api.http.openai.choice import Choice
from api.http.openai.scores import ScoredToken, TokenTexts
from api.http.openai.turns import Turns
from api.turns import TurnRequest


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that was read and checked.

    Attributes:
        name: the model as the request called it.
        requests: one turn for each choice, those of one prompt beside each other.
        num_choices: of one prompt.
        stops: of every choice.
        is_chat: reasoning and calls are looked for in the answers.
        has_ids: the answers are told as token ids too.
    """

    model: ModelInfo
    name: str
    requests: tuple[TurnRequest, ...]
    num_choices: int
    stops: tuple[str, ...]
    is_chat: bool = False
    has_ids: bool = False

    def parser(self, call_ids: str) -> AnswerParser | None:
        """Of one choice; None where there is nothing to be found but text."""
        tools, format = self.requests[0].callable_tools, self.model.answers
        if not self.is_chat or not (tools or format.reasoning):
            return None
        return parser_of(format, call_ids, tools)


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """What is new of one choice; the last one of each has ``finish_reason``."""

    index: int
    events: tuple[AnswerEvent, ...]
    tokens: tuple[ScoredToken, ...]
    ids: tuple[int, ...]
    finish_reason: str | None

    @property
    def text(self) -> str:
        """What is new of its text."""
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))


class Answer:
    """The choices of one request, being computed. Its caller ends it.

    Attributes:
        id: without the prefix of its kind.
        created: seconds since the epoch.
    """

    def __init__(self, plan: Plan, turns: Turns, texts: TokenTexts) -> None:
        self.id = uuid4().hex
        self.created = int(time.time())
        self.plan = plan
        self._turns = turns
        self._starts = turns.starts
        self._texts = texts
        self._choices = [Choice(plan.stops, plan.parser(f"call_{uuid4().hex[:20]}_")) for _ in plan.requests]

    @classmethod
    async def begin(cls, cluster: Cluster, plan: Plan, owner: str, hint: str = "", keep_s: float = 0.0) -> Answer:
        """Begin to compute it.

        Args:
            hint: what the client calls the conversation.
            keep_s: for how long what is computed is to be kept.

        Raises:
            GreenroomError: it cannot be.
        """
        generate = partial(cluster.generate, plan.model.name, owner=owner, hint=hint, keep_s=keep_s)
        turns = await Turns.begin(generate, plan.requests, plan.num_choices)
        return cls(plan, turns, TokenTexts(cluster, plan.model.name))

    async def pieces(self) -> AsyncGenerator[AnswerPiece]:
        """All choices, each in order, until the last one has ended.

        Raises:
            GreenroomError: a turn failed.
        """
        async with aclosing(self._turns.frames()) as frames:
            async for index, frame in frames:
                piece = self._choices[index].take(frame)
                tokens = await self._texts.scored(piece.tokens) if piece.tokens else ()
                ids = piece.ids if self.plan.has_ids else ()
                if piece.events or tokens or ids or piece.finish_reason is not None:
                    yield AnswerPiece(index, piece.events, tokens, ids, piece.finish_reason)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the tools' schemas the calls are not held to."""
        return self._starts[0].unheld

    async def end(self) -> None:
        """Cancel what still runs."""
        await self._turns.cancel()

    def usage(self) -> dict[str, object]:
        """Tokens so far; those of a prompt count once, however many choices it has."""
        firsts = self._starts
        num_prompt = sum(start.base_length + len(start.prompt_ids) for start in firsts)
        num_output = sum(choice.num_output for choice in self._choices)
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_output,
            "total_tokens": num_prompt + num_output,
            "prompt_tokens_details": {"cached_tokens": sum(start.num_resident for start in firsts)},
            "completion_tokens_details": {"reasoning_tokens": sum(choice.num_reasoning for choice in self._choices)},
        }


@dataclass(slots=True)
class WholeCall:
    """A call of a tool, as far as it has come."""

    call_id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class WholeChoice:
    """A choice that is not streamed, as far as it has come."""

    text: str = ""
    reasoning: str = ""
    calls: list[WholeCall] = field(default_factory=list)
    tokens: list[ScoredToken] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, piece: AnswerPiece) -> None:
        """Take what is new."""
        for event in piece.events:
            match event:
                case TextDelta(text):
                    self.text += text
                case ReasoningDelta(text):
                    self.reasoning += text
                case CallBegun(_, call_id, name):
                    self.calls.append(WholeCall(call_id, name))
                case ArgumentsDelta(index, text):
                    self.calls[index].arguments += text
        self.tokens += piece.tokens
        self.ids += piece.ids
        self.finish_reason = piece.finish_reason


async def whole(answer: Answer) -> Sequence[WholeChoice]:
    """All choices when they have ended.

    Raises:
        GreenroomError: a turn failed.
    """
    choices = [WholeChoice() for _ in answer.plan.requests]
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            choices[piece.index].add(piece)
    return choices
