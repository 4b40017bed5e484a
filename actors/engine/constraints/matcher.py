"""The state of one turn's output in its constraint."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor
from typing_extensions import override


class Matcher(Protocol):
    """What engines ask of a constraint while a turn writes."""

    def accept(self, token_id: int) -> bool:
        """Go on after a token; False where it cannot follow, and nothing has changed."""
        ...

    def allowed(self) -> Tensor:
        """(vocab,), bool, on the CPU: tokens that may follow; none where the constraint has failed."""
        ...

    @property
    def is_ended(self) -> bool:
        """Whether an end-of-text token has been accepted."""
        ...

    @property
    def is_exhausted(self) -> bool:
        """Whether the text is complete and nothing but an end-of-text token can follow."""
        ...


class GuidedMatcher(Matcher):
    """A place in one of llguidance's grammars, which gives up by itself where a step would take too long."""

    def __init__(self, matcher: Any, stop_ids: Collection[int], vocab_size: int) -> None:
        self._matcher = matcher
        self._stop_ids = frozenset(stop_ids)
        self._vocab_size = vocab_size
        self._allowed: Tensor | None = None
        self._is_ended = False

    @override
    def accept(self, token_id: int) -> bool:
        if self.is_ended:
            return False
        if token_id in self._stop_ids:
            self._is_ended = bool(self._matcher.is_accepting())
            return self._is_ended
        self._allowed = None
        return not self._matcher.is_stopped() and self._matcher.try_consume_tokens([token_id]) == 1

    @override
    def allowed(self) -> Tensor:
        if self._allowed is None:
            bits = numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8)
            allowed = numpy.unpackbits(bits, bitorder="little", count=self._vocab_size).astype(bool)
            may_end = not self._matcher.is_error() and bool(self._matcher.is_accepting())
            allowed[list(self._stop_ids)] = may_end
            self._allowed = torch.from_numpy(allowed & (not self._matcher.is_error()))
        return self._allowed

    @property
    @override
    def is_ended(self) -> bool:
        return self._is_ended

    @property
    @override
    def is_exhausted(self) -> bool:
        return self.is_ended or (bool(self._matcher.is_stopped()) and bool(self._matcher.is_accepting()))
