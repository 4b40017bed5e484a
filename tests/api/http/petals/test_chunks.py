from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

import pytest

from api.errors import LengthExceeded
from api.http.petals.chunks import Answer, Chunk
from api.http.petals.generation import Generation, Plan
from api.turns import Finish, Frame, Reason, Sampling, TurnStart
from tests.api import toy_model
from tests.api.fake_cluster import TOY

STOP = "##"


class Recorded:
    """A turn that has already happened, in frames of any size."""

    def __init__(self, frames: Sequence[Frame], prompt_ids: tuple[int, ...] = (65,)) -> None:
        self.start = TurnStart("t", 0, prompt_ids, 0)
        self._frames = frames

    async def __aiter__(self) -> AsyncIterator[Frame]:
        for frame in self._frames:
            yield frame

    async def cancel(self) -> None:
        raise AssertionError("nobody asked for this")


def recorded(ids: Sequence[int], reason: Reason, sizes: Sequence[int] = (), is_end_alone: bool = False) -> Recorded:
    """These ids in frames of these sizes and a rest; the end in a frame of its own if asked."""
    decoder = toy_model.Decoder()
    pieces = [decoder.add(token) for token in ids]
    finish = Finish(reason, tail=decoder.end())
    frames, offset = [], 0
    for size in (*sizes, len(ids)):
        end = min(offset + size, len(ids))
        is_last = end == len(ids) and not is_end_alone
        frames.append(
            Frame("t", 1, offset, tuple(ids[offset:end]), tuple(pieces[offset:end]), (), finish if is_last else None)
        )
        if is_last:
            return Recorded(frames)
        offset = end
    return Recorded([*frames, Frame("t", 1, offset, (), (), (), finish)])


def planned(num_chunk: int, stop: str | None = STOP) -> Plan:
    generation = Generation("A", Sampling(), None, num_chunk, stop)
    return Plan(generation, TOY, 1000)


async def chunks_of(plan: Plan, turn: Recorded) -> list[Chunk]:
    return [chunk async for chunk in Answer(plan, turn).chunks()]


def as_petals_would(ids: Sequence[int], num_chunk: int) -> list[tuple[str, int]]:
    """The loop of the protocol, word by word from its description: decode all, cut, hold back, send."""
    messages, sent, held, taken = [], "", 0, 0
    while taken < len(ids):
        chunk: list[int] = []
        while len(chunk) < num_chunk and taken < len(ids):
            chunk.append(ids[taken])
            taken += 1
            if chunk[-1] == toy_model.EOS:
                break
        held += len(chunk)
        text = toy_model.decode(ids[:taken])
        new = text[len(sent) :]
        is_stop = text.endswith(STOP)
        if is_stop or "\ufffd" not in new[-10:]:
            messages.append((new, held))
            sent, held = text, 0
        if is_stop:
            break
    return messages


def random_ids(draw: random.Random, num_chunk: int) -> list[int]:
    """Letters, characters of two to four bytes (some cut), ends of text, and so much of the stop that it is met."""
    ids: list[int] = []
    for _ in range(draw.randrange(1, 25)):
        match draw.randrange(10):
            case 0:
                ids.append(toy_model.EOS)
            case 1:
                ids.extend("🙂".encode()[: draw.randrange(1, 5)])
            case 2 | 3:
                ids.extend(draw.choice(["é", "€", "世"]).encode())
            case 4:
                ids.append(ord("#"))
            case _:
                ids.append(draw.randrange(97, 123))
    return ids + [ord("#")] * (2 * num_chunk)


@pytest.mark.parametrize("seed", range(100))
async def test_chunks_are_those_of_the_protocol_however_the_frames_fall(seed: int) -> None:
    draw = random.Random(seed)
    num_chunk = draw.randrange(1, 6)
    expected = as_petals_would(ids := random_ids(draw, num_chunk), num_chunk)
    ids = ids[: sum(count for _, count in expected)]
    sizes = [draw.randrange(0, 5) for _ in range(30)]
    turn = recorded(ids, "stop", sizes, is_end_alone=draw.random() < 0.5)
    chunks = await chunks_of(planned(num_chunk), turn)
    assert [(chunk.text, chunk.num_tokens) for chunk in chunks] == expected
    assert [chunk.finish is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_an_end_that_is_no_stop_comes_with_what_is_left_even_if_that_is_nothing() -> None:
    turn = recorded(toy_model.encode("ab"), "cancelled", is_end_alone=True)
    chunks = await chunks_of(planned(1), turn)
    assert [(chunk.text, chunk.num_tokens) for chunk in chunks] == [("a", 1), ("b", 1), ("", 0)]


async def test_without_a_stop_there_is_one_chunk() -> None:
    turn = recorded(toy_model.encode("ab</s>"), "eos", [1, 1])
    assert [(chunk.text, chunk.num_tokens) for chunk in await chunks_of(planned(1, stop=None), turn)] == [("ab</s>", 3)]


async def test_whole_chunks_come_before_the_error_of_a_full_context_and_the_broken_one_does_not() -> None:
    chunks = Answer(planned(2), recorded(toy_model.encode("abcde"), "context", [2, 3])).chunks()
    assert [(await anext(chunks)).text, (await anext(chunks)).text] == ["ab", "cd"]
    with pytest.raises(LengthExceeded, match=r"prefix 1000 \+ current 1 exceeds pre-allocated maximum 1000"):
        await anext(chunks)


async def test_what_a_cancelled_turn_had_is_sent_with_its_end() -> None:
    turn = recorded(toy_model.encode("abc"), "cancelled", [1], is_end_alone=True)
    chunks = await chunks_of(planned(2), turn)
    assert [(chunk.text, chunk.num_tokens) for chunk in chunks] == [("ab", 2), ("c", 1)]


async def test_the_beginning_of_text_is_echoed_and_counted_with_the_first_chunk() -> None:
    plan = Plan(Generation(None, Sampling(), None, 1, "b"), TOY, 1000)
    turn = recorded(toy_model.encode("ab"), "stop", is_end_alone=True)
    turn.start = TurnStart("t", 0, (toy_model.BOS,), 0)
    assert [(chunk.text, chunk.num_tokens) for chunk in await chunks_of(plan, turn)] == [("<s>a", 2), ("b", 1)]
