"""What a context that begins anew has in common with the one before is in a session's journal once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from api.turns import Earlier, Message, Part, Tokens, messages_in

Item = TypeVar("Item")
Runs = tuple[tuple[int, int, int], ...]
"""Of earlier items: where each run of them starts and stops, and how many new items come before it."""

_MIN_IDS = 16
"""Token ids that are looked for at once: fewer are found where they mean nothing."""


@dataclass(frozen=True, slots=True)
class KeptIds:
    """Token ids, some of which are known."""

    runs: Runs
    new: tuple[int, ...]

    @classmethod
    def of(cls, ids: Sequence[int], earlier: Sequence[int]) -> KeptIds:
        """These ids, where earlier ones are known."""
        return cls(*_runs(ids, earlier, _MIN_IDS))

    def ids(self, earlier: Sequence[int]) -> tuple[int, ...]:
        """All of them."""
        return tuple(_joined(self.runs, self.new, earlier))


@dataclass(frozen=True, slots=True)
class KeptMessages:
    """Messages, some of which are known."""

    runs: Runs
    new: tuple[Message, ...]

    @classmethod
    def of(cls, messages: Sequence[Message], earlier: Sequence[Message]) -> KeptMessages:
        """These messages, where earlier ones are known."""
        return cls(*_runs(messages, earlier, 1))

    def messages(self, earlier: Sequence[Message]) -> Iterator[Message]:
        """All of them."""
        return _joined(self.runs, self.new, earlier)


def _runs(items: Sequence[Item], earlier: Sequence[Item], num: int) -> tuple[Runs, tuple[Item, ...]]:
    """Where ``num`` or more of these items follow each other among earlier ones; and the others."""
    starts = reversed(range(0, len(earlier) - num + 1, num))
    places = {tuple(earlier[start : start + num]): start for start in starts}
    runs: list[tuple[int, int, int]] = []
    new: list[Item] = []
    position = num_before = 0
    while position < len(items):
        start = places.get(tuple(items[position : position + num]))
        if start is None:
            new.append(items[position])
            position, num_before = position + 1, num_before + 1
            continue
        while num_before and start and earlier[start - 1] == new[-1]:
            new.pop()
            start, position, num_before = start - 1, position - 1, num_before - 1
        stop = start
        while stop < len(earlier) and position < len(items) and earlier[stop] == items[position]:
            stop, position = stop + 1, position + 1
        runs.append((start, stop, num_before))
        num_before = 0
    return tuple(runs), tuple(new)


def _joined(runs: Runs, new: Sequence[Item], earlier: Sequence[Item]) -> Iterator[Item]:
    left = iter(new)
    for start, stop, num_before in runs:
        yield from islice(left, num_before)
        yield from earlier[start:stop]
    yield from left


@dataclass(frozen=True, slots=True)
class KeptParts:
    """Parts of a prompt: those that are no messages, without the messages and ids that are known in them.

    Attributes:
        num_first: messages before the first of these parts.
        numbers: for each, how many messages and how many of the first earlier ids are in it, and messages after it.
    """

    others: tuple[Part, ...]
    num_first: int
    numbers: tuple[tuple[int, int, int], ...]
    messages: KeptMessages

    @classmethod
    def of(cls, parts: Sequence[Part], messages: Sequence[Message], ids: Sequence[int]) -> KeptParts:
        """These parts, where earlier messages and ids are known."""
        others: list[Part] = []
        numbers: list[tuple[int, int, int]] = []
        num_first = 0
        for part in parts:
            if not isinstance(part, Message):
                others.append(_without_known(part, ids))
                num_inner = len(part.messages) if isinstance(part, Earlier) else 0
                numbers.append((num_inner, _num_known(part, ids), 0))
            elif numbers:
                numbers[-1] = (*numbers[-1][:2], numbers[-1][2] + 1)
            else:
                num_first += 1
        told = KeptMessages.of(messages_in(parts), messages)
        return cls(tuple(others), num_first, tuple(numbers), told)

    def parts(self, messages: Sequence[Message], ids: Sequence[int]) -> tuple[Part, ...]:
        """All of them."""
        told = self.messages.messages(messages)
        parts: list[Part] = list(islice(told, self.num_first))
        for part, (num_inner, num_ids, num_after) in zip(self.others, self.numbers, strict=True):
            match part:
                case Earlier():
                    known = tuple(ids[:num_ids]) if num_ids else part.ids
                    part = replace(part, ids=known, messages=tuple(islice(told, num_inner)))
                case Tokens() if num_ids:
                    part = Tokens(tuple(ids[:num_ids]))
            parts += [part, *islice(told, num_after)]
        return tuple(parts)


def _num_known(part: Part, ids: Sequence[int]) -> int:
    """How many of the first of these ids the part has, where it has no others."""
    has_ids = isinstance(part, Earlier | Tokens) and part.ids == tuple(ids[: len(part.ids)])
    return len(part.ids) if has_ids and isinstance(part, Earlier | Tokens) else 0


def _without_known(part: Part, ids: Sequence[int]) -> Part:
    """The part without its messages, and without ids that are known."""
    if not isinstance(part, Earlier | Tokens):
        return part
    own = () if _num_known(part, ids) else part.ids
    return replace(part, ids=own, messages=()) if isinstance(part, Earlier) else Tokens(own)
