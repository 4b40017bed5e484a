"""Warm contexts on a fake engine: which one a request begins from, and which of them stay."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.engine.contract import Admission, tokens_hash
from actors.models.warm import MIN_SHARED, WarmContexts
from api.errors import LengthExceeded
from api.turns import Sampling, Stop
from tests.actors.fake_engine import FakeEngine

QUESTION, ANSWER, NEXT = list(range(10, 50)), list(range(100, 120)), list(range(200, 230))


class Requests:
    """Requests to one engine, of one token each where not said."""

    def __init__(self, max_contexts: int = 8, owner_share: float = 1.0) -> None:
        self.engine = FakeEngine()
        self.warm = WarmContexts(self.engine, max_contexts, owner_share)
        self._num_begun = 0

    def begin(
        self,
        tokens: list[int],
        owner: str = "",
        is_temporary: bool = False,
        num_tokens: int = 1,
        keep_s: float = 0.0,
    ) -> str:
        """The turn's key; its context is the one that is left with its tokens."""
        self._num_begun += 1
        key = f"turn-{self._num_begun}"
        self.warm.admit(
            Admission(
                key,
                "ignored",
                0,
                tokens_hash(()),
                tuple(tokens),
                Sampling(),
                Stop(num_tokens),
                create=True,
                is_temporary=is_temporary,
                owner=owner,
            ),
            keep_s,
        )
        return key

    def context(self, key: str) -> str:
        """Where a running turn is."""
        return self.engine._turns[key].admission.context_id

    async def end(self, key: str, answer: list[int] | None = None) -> str:
        """The turn's context, with this answer at its end."""
        context_id = self.context(key)
        await self.engine.step()
        if context_id in self.engine.contexts:
            self.engine.contexts[context_id][-1:] = answer or ANSWER
            self.engine.resident[context_id] = len(self.engine.contexts[context_id]) - 1
        self.warm.ended(key)
        return context_id

    async def answered(self, tokens: list[int], owner: str = "", keep_s: float = 0.0) -> str:
        """A context with a question and its answer."""
        return await self.end(self.begin(tokens, owner, keep_s=keep_s))


async def test_what_goes_on_after_an_answer_takes_the_context_over() -> None:
    requests = Requests()
    first = await requests.answered(QUESTION)
    assert await requests.answered([*QUESTION, *ANSWER, *NEXT]) == first
    assert requests.engine.contexts.keys() == {first}


async def test_also_where_the_client_spells_the_answer_differently() -> None:
    requests = Requests()
    first = await requests.answered(QUESTION)
    assert await requests.answered([*QUESTION, *ANSWER[:5], 999, *NEXT]) == first


async def test_a_retry_an_edit_and_a_busy_context_are_forked_as_far_as_they_agree() -> None:
    requests = Requests()
    first = await requests.answered(QUESTION)
    for tokens, num_common in (
        (QUESTION, len(QUESTION)),
        ([*QUESTION[:20], *NEXT], 20),
        ([*QUESTION[:-1], 7, *NEXT], len(QUESTION) - 1),
    ):
        key = requests.begin(tokens)
        forked = requests.context(key)
        assert forked != first
        assert requests.engine.resident[forked] == num_common
        await requests.end(key, [9])
    running = requests.begin([*QUESTION, *ANSWER, *NEXT])
    assert requests.context(running) == first
    beside = requests.begin([*QUESTION, *ANSWER, *NEXT, 5])
    assert requests.context(beside) != first
    assert requests.engine.contexts[first][: len(QUESTION)] == QUESTION


async def test_too_little_in_common_is_not_worth_a_fork() -> None:
    requests = Requests()
    await requests.answered(QUESTION)
    key = requests.begin([*QUESTION[: MIN_SHARED - 1], *NEXT])
    assert requests.context(key) not in requests.engine.resident


async def test_a_temporary_turn_begins_from_what_is_there_and_leaves_nothing() -> None:
    requests = Requests()
    first = await requests.answered(QUESTION)
    key = requests.begin([*QUESTION, *ANSWER, *NEXT], is_temporary=True)
    assert requests.context(key) != first
    assert requests.engine.resident[requests.context(key)] == len(QUESTION) + len(ANSWER) - 1
    await requests.end(key)
    assert requests.engine.contexts.keys() == {first}


async def test_no_owner_begins_from_what_another_one_holds() -> None:
    requests = Requests()
    first = await requests.answered(QUESTION, "ada")
    key = requests.begin([*QUESTION, *ANSWER, *NEXT], "bob")
    assert requests.context(key) not in {first, *requests.engine.resident}
    assert await requests.answered([*QUESTION, *ANSWER, *NEXT], "ada") == first


async def test_of_several_the_one_with_the_longest_beginning_goes_on() -> None:
    requests = Requests()
    first = await requests.answered(QUESTION)
    second = await requests.end(requests.begin(QUESTION), [5, 6, 7])
    assert await requests.answered([*QUESTION, 5, 6, 7, *NEXT]) == second
    assert await requests.answered([*QUESTION, *ANSWER, *NEXT]) == first


async def test_the_least_recently_used_ones_are_closed_but_none_that_runs() -> None:
    requests = Requests(max_contexts=3)
    running = requests.begin([1] * 20, num_tokens=100)
    ids = [await requests.answered([number] * 20) for number in range(2, 6)]
    assert requests.engine.contexts.keys() == {requests.context(running), *ids[-2:]}


async def test_an_owner_has_its_share() -> None:
    requests = Requests(max_contexts=8, owner_share=0.25)
    other = await requests.answered(QUESTION, "bob")
    ids = [await requests.answered([number] * 20, "ada") for number in range(5)]
    assert requests.engine.contexts.keys() == {other, *ids[-2:]}


async def test_what_is_refused_leaves_no_fork() -> None:
    requests = Requests()
    first = await requests.answered(QUESTION)
    requests.engine.max_context = len(QUESTION)
    try:
        requests.begin([*QUESTION[:30], *range(300, 400)])
    except LengthExceeded:
        pass
    else:
        raise AssertionError("it does not fit")
    assert requests.engine.contexts.keys() == {first}


async def test_what_is_to_be_kept_goes_after_the_others_and_no_longer_than_it_is_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("actors.models.warm.time", SimpleNamespace(monotonic=lambda: now))
    requests = Requests(max_contexts=3)
    kept, brief, plain = [
        await requests.answered([number] * 20, keep_s=keep_s) for number, keep_s in ((1, 60.0), (2, 5.0), (3, 0.0))
    ]
    assert await requests.answered([*[1] * 20, *ANSWER, *NEXT]) == kept, "a later turn without a wish does not end it"
    await requests.answered([4] * 20)
    assert {kept, brief} <= requests.engine.contexts.keys()
    assert plain not in requests.engine.contexts
    now += 10
    await requests.answered([5] * 20)
    assert kept in requests.engine.contexts
    assert brief not in requests.engine.contexts
    for number in range(6, 12):
        await requests.answered([number] * 20, keep_s=60.0)
    assert len(requests.engine.contexts) == 3


async def test_fewer_contexts_are_kept_from_now_on_and_the_last_used_stay() -> None:
    requests = Requests(max_contexts=8)
    kept = [await requests.end(requests.begin([number, 1, 2], owner)) for number in range(3) for owner in ("a", "b")]
    assert set(kept) <= set(requests.engine.contexts)
    requests.warm.configure(4, owner_share=0.25)
    assert set(requests.engine.contexts) == set(kept[-2:])
