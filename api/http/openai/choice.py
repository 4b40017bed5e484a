"""One answer: a turn's frames cut before a stop, and its tokens with their log-probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from api.errors import GreenroomError
from api.turns import Finish, Frame, TokenLogprobs

FINISH_REASONS = {"eos": "stop", "stop": "stop", "length": "length", "context": "length"}


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the answer; ``start`` counts the characters before it."""

    token_id: int
    logprobs: TokenLogprobs
    start: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What is new of an answer; the last one has ``finish_reason``."""

    text: str
    tokens: tuple[Token, ...]
    finish_reason: str | None


class Choice:
    """Takes a turn's frames and gives out the answer before its stop: what might begin a stop waits.

    Attributes:
        num_output: tokens that were computed, with the end token and those of a stop.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.num_output = 0
        self._stops = stops
        self._held = ""
        self._num_given = 0
        self._num_taken = 0
        self._waiting: deque[Token] = deque()

    def take(self, frame: Frame) -> Piece:
        """What this frame releases.

        Raises:
            GreenroomError: the turn was ended by somebody else.
        """
        self.num_output += len(frame.ids)
        self._take_tokens(frame)
        self._held += frame.text
        finish = frame.finish
        text = self._release(finish)
        self._num_given += len(text)
        if finish is None:
            return Piece(text, self._tokens(self._num_given), None)
        if finish.reason not in FINISH_REASONS:
            raise GreenroomError("the turn was ended before its time")
        tokens = self._tokens(self._num_given if finish.stop else self._num_given + 1)
        return Piece(text, tokens, FINISH_REASONS[finish.reason])

    def _take_tokens(self, frame: Frame) -> None:
        """Keep the tokens that have log-probabilities; the end token is no part of the answer."""
        is_ended = frame.finish is not None and frame.finish.reason == "eos"
        for index, (token_id, piece) in enumerate(zip(frame.ids, frame.pieces, strict=True)):
            if frame.logprobs and not (is_ended and index + 1 == len(frame.ids)):
                self._waiting.append(Token(token_id, frame.logprobs[index], self._num_taken))
            self._num_taken += len(piece)

    def _release(self, finish: Finish | None) -> str:
        if finish is None:
            num_held = self._num_stop_characters()
            text, self._held = self._held[: len(self._held) - num_held], self._held[len(self._held) - num_held :]
            return text
        return self._held.removesuffix(finish.stop) if finish.stop else self._held

    def _num_stop_characters(self) -> int:
        """Characters at the end of the text with which a stop might begin."""
        longest = max((len(stop) for stop in self._stops), default=0)
        for length in range(min(longest - 1, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0

    def _tokens(self, end: int) -> tuple[Token, ...]:
        """Those that begin before the ``end``-th character."""
        found = []
        while self._waiting and self._waiting[0].start < end:
            found.append(self._waiting.popleft())
        return tuple(found)
