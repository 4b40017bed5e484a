"""How the next token is drawn, and the bounds of what a request may say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Bound:
    """What a number of a request must lie within, ``low`` and ``high`` included."""

    low: float
    high: float
    is_whole: bool = False

    def check(self, name: str, value: object) -> None:
        """Refuse anything else, NaN and infinity too.

        Raises:
            InvalidRequest: names the field and says what is allowed.
        """
        is_number = isinstance(value, int if self.is_whole else int | float)
        if not is_number or not self.low <= value <= self.high:  # type: ignore[operator]
            kind = "whole number" if self.is_whole else "number"
            raise InvalidRequest(f"{name} must be a {kind} from {self.low} to {self.high}")

    def nearest(self, value: float) -> float:
        """The value, or the bound that it lies beyond."""
        return min(max(value, self.low), self.high)


BOUNDS: Mapping[str, Bound] = {
    "temperature": Bound(0, 100),
    "top_k": Bound(0, 2**31 - 1, is_whole=True),
    "top_p": Bound(0, 1),
    "min_p": Bound(0, 1),
    "repetition_penalty": Bound(0.01, 100),
    "presence_penalty": Bound(-2, 2),
    "frequency_penalty": Bound(-2, 2),
    "logit_bias": Bound(-100, 100),
    "seed": Bound(-(2**63), 2**64 - 1, is_whole=True),
    "num_logprobs": Bound(0, 20, is_whole=True),
}
"""Of the fields of ``Sampling``; penalties and biases as in the OpenAI API. No value within them overflows float32."""

_OPTIONAL = ("seed", "num_logprobs")
_TOKEN_ID = Bound(0, 2**31 - 1, is_whole=True)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn from the logits.

    The order is that of ``transformers``: penalties and bias, what the turn allows, temperature, top-k, top-p, min-p.
    The draw for the token at offset ``i`` of a turn depends only on (seed, i) and its distribution, so that a turn
    which resumes after a crash draws what it would have drawn.

    Attributes:
        temperature: dimensionless; 0 is greedy.
        top_k: keep the k largest; 0 is off.
        top_p: keep the smallest set with at least this probability; 1 is off, 0 keeps one token.
        min_p: keep tokens at least this fraction as likely as the likeliest; 0 is off.
        repetition_penalty: over all tokens of the context; 1 is none.
        presence_penalty: subtracted once from a token that this turn has already produced.
        frequency_penalty: subtracted once per time that this turn has produced the token.
        logit_bias: (token id, addend) pairs.
        seed: None lets the server choose one.
        num_logprobs: None for none; n gives the chosen token's and those of the n likeliest.
        raw_logprobs: they are of the model's own distribution, before everything that changes it.

    Raises:
        InvalidRequest: a field is not a number within its ``BOUNDS``.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None
    num_logprobs: int | None = None
    raw_logprobs: bool = False

    def __post_init__(self) -> None:
        for name, bound in BOUNDS.items():
            value = getattr(self, name)
            if name == "logit_bias":
                for token_id, bias in value:
                    bound.check(name, bias)
                    _TOKEN_ID.check("a token id of logit_bias", token_id)
            elif value is not None or name not in _OPTIONAL:
                bound.check(name, value)

    @classmethod
    def nearest(cls, fields: Mapping[str, Any]) -> Sampling:
        """The sampling of these fields, each moved to its bound where it lies outside: for what was accepted once."""
        biases = tuple((id, BOUNDS["logit_bias"].nearest(bias)) for id, bias in fields["logit_bias"])
        near: dict[str, Any] = {
            name: value if value is None or name not in BOUNDS else BOUNDS[name].nearest(value)
            for name, value in fields.items()
            if name != "logit_bias"
        }
        return cls(**near, logit_bias=biases)
