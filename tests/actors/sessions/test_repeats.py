"""What a session's journal leaves out is found again in what it has."""

from __future__ import annotations

import random

import pytest

from actors.models.messages import TurnOutput
from actors.sessions.history import History
from actors.sessions.records import Edited, Opened, Record, TurnEnded, TurnQueued, TurnStarted, decode, encode
from actors.sessions.repeats import KeptIds, KeptMessages, KeptParts
from actors.sessions.shortened import shortened, whole
from api.cluster import Edit, Retention
from api.tools import ToolCall
from api.turns import Earlier, Message, Part, Text, Tokens, TurnRequest

CALL = ToolCall("call_1", "weather", "{}")


def messages(chance: random.Random, count: int) -> tuple[Message, ...]:
    """Some of them alike."""
    return tuple(
        chance.choice([Message("user", str(chance.randrange(5))), Message("assistant", "", tool_calls=(CALL,))])
        for _ in range(count)
    )


def parts(chance: random.Random, ids: tuple[int, ...]) -> tuple[Part, ...]:
    """A prompt of every kind of part; some have the first of these ids."""
    found: list[Part] = []
    for _ in range(chance.randrange(6)):
        own = ids[: chance.randrange(len(ids) + 1)] + (7,) * chance.randrange(2)
        kinds = (Text("x"), Tokens(own), Earlier(own, (Message("system", "s"),), (), messages(chance, 3)))
        found += [chance.choice(kinds), *messages(chance, chance.randrange(3))]
    return tuple(found)


@pytest.mark.parametrize("seed", range(50))
def test_ids_and_messages_and_parts_come_back_whatever_was_before(seed: int) -> None:
    chance = random.Random(seed)
    earlier, said = tuple(chance.choices(range(3), k=chance.randrange(60))), messages(chance, 9)
    ids = (
        *chance.choices(range(3), k=chance.randrange(9)),
        *earlier[chance.randrange(9) :],
        *range(chance.randrange(5)),
    )
    assert KeptIds.of(ids, earlier).ids(earlier) == ids
    assert KeptIds.of(earlier[:5], earlier).ids(earlier) == earlier[:5]
    told = messages(chance, 12)
    assert tuple(KeptMessages.of(told, said).messages(said)) == told
    prompt = parts(chance, earlier)
    assert KeptParts.of(prompt, said, earlier).parts(said, earlier) == prompt


def test_what_is_the_same_is_left_out() -> None:
    earlier, said = tuple(range(1000)), tuple(Message("user", str(number)) for number in range(1000))
    assert KeptIds.of((5, 6, *earlier[3:], 9), earlier) == KeptIds(((3, 1000, 2),), (5, 6, 9))
    new = (Message("user", "new"),)
    kept = KeptMessages.of((*new, *said[:300], *said[301:], *new), said)
    assert kept == KeptMessages(((0, 300, 1), (301, 1000, 0)), new * 2)
    part = Earlier(earlier, (), (), said)
    assert KeptParts.of((part,), said, earlier).others == (Earlier(()),)


def test_records_are_written_short_and_read_whole() -> None:
    """A session whose context begins anew with each turn, by turns and by edits of their own."""
    chance, written, history = random.Random(1), History(), History()
    told: tuple[Message, ...] = ()
    records: list[Record] = [Opened("s", "pocket", Retention(), 1000, None)]
    sizes: list[int] = []
    tokens: tuple[int, ...] = ()
    for number in range(30):
        said = (Message("user", f"a message {number}"), Message("assistant", f"an answer {number}"))
        ids = (*chance.choices(range(9), k=3), *tokens[3:], number)
        edit = Edit(f"e{number}", told=(Message("system", f"{number}"), Earlier(tokens, messages=told)), is_anew=True)
        turn = TurnRequest(f"t{number}", (said[0],))
        if number % 3:
            records += [*([TurnQueued(turn, edit)] if number % 3 == 1 else []), TurnStarted(turn, 2, edit, ids)]
        else:
            records += [Edited(edit), TurnStarted(turn, 2)]
        records.append(TurnEnded(turn.turn_id, ids, TurnOutput((8,), ("8",))))
        told, tokens = (*told, *said), (*ids, 8)
    for record in records:
        line = encode(shortened(written, record))
        read = whole(history, decode(line))
        assert read == record
        written.apply(record)
        history.apply(read)
        sizes.append(len(line))
    assert history.entries == written.entries
    assert max(sizes[50:]) < 1.1 * max(sizes[:50]), "lines do not grow with what is told"
