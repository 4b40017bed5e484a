"""A response's output: its items, and the events of their coming, from the turn's tokens.

An event's number is a function of the tokens before it, so that it is the same on every reading: each token has
``NUMBERS`` of them, in the order of its events. Deltas of one frame are one event with the last one's number.
"""

from __future__ import annotations

from collections.abc import Sequence

from api.answers.parser import AnswerParser
from api.http.openai.responses.item_events import Event, ItemEvents
from api.http.openai.responses.items import Item
from api.turns import Frame

FAILED = 1 << 40
"""The first number of the events that tell of a failure, wherever it came."""

NUMBERS = 64
"""Events that one token can have, and those before the first token together: far more than a token's few."""

ENCRYPTED_REASONING = "reasoning.encrypted_content"
"""In ``include``: reasoning has a text that stands for it, which clients that keep nothing else can send back."""


class Output(ItemEvents):
    """Takes a turn's frames from its first token on.

    Attributes:
        num_tokens, num_reasoning: of the output, and of these before the answer proper.
    """

    def __init__(
        self, response_id: str, parser: AnswerParser, after: int = -1, encrypts_reasoning: bool = False
    ) -> None:
        super().__init__(response_id, after, encrypts_reasoning)
        self.num_tokens = 0
        self.num_reasoning = 0
        self.number = NUMBERS
        self._parser = parser

    def take(self, frame: Frame, logprobs: Sequence[Item] = ()) -> list[Event]:
        """The events of the next frame; of its end too, where it is the last.

        Args:
            logprobs: of its tokens, where they are asked for; an end token has none.
        """
        for index, (token_id, piece) in enumerate(zip(frame.ids, frame.pieces, strict=True)):
            self.num_tokens += 1
            self.number = self.num_tokens * NUMBERS
            was_in_text = self._parser.is_in_text
            self._logprobs += logprobs[index : index + 1]
            self.add(self._parser.token(token_id, piece))
            self.num_reasoning += bool(self._is_open("reasoning"))
            if not (was_in_text and self._parser.is_in_text):
                self._logprobs = []
        if frame.finish is not None:
            self.number = (self.num_tokens + 1) * NUMBERS
            self.add(self._parser.finish(frame.finish.tail))
            if not self.items and frame.finish.reason != "distribution":
                self._open("message", role="assistant", content=[])
            self.close("completed" if frame.finish.reason in ("eos", "stop") else "incomplete")
        return self.drain()

    def cut(self) -> list[Event]:
        """The events of an end that is no turn's end: the open item stays incomplete."""
        self.number = FAILED
        self.close("incomplete")
        return self.drain()
