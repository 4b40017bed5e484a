"""How a program has its tokens drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from api.errors import InvalidRequest
from api.turns import MAX_DISTRIBUTION, Distribution, Sampling


@dataclass(frozen=True, slots=True)
class Candidates:
    """The likeliest next tokens, likeliest first; iterating gives (token id, probability).

    Attributes:
        logprobs: natural logarithms of the probabilities.
        entropy: of the whole distribution, in nats.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropy: float

    @classmethod
    def of(cls, distribution: Distribution) -> Candidates:
        """From the engine's value."""
        top = distribution.top
        return cls(tuple(id for id, _ in top), tuple(logprob for _, logprob in top), distribution.entropy)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Of each candidate; they sum to 1 only where all tokens are among them."""
        return tuple(math.exp(logprob) for logprob in self.logprobs)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return iter(zip(self.ids, self.probabilities, strict=True))

    def __len__(self) -> int:
        return len(self.ids)


Choose = Callable[[Candidates], int]


@dataclass(frozen=True, slots=True)
class Sampler:
    """A way to draw tokens; made by one of its class methods. Temperatures are dimensionless, > 0.

    Attributes:
        choose: draws in the program itself, from the ``num_candidates`` likeliest; None where the engine draws.
    """

    sampling: Sampling = Sampling()
    choose: Choose | None = None
    num_candidates: int = 0

    @classmethod
    def greedy(cls) -> Sampler:
        """The likeliest token each time."""
        return cls()

    @classmethod
    def multinomial(cls, temperature: float) -> Sampler:
        """By probability."""
        return cls(_warm(temperature))

    @classmethod
    def top_p(cls, temperature: float, p: float) -> Sampler:
        """From the smallest set of tokens with at least this probability."""
        return cls(_warm(temperature, top_p=p))

    @classmethod
    def top_k(cls, temperature: float, k: int) -> Sampler:
        """From the k likeliest."""
        return cls(_warm(temperature, top_k=k))

    @classmethod
    def min_p(cls, temperature: float, p: float) -> Sampler:
        """From the tokens at least this fraction as likely as the likeliest."""
        return cls(_warm(temperature, min_p=p))

    @classmethod
    def top_k_top_p(cls, temperature: float, k: int, p: float) -> Sampler:
        """From the k likeliest, and of them the smallest set with at least this probability."""
        return cls(_warm(temperature, top_k=k, top_p=p))

    @classmethod
    def custom(cls, function: Choose, num_candidates: int = 64) -> Sampler:
        """Each token by a function of the likeliest candidates, called in the program; slower than the others."""
        if not 1 <= num_candidates <= MAX_DISTRIBUTION:
            raise InvalidRequest(f"num_candidates must lie between 1 and {MAX_DISTRIBUTION}")
        return cls(choose=function, num_candidates=num_candidates)


def _warm(temperature: float, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> Sampling:
    return Sampling(temperature, top_k, top_p, min_p)
