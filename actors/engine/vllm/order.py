"""What a turn tells the vLLM process that draws its tokens, and what comes back through vLLM's log-probabilities."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass

from actors.engine.constraints.answers import EngineConstraint
from api.errors import GreenroomError, InvalidRequest
from api.turns import Distribution, Sampling, TokenLogprobs

ORDER = "greenroom"
"""Names the order among a request's ``extra_args``."""

NOTHING, BROKEN = -1e30, -2e30
"""The largest value of a row in which nothing is allowed, and of one whose token could not be drawn."""


@dataclass(frozen=True, slots=True)
class Order:
    """How a turn's tokens are to be drawn; see ``Admission``. vLLM itself always takes the largest logit."""

    sampling: Sampling
    seed: int
    num_prior_output: int = 0
    allowed_tokens: tuple[int, ...] | None = None
    constraint: EngineConstraint | None = None
    distribution: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the largest logit, as the model computed it, is all that is wanted."""
        sampling = self.sampling
        return (
            sampling == Sampling(seed=sampling.seed)
            and self.allowed_tokens is None
            and self.constraint is None
            and self.distribution is None
        )

    @property
    def num_logprobs(self) -> int | None:
        """Numbers beside the drawn token's that vLLM has to bring; None for none at all.

        The drawn token's says whether it could be drawn, so it comes for every turn that is not plain.
        """
        if self.distribution is not None:
            return self.distribution + 1
        number = self.sampling.num_logprobs
        if number is not None:
            return number + 1
        return None if self.is_plain else 0

    def to_bytes(self) -> bytes:
        """For ``extra_args``, which hold plain values only."""
        return pickle.dumps(self)

    @staticmethod
    def from_bytes(content: bytes) -> Order:
        """What ``to_bytes`` was made from."""
        order = pickle.loads(content)
        assert isinstance(order, Order)
        return order


# vLLM brings the values of the largest logits of a row, and of the drawn token. The row is ours to write, so they carry
# what is wanted. A log-probability is never above zero: the drawn token's, with its sign changed, is the largest, and
# nothing is lost to rounding. A distribution draws no token; there the largest belongs to a token outside it, and is
# one more than the entropy. Where all tokens are inside, the entropy follows from them.


def written_logprobs(token_id: int, logprobs: TokenLogprobs) -> dict[int, float]:
    """Token to value, for a row: what ``read_logprobs`` reads."""
    return {**dict(logprobs.top), token_id: -logprobs.chosen}


def read_logprobs(token_id: int, values: Mapping[int, float], number: int) -> TokenLogprobs:
    """The drawn token's log-probability and those of the ``number`` likeliest."""
    chosen = -values[token_id]
    return TokenLogprobs(chosen, _likeliest({**values, token_id: chosen})[:number])


def written_distribution(distribution: Distribution, vocab_size: int) -> dict[int, float]:
    """Token to value, for a row: what ``read_distribution`` reads."""
    values = dict(distribution.top)
    outside = next((token_id for token_id in range(vocab_size) if token_id not in values), None)
    return values if outside is None else {outside: 1 + distribution.entropy, **values}


def read_distribution(token_id: int, values: Mapping[int, float], number: int) -> Distribution:
    """The ``number`` likeliest tokens; none where nothing is allowed."""
    if values[token_id] >= 1:
        top = _likeliest({i: value for i, value in values.items() if i != token_id})
        return Distribution(top[:number], values[token_id] - 1)
    top = _likeliest(values)
    return Distribution(top[:number], -math.fsum(math.exp(value) * value for _, value in top))


def check_drawn(value: float) -> None:
    """Whether this value of a drawn token says that it was drawn.

    Raises:
        InvalidRequest: nothing was allowed.
        GreenroomError: the row held no numbers, or the drawing failed.
    """
    if NOTHING * 1.5 < value < NOTHING * 0.5:  # as float32 it is another number
        raise InvalidRequest("nothing in this model's vocabulary is allowed to follow")
    if not value > NOTHING:
        raise GreenroomError("the model computed something that is not a number, or its token could not be drawn")


def _likeliest(values: Mapping[int, float]) -> tuple[tuple[int, float], ...]:
    found = [(token_id, value) for token_id, value in values.items() if value > NOTHING]
    return tuple(sorted(found, key=lambda entry: -entry[1]))
