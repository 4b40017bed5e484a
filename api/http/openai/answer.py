"""What one request is answered with: its choices as pieces, and its usage."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

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
    """

    model: ModelInfo
    name: str
    requests: tuple[TurnRequest, ...]
    num_choices: int
    stops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """What is new of one choice; the last one of each has ``finish_reason``."""

    index: int
    text: str
    tokens: tuple[ScoredToken, ...]
    finish_reason: str | None


class Answer:
    """The choices of one request, being computed. To be ended by whoever began it.

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
        self._choices = [Choice(plan.stops) for _ in plan.requests]

    @classmethod
    async def begin(cls, cluster: Cluster, plan: Plan, owner: str) -> Answer:
        """Begin to compute it.

        Raises:
            GreenroomError: it cannot be.
        """
        generate = partial(cluster.generate, plan.model.name, owner=owner)
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
                if piece.text or tokens or piece.finish_reason is not None:
                    yield AnswerPiece(index, piece.text, tokens, piece.finish_reason)

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
            "completion_tokens_details": {"reasoning_tokens": 0},
        }


@dataclass(slots=True)
class WholeChoice:
    """A choice that is not streamed, as it has come so far."""

    text: str
    tokens: list[ScoredToken]
    finish_reason: str | None


async def whole(answer: Answer) -> Sequence[WholeChoice]:
    """All choices when they have ended.

    Raises:
        GreenroomError: a turn failed.
    """
    choices = [WholeChoice("", [], None) for _ in answer.plan.requests]
    async with aclosing(answer.pieces()) as pieces:
        async for piece in pieces:
            choice = choices[piece.index]
            choice.text += piece.text
            choice.tokens += piece.tokens
            choice.finish_reason = piece.finish_reason
    return choices
