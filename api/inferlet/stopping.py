"""When a generation ends: conditions on its output, joined by ``or_`` (``|``) and ``and_`` (``&``)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from typing_extensions import override

from api.errors import InvalidRequest
from api.turns import Stop

UNLIMITED = 1 << 30
"""Tokens that no context holds: the generation then ends with the context."""


class StopCondition:
    """Says of the output so far whether it is enough."""

    __slots__ = ()

    def holds(self, ids: Sequence[int], text: str) -> bool:
        """Whether the output may end here."""
        raise NotImplementedError

    def or_(self, other: StopCondition) -> StopCondition:
        """Either of the two."""
        return Either(self, other)

    def and_(self, other: StopCondition) -> StopCondition:
        """Both at once."""
        return Both(self, other)

    __or__ = or_
    __and__ = and_


@dataclass(frozen=True, slots=True)
class MaxLength(StopCondition):
    """So many tokens."""

    num_tokens: int

    @override
    def holds(self, ids: Sequence[int], text: str) -> bool:
        return len(ids) >= self.num_tokens


@dataclass(frozen=True, slots=True)
class EndsWithTokens(StopCondition):
    """The last tokens are these."""

    ids: tuple[int, ...]

    @override
    def holds(self, ids: Sequence[int], text: str) -> bool:
        return tuple(ids[-len(self.ids) :]) == self.ids


@dataclass(frozen=True, slots=True)
class EndsWithText(StopCondition):
    """The text ends so; what the last token has after it does not count."""

    text: str

    @override
    def holds(self, ids: Sequence[int], text: str) -> bool:
        return self.text in text


@dataclass(frozen=True, slots=True)
class Matches(StopCondition):
    """A regular expression is found in the text."""

    pattern: re.Pattern[str]

    @override
    def holds(self, ids: Sequence[int], text: str) -> bool:
        return self.pattern.search(text) is not None


@dataclass(frozen=True, slots=True)
class Either(StopCondition):
    """One of the two."""

    first: StopCondition
    second: StopCondition

    @override
    def holds(self, ids: Sequence[int], text: str) -> bool:
        return self.first.holds(ids, text) or self.second.holds(ids, text)


@dataclass(frozen=True, slots=True)
class Both(StopCondition):
    """Both of the two, at the same length."""

    first: StopCondition
    second: StopCondition

    @override
    def holds(self, ids: Sequence[int], text: str) -> bool:
        return self.first.holds(ids, text) and self.second.holds(ids, text)


@dataclass(frozen=True, slots=True)
class Never(StopCondition):
    """Only where the context is full."""

    @override
    def holds(self, ids: Sequence[int], text: str) -> bool:
        return False


def max_len(num_tokens: int) -> StopCondition:
    """After so many tokens."""
    return MaxLength(num_tokens)


def ends_with(end: str | Sequence[int]) -> StopCondition:
    """After a text, or after these tokens.

    Raises:
        InvalidRequest: there is nothing in it.
    """
    if not len(end):
        raise InvalidRequest("stop sequences must not be empty")
    return EndsWithText(end) if isinstance(end, str) else EndsWithTokens(tuple(end))


def ends_with_any(ends: Sequence[str | Sequence[int]]) -> StopCondition:
    """After one of these texts or token sequences."""
    condition: StopCondition = Never()
    for end in ends:
        condition = Either(condition, ends_with(end))
    return condition


def matches(pattern: str | re.Pattern[str]) -> StopCondition:
    """Where a regular expression is found in the text; the output is cut at the token that completes it."""
    return Matches(re.compile(pattern))


def compiled(condition: StopCondition | None) -> tuple[Stop, StopCondition | None]:
    """What the engine tests, and what is left to be tested piece by piece (None: nothing).

    Without a condition an end-of-text token ends the output, or the end of the context.
    """
    if condition is None:
        return Stop(UNLIMITED), None
    alternatives = list(_alternatives(condition))
    limit = min((part.num_tokens for part in alternatives if isinstance(part, MaxLength)), default=UNLIMITED)
    lists = tuple(part.ids for part in alternatives if isinstance(part, EndsWithTokens))
    texts = tuple(part.text for part in alternatives if isinstance(part, EndsWithText))
    is_whole = all(isinstance(part, MaxLength | EndsWithTokens | EndsWithText | Never) for part in alternatives)
    return Stop(limit, at_eos=False, token_lists=lists, texts=texts), None if is_whole else condition


def _alternatives(condition: StopCondition) -> Iterator[StopCondition]:
    if isinstance(condition, Either):
        yield from _alternatives(condition.first)
        yield from _alternatives(condition.second)
    else:
        yield condition
