"""Which owner's turn is next, and what one owner may have: without an engine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.engine.owners import RECENT_S, FairQueue, Owners, in_turns
from actors.engine.vllm.gate import Gate
from api.errors import TooBusy


@dataclass(frozen=True)
class Turn:
    owner: str
    number: int


def turns(names: str) -> list[Turn]:
    return [Turn(owner, number) for number, owner in enumerate(names)]


def names(found: list[Turn]) -> str:
    return "".join(turn.owner for turn in found)


def test_owners_take_turns_and_those_of_one_stay_in_order() -> None:
    queue: FairQueue[Turn] = FairQueue()
    for turn in turns("aaaabab"):
        queue.add(turn)
    found: list[Turn] = []
    while popped := queue.pop(Counter(), lambda turn: True):
        found.append(popped)
    assert names(found) == "ababaaa"
    for owner in "ab":
        numbers = [turn.number for turn in found if turn.owner == owner]
        assert numbers == sorted(numbers)
    assert queue.num_turns == 0


def test_who_has_fewest_going_is_next_and_who_may_not_is_passed_over() -> None:
    queue: FairQueue[Turn] = FairQueue()
    for turn in turns("abc"):
        queue.add(turn)
    going = Counter(a=0, b=3, c=2)
    assert queue.pop(going, lambda turn: turn.owner != "a") == Turn("c", 2)
    assert queue.pop(going, lambda turn: turn.owner == "d") is None
    queue.discard(Turn("a", 0))
    assert (list(queue), queue.count("a"), queue.count("b")) == ([Turn("b", 1)], 0, 1)


def test_in_turns_gives_one_of_each_owner_before_another_of_any() -> None:
    assert names(in_turns(turns("aaaabbc"))) == "abcabaa"


def test_an_owner_counts_as_long_as_it_has_turns_and_a_while_longer() -> None:
    now = 0.0
    owners = Owners(0.25, lambda: now)
    owners.note("a")
    assert not owners.are_several(Counter(a=1))
    owners.note("b")
    now = RECENT_S + 1
    owners.note("a")
    assert owners.are_several(Counter(a=1, b=1))
    assert not owners.are_several(Counter(a=1))
    alone = Owners(1.0, lambda: now)
    alone.note("a")
    alone.note("b")
    assert not alone.are_several(Counter(a=1, b=1))


def test_an_owner_has_its_share_of_the_queue() -> None:
    owners = Owners(0.25)
    owners.check_queue(255, 1024)
    with pytest.raises(TooBusy, match="256 of your turns are waiting"):
        owners.check_queue(256, 1024)
    Owners(1.0).check_queue(1023, 1024)


@dataclass(eq=False)
class Sent:
    """What a gate needs of a turn; notes when it is sent."""

    owner: str
    num_missing: int = 10
    is_sent: bool = False
    context: Any = field(init=False)

    def __post_init__(self) -> None:
        self.context = SimpleNamespace(ids=[0] * self.num_missing, num_resident=0)

    def go(self) -> None:
        self.is_sent = True


class Vllm:
    """A gate with eight places of 80 tokens, and the turns that have come to it."""

    def __init__(self, share: float) -> None:
        self.gate = Gate(Owners(share), max_turns=8, max_tokens=80)

    def add(self, owner: str, num_turns: int = 1, num_missing: int = 10) -> list[Sent]:
        """So many more turns of an owner."""
        added = [Sent(owner, num_missing) for _ in range(num_turns)]
        for turn in added:
            self.gate.add(cast(Any, turn), turn.go)
        return added

    def started(self, *started: Sent) -> None:
        for turn in started:
            self.gate.started(cast(Any, turn))

    def ended(self, *ended: Sent) -> None:
        for turn in ended:
            self.gate.ended(cast(Any, turn))


def num_sent(of: list[Sent]) -> int:
    return sum(turn.is_sent for turn in of)


def test_one_owner_alone_leaves_a_share_of_vllm_free_and_another_begins_at_once() -> None:
    vllm = Vllm(0.25)
    many = vllm.add("a", 64)
    assert num_sent(many) == 6
    assert num_sent(vllm.add("b")) == 1
    vllm.started(*many[:6])
    vllm.ended(*many[:5])
    assert num_sent(many) == 7  # two are going: its share
    vllm.ended(many[5])
    assert num_sent(many) == 8
    assert vllm.gate.count("a") == 56


def test_one_owner_has_a_share_of_a_steps_tokens_while_there_are_others() -> None:
    vllm = Vllm(0.5)
    assert num_sent(vllm.add("b")) == 1
    many = vllm.add("a", 4, num_missing=25)
    assert num_sent(many) == 1
    vllm.started(many[0])
    assert num_sent(many) == 2
    long = vllm.add("c", 1, num_missing=1000)
    assert num_sent(long) == 1  # more than a step: alone on its way, but not for ever waiting


def test_a_turn_that_ends_while_it_waits_is_never_sent() -> None:
    vllm = Vllm(0.25)
    many = vllm.add("a", 8)
    vllm.ended(many[7])
    vllm.ended(*many[:6])
    assert [turn.is_sent for turn in many] == [True] * 7 + [False]


def test_with_one_owner_by_configuration_all_are_sent_at_once() -> None:
    assert num_sent(Vllm(1.0).add("", 64, num_missing=1000)) == 64
