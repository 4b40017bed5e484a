"""One generate call, read and checked, and the engine's turn that it comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from uuid import uuid4

from api.cluster import Cluster, ModelInfo
from api.errors import LengthExceeded, TooLarge
from api.http.petals.failures import BadParameter
from api.settings import MARK_CHARS
from api.turns import BOUNDS, BeginningOfText, Sampling, Stop, Text, TurnRequest

DEFAULT_MAX_LENGTH = 20
"""Tokens of the whole session where a call in a session says neither ``max_length`` nor ``max_new_tokens``."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What a client asked for.

    Attributes:
        inputs: None goes on, in an empty context from the beginning-of-text token.
        max_length: tokens of the whole session; without effect beside ``max_new_tokens``.
        max_new_tokens: tokens of a chunk; without ``stop_sequence`` there is only one.
    """

    inputs: str | None
    sampling: Sampling
    max_length: int | None
    max_new_tokens: int | None
    stop_sequence: str | None = None
    extra_stop_sequences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.inputs == "":
            raise BadParameter("ValueError", "inputs must not be empty")
        for text in (self.inputs, self.stop_sequence, *self.extra_stop_sequences):
            if text is not None and not text.isascii():
                _check_unicode(text)
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise BadParameter("ValueError", f"max_new_tokens must be at least 1, not {self.max_new_tokens}")

    @property
    def length_limit(self) -> int | None:
        """Tokens that the whole session may have after this call; None where only new ones are counted."""
        if self.max_new_tokens is not None:
            return None
        return DEFAULT_MAX_LENGTH if self.max_length is None else self.max_length

    @property
    def chunk_length(self) -> int | None:
        """Tokens of a chunk where the answer is sent in chunks until a stop; None where it is one piece."""
        return self.max_new_tokens if self.stop_sequence is not None else None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Texts with which an answer in chunks may end."""
        return () if self.stop_sequence is None else (self.stop_sequence, *self.extra_stop_sequences)

    def check_size(self, max_chars: int) -> None:
        """Raise ``TooLarge`` for inputs, with what may end the answer, of more than ``max_chars`` characters."""
        if len(self.inputs or "") + sum(MARK_CHARS + len(text) for text in self.suffixes) > max_chars:
            raise TooLarge(f"inputs and stop sequences have more than {max_chars} characters")


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadParameter("ValueError", "text must not have half of a surrogate pair") from error


def read_sampling(
    do_sample: bool,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    repetition_penalty: float | None,
) -> Sampling:
    """How to sample; None is not applied, and without ``do_sample`` the likeliest token is taken.

    Raises:
        BadParameter: a value outside its range; the message begins with its name.
    """
    if top_k is not None and top_k < 0:
        raise BadParameter("ValueError", f"top_k must be at least 0, not {top_k}")
    if top_p is not None and not top_p >= 0:
        raise BadParameter("ValueError", f"top_p must be at least 0, not {top_p}")
    if repetition_penalty is not None and not 0 < repetition_penalty < math.inf:
        raise BadParameter("ValueError", f"repetition_penalty must be a number above 0, not {repetition_penalty}")
    penalty = 1.0 if repetition_penalty is None else repetition_penalty
    if not do_sample:
        return Sampling(repetition_penalty=penalty)
    if temperature is not None and not 0 < temperature < math.inf:
        raise BadParameter("ValueError", f"temperature must be a number above 0, not {temperature}")
    return Sampling(
        temperature=1.0 if temperature is None else temperature,
        top_k=min(top_k or 0, int(BOUNDS["top_k"].high)),
        top_p=1.0 if top_p is None else min(top_p, 1.0),
        repetition_penalty=penalty,
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """A generation on a model, in a context whose cache may hold ``maximum`` tokens.

    Attributes:
        maximum: the session's ``max_length``, or the model's limit where that is less; the text may be one longer.
    """

    generation: Generation
    model: ModelInfo
    maximum: int

    @property
    def limit(self) -> int:
        """Tokens that the cache may hold in this call: ``maximum``, or less where ``max_length`` says so."""
        length_limit = self.generation.length_limit
        return self.maximum if length_limit is None else min(self.maximum, length_limit - 1)

    @property
    def may_end_full(self) -> bool:
        """Whether reaching ``limit`` is what was asked for, and not too little room."""
        length_limit = self.generation.length_limit
        return length_limit is not None and length_limit - 1 <= self.maximum

    def turn(self) -> TurnRequest:
        """The engine's turn: one for the whole call, whatever chunks it is sent in.

        In chunks, an end of text does not end it and only the room does; so the turn must not be limited by a number
        of tokens that it could reach.
        """
        generation, unreachable = self.generation, max(self.maximum, 0) + 1
        if generation.chunk_length is not None:
            stride = min(generation.chunk_length, unreachable)
            stop = Stop(unreachable, at_eos=False, suffixes=generation.suffixes, stride=stride)
        else:
            stop = Stop(min(generation.max_new_tokens or unreachable, unreachable))
        sampling = generation.sampling
        if sampling.top_k >= self.model.vocab_size:
            sampling = replace(sampling, top_k=0)
        return TurnRequest(
            turn_id=uuid4().hex,
            prompt=(BeginningOfText() if generation.inputs is None else Text(generation.inputs),),
            sampling=sampling,
            stop=stop,
            max_context=self.limit,
            skip_special_tokens=False,
        )

    async def check_room(self, cluster: Cluster, num_history: int) -> None:
        """See that this fits after ``num_history`` tokens, the last of which is not in the cache yet.

        Only as far as needed to name the error: the engine checks for itself.

        Raises:
            LengthExceeded: not in the session.
            BadParameter: not in the call's own ``max_length``.
        """
        inputs = self.generation.inputs
        num_inputs = 0 if num_history else 1
        if inputs is not None:
            num_inputs = len(await cluster.tokenize(self.model.name, inputs))
        num_prefix = max(num_history - 1, 0)
        num_current = num_history - num_prefix + num_inputs
        if num_prefix + num_current > self.maximum:
            raise LengthExceeded(num_prefix, num_current, self.maximum)
        if num_prefix + num_current > self.limit:
            length = self.generation.length_limit
            message = f"max_length {length} leaves no room for a new token after {num_prefix + num_current}"
            raise BadParameter("ValueError", message)

    def overflow(self) -> LengthExceeded:
        """What the step after the last possible one would have raised."""
        return LengthExceeded(self.maximum, 1, self.maximum)
