"""The output side of a turn: text and stops, for any engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.engine.text.detokenizer import Detokenizer
from actors.engine.text.tokenizer import Tokenizer
from actors.engine.text.vocabulary import Vocabulary
from api.turns import Finish, Reason, Stop


@dataclass(frozen=True, slots=True)
class OutputRules:
    """What makes text of one model's ids, and which of them end a turn."""

    tokenizer: Tokenizer
    vocabulary: Vocabulary

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> OutputRules:
        """The rules of a tokenizer."""
        return cls(tokenizer, Vocabulary(tokenizer))


class TurnOutput:
    """Takes a turn's tokens one at a time; gives the text that each completes, and the turn's end.

    Args:
        context: ids before the output.
        room: tokens that can be sampled before the context is full, >= 1.
        skip_special_tokens: leave special tokens out of the text.
    """

    def __init__(
        self, rules: OutputRules, context: Sequence[int], stop: Stop, room: int, skip_special_tokens: bool
    ) -> None:
        tokenizer = rules.tokenizer
        self.num_tokens = 0
        self._detokenizer = Detokenizer(rules.vocabulary, context, tokenizer.special_ids, skip_special_tokens)
        self._tokenizer = tokenizer
        self._stop = stop
        self._room = room
        self._since_test = 0
        self._num_kept_ids = max((len(tokens) for tokens in stop.token_lists), default=0)
        self._recent_ids: list[int] = []
        self._num_kept_text = max((len(text) for text in (*stop.texts, *stop.suffixes)), default=0)
        self._recent_text = ""

    def append(self, token_id: int) -> tuple[str, Finish | None]:
        """The text that the token completes, cut after a stop, and how the turn ended, if it did."""
        self.num_tokens += 1
        piece = self._detokenizer.append(token_id)
        text = self._recent_text + piece
        self._recent_text = text[-self._num_kept_text :] if self._num_kept_text else ""
        if token_id in self._tokenizer.eos_ids and self._stop.at_eos:
            return piece, Finish("eos", tail=self._detokenizer.finish())
        matched = self._matching_tokens(token_id)
        if matched is not None:
            stop_text = self._tokenizer.decode(matched, skip_special_tokens=False)
            return piece, Finish("stop", stop_text, self._detokenizer.finish())
        found = self._earliest_stop(text, len(text) - len(piece))
        if found is not None:
            end, stop_text = found
            return piece[: end - (len(text) - len(piece))], Finish("stop", stop_text)
        return piece, self._end(token_id, text)

    @property
    def num_left(self) -> int:
        """Tokens that may still come."""
        return min(self._stop.max_tokens, self._room) - self.num_tokens

    def end(self, reason: Reason) -> Finish:
        """How the turn ends when it ends now, for a reason that is not in its tokens."""
        return Finish(reason, tail=self._detokenizer.finish())

    def _end(self, token_id: int, text: str) -> Finish | None:
        suffix = self._matching_suffix(token_id, text)
        if suffix is not None:
            return Finish("stop", suffix, self._detokenizer.finish())
        if self.num_tokens >= self._stop.max_tokens:
            return Finish("length", tail=self._detokenizer.finish())
        if self.num_tokens >= self._room:
            return Finish("context", tail=self._detokenizer.finish())
        return None

    def _matching_tokens(self, token_id: int) -> tuple[int, ...] | None:
        if not self._num_kept_ids:
            return None
        self._recent_ids = [*self._recent_ids, token_id][-self._num_kept_ids :]
        for tokens in self._stop.token_lists:
            if tuple(self._recent_ids[-len(tokens) :]) == tokens:
                return tokens
        return None

    def _earliest_stop(self, text: str, num_old: int) -> tuple[int, str] | None:
        """(end in ``text``, stop) of the stop that ends first after the old text; the longer of two."""
        found: tuple[int, str] | None = None
        for stop in self._stop.texts:
            start = text.find(stop, max(0, num_old - len(stop) + 1))
            end = start + len(stop)
            if start >= 0 and (found is None or (end, -len(stop)) < (found[0], -len(found[1]))):
                found = (end, stop)
        return found

    def _matching_suffix(self, token_id: int, text: str) -> str | None:
        if not self._stop.suffixes:
            return None
        self._since_test += 1
        if self._since_test < self._stop.stride and token_id not in self._tokenizer.eos_ids:
            return None
        self._since_test = 0
        is_unfinished = self._detokenizer.is_inside_character
        return next((s for s in self._stop.suffixes if not s or (not is_unfinished and text.endswith(s))), None)
