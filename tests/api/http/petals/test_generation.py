from __future__ import annotations

import math

import pytest

from api.errors import (
    CapacityExhausted,
    GreenroomError,
    InvalidRequest,
    LengthExceeded,
    ModelNotFound,
    SessionNotFound,
    TooBusy,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from api.http.petals.failures import BadParameter, error_line
from api.http.petals.generation import Generation, Plan, read_sampling
from api.turns import Sampling, Stop
from tests.api.fake_cluster import TOY, FakeCluster


def plan(
    inputs: str | None = "four",
    max_length: int | None = None,
    max_new_tokens: int | None = None,
    stop_sequence: str | None = None,
    extra: tuple[str, ...] = (),
    maximum: int = 100,
) -> Plan:
    return Plan(Generation(inputs, Sampling(), max_length, max_new_tokens, stop_sequence, extra), TOY, maximum)


@pytest.mark.parametrize(
    ("asked", "stop", "max_context"),
    [
        (plan(max_new_tokens=7), Stop(7), 100),
        (plan(max_new_tokens=10**30), Stop(101), 100),
        (plan(max_length=30), Stop(101), 29),
        (plan(max_length=30, max_new_tokens=7), Stop(7), 100),
        (plan(), Stop(101), 19),
        (plan(max_length=500), Stop(101), 100),
        (plan(max_new_tokens=7, stop_sequence=""), Stop(101, at_eos=False, suffixes=("",), stride=7), 100),
        (
            plan(max_new_tokens=7, stop_sequence="a", extra=("b", "cd")),
            Stop(101, at_eos=False, suffixes=("a", "b", "cd"), stride=7),
            100,
        ),
        (plan(max_length=30, stop_sequence="a"), Stop(101), 29),
    ],
)
def test_a_call_is_one_turn_whatever_its_chunks(asked: Plan, stop: Stop, max_context: int) -> None:
    turn = asked.turn()
    assert (turn.stop, turn.max_context) == (stop, max_context)


def test_turns_have_ids_of_their_own() -> None:
    assert len({plan().turn().turn_id for _ in range(10)}) == 10


@pytest.mark.parametrize(
    ("asked", "may_end_full"),
    [
        (plan(max_new_tokens=7), False),
        (plan(max_length=101), True),
        (plan(max_length=102), False),
        (plan(max_length=5, max_new_tokens=200), False),
    ],
)
def test_a_full_context_is_an_end_only_where_a_length_asked_for_it(asked: Plan, may_end_full: bool) -> None:
    assert asked.may_end_full is may_end_full


@pytest.mark.parametrize(
    ("asked", "num_history", "message"),
    [
        (plan(maximum=3), 0, "prefix 0 + current 4 exceeds pre-allocated maximum 3"),
        (plan(maximum=10), 7, "prefix 6 + current 5 exceeds pre-allocated maximum 10"),
        (plan(inputs=None, maximum=10), 11, "prefix 10 + current 1 exceeds pre-allocated maximum 10"),
        (plan(inputs=None, maximum=0), 0, "prefix 0 + current 1 exceeds pre-allocated maximum 0"),
        (plan(max_length=4), 0, "max_length 4 leaves no room for a new token after 4"),
        (plan(max_length=11), 7, "max_length 11 leaves no room for a new token after 11"),
    ],
)
async def test_what_does_not_fit_is_named_in_the_arithmetic_of_the_protocol(
    asked: Plan, num_history: int, message: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await asked.check_room(FakeCluster(), num_history)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "num_history"), [(plan(maximum=4), 0), (plan(maximum=11), 7), (plan(max_length=12), 7)]
)
async def test_what_fits_exactly_is_let_through(asked: Plan, num_history: int) -> None:
    await asked.check_room(FakeCluster(), num_history)


def test_sampling_is_read_as_the_protocol_has_it() -> None:
    assert read_sampling(False, math.nan, 5, 0.5, None) == Sampling()
    assert read_sampling(True, None, None, None, None) == Sampling(temperature=1.0)
    assert read_sampling(True, 0.5, 5, 0.0, 2.0) == Sampling(0.5, top_k=5, top_p=0.0, repetition_penalty=2.0)
    assert read_sampling(True, None, 0, math.inf, 1.0) == Sampling(temperature=1.0)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (BadParameter("TypeError", "no"), "TypeError: no"),
        (ModelNotFound("it's"), 'KeyError: "it\'s"'),
        (SessionNotFound("ab"), "KeyError: \"Session 'ab' expired or does not exist\""),
        (
            LengthExceeded(1, 2, 3),
            "ValueError: Maximum length exceeded: prefix 1 + current 2 exceeds pre-allocated maximum 3",
        ),
        (CapacityExhausted("no block is free"), "RuntimeError: attention cache is full: no block is free"),
        (InvalidRequest("no"), "ValueError: no"),
        (TooLarge("no"), "ValueError: no"),
        (TooBusy("later"), "RuntimeError: later"),
        (Unavailable("later"), "RuntimeError: later"),
        (Unauthorized("who?"), "PermissionError: who?"),
        (GreenroomError("inside"), "RuntimeError: Something inside the server went wrong; it has been logged."),
    ],
)
def test_errors_read_as_clients_of_petals_know_them(error: GreenroomError, line: str) -> None:
    assert error_line(error) == line
