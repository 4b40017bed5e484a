"""Requests that send their whole history again: from warm contexts come the tokens that come from cold ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from actors.engine.context import Context, closest
from actors.engine.contract import Admission, Prefix, tokens_hash
from actors.models.warm import WarmContexts
from api.turns import Sampling, Stop
from tests.actors.engine.driver import BLOCK, Driver, TorchDriver, prompt

NUM_TOKENS = 6


class Client:
    """Sends whole prompts, to warm contexts and to cold ones."""

    def __init__(self, driver: Driver, max_contexts: int = 6) -> None:
        self._driver = driver
        self._warm = WarmContexts(driver.engine, max_contexts, 1.0)
        self._num_sent = 0

    async def warm(
        self, tokens: Sequence[int], sampling: Sampling, is_temporary: bool = False, owner: str = ""
    ) -> list[int]:
        """The answer from whatever context serves."""
        key = self._begin(tokens, sampling, is_temporary, owner)
        await self._driver.finish(key)
        self._warm.ended(key)
        return self._driver.output_ids(key)

    async def together(self, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Greedy answers to several at once."""
        keys = [self._begin(tokens, Sampling(), False) for tokens in prompts]
        await self._driver.finish(*keys)
        for key in keys:
            self._warm.ended(key)
        return [self._driver.output_ids(key) for key in keys]

    async def cold(self, tokens: Sequence[int], sampling: Sampling) -> list[int]:
        """The answer from a context that held nothing, of an owner that has nothing else."""
        self._num_sent += 1
        key = f"cold-{self._num_sent}"
        return await self._driver.run(
            key, tokens, NUM_TOKENS, sampling=sampling, is_temporary=True, tenant=f"{self._driver.tenant}-{key}"
        )

    def _begin(self, tokens: Sequence[int], sampling: Sampling, is_temporary: bool, owner: str = "") -> str:
        self._num_sent += 1
        key = f"{self._driver.tenant}-warm-{self._num_sent}"
        stop = Stop(max_tokens=NUM_TOKENS, at_eos=False)
        self._driver.outputs[key], self._driver.ids[key] = [], list(tokens)
        self._driver._contexts[key] = key
        self.residency = self._warm.admit(
            Admission(
                key,
                key,
                0,
                tokens_hash(()),
                tuple(tokens),
                sampling,
                stop,
                create=True,
                is_temporary=is_temporary,
                tenant=self._driver.tenant + owner,
                owner=owner,
            )
        )
        return key


async def test_warm_equals_cold_for_conversations_with_edits_retries_and_branches(driver: Driver) -> None:
    await compare(driver, seed=7, num_chats=4, num_requests=60)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_warm_equals_cold_for_two_hundred_random_conversations(torch_driver: TorchDriver) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201
    await compare(torch_driver, seed, num_chats=200, num_requests=1000, max_contexts=100)


async def compare(driver: Driver, seed: int, num_chats: int, num_requests: int, max_contexts: int = 6) -> None:
    """Each request of conversations that go on, are edited, are asked again and branch, warm and cold."""
    draw, client = random.Random(seed), Client(driver, max_contexts)
    chats = [prompt(20, number) for number in range(num_chats)]
    num_resident = 0
    for number in range(num_requests):
        chat = draw.choice(chats)
        kind = draw.random()
        if kind < 0.2:
            del chat[draw.randrange(4, len(chat)) :]
        elif kind < 0.3:
            chat[draw.randrange(len(chat))] = draw.randrange(3, 384)
        elif kind < 0.4:
            chat = chats[draw.randrange(num_chats)] = [
                *draw.choice(chats)[: draw.randrange(1, 20)],
                *prompt(12, number),
            ]
        sampling = Sampling(temperature=1.0, seed=number) if draw.random() < 0.5 else Sampling(repetition_penalty=1.3)
        answer = await client.warm(chat, sampling, is_temporary=draw.random() < 0.2)
        num_resident += client.residency.num_resident
        assert answer == await client.cold(chat, sampling), number
        if len(chat) > 100:
            del chat[10:]
        elif draw.random() < 0.8:
            chat += [*answer[: draw.randrange(NUM_TOKENS + 1)], *prompt(draw.randrange(1, 9), number)]
    assert num_resident > 0


async def test_what_is_sent_at_once_is_right_too(driver: Driver) -> None:
    client = Client(driver)
    start = prompt(40)
    answer = await client.warm(start, Sampling())
    prompts = [start, [*start, *answer, 5], [*start, *answer, 6], start[:25], [*start[:30], 7, 8]]
    answers = await client.together(prompts)
    assert answers == [await client.cold(tokens, Sampling()) for tokens in prompts]


async def test_of_a_chat_that_goes_on_only_what_is_new_is_computed(driver: Driver) -> None:
    client = Client(driver)
    chat = prompt(40)
    for turn in range(5):
        num_known = len(chat)
        answer = await client.warm(chat, Sampling())
        new = prompt(8, turn)
        chat += [*answer, *new]
        if turn:  # the last token of an answer was drawn, and not computed
            assert client.residency == driver.residency(num_known, num_known - 9)


async def test_another_owner_finds_nothing_of_an_equal_prompt_and_shares_no_block_of_it(driver: Driver) -> None:
    """What is computed tells how long an answer takes: as much as if nobody else had asked the same."""
    client, chat = Client(driver), prompt(70)
    for owner, is_found in (("ada", False), ("bob", False), ("", False), ("ada", True), ("bob", True)):
        num_free, num_found = driver.num_free_blocks(), driver.counter("resident_tokens")
        answer = await client.warm([*chat, *([7] if is_found else [])], Sampling(), owner=owner)
        assert (client.residency.num_resident > 0) == is_found, owner
        assert (driver.counter("resident_tokens") > num_found) == is_found, owner
        if isinstance(driver, TorchDriver) and not is_found:
            assert num_free - driver.num_free_blocks() >= (len(chat) + len(answer) - 1) // BLOCK
    assert await client.warm(chat, Sampling(), owner="eve") == await client.cold(chat, Sampling())


def test_the_closest_context_is_that_with_most_tokens_in_common() -> None:
    draw = random.Random(3)
    for _ in range(300):
        contexts = []
        for number in range(draw.randrange(5)):
            context = Context(f"{number}")
            context.ids.extend(draw.choices((1, 2), k=draw.randrange(12)))
            contexts.append(context)
        tokens = draw.choices((1, 2), k=draw.randrange(12))
        lengths = [num_common(list(context.ids), tokens) for context in contexts]
        best = max(lengths, default=0)
        expected = Prefix(str(lengths.index(best)), best) if best else None
        assert closest([None, *contexts], tokens, None) == expected
    other = Context("other", adapter="pirate")
    other.ids.extend([1, 2])
    assert closest([other], [1, 2], None) is None
    assert closest([other], [1, 2, 3], "pirate") == Prefix("other", 2)


def num_common(left: Sequence[int], right: Sequence[int]) -> int:
    """One by one."""
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
