"""The calls of the SDK on the embedded model, held to ``transformers`` or to each other; over everything but Ray."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.engine.contract import Capacity
from actors.settings import InferletSettings, ModelSettings
from api.inferlet_events import Completed, Event, Message
from deployments.config import embedded_model
from tests.actors.engine.checkpoints import Oracle
from tests.actors.inferlets.programs import launched
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker

BLOCK = 16
in_one_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SmallCluster]:
    model = ModelSettings("pocket", embedded_model(), ("alias",), report_interval_s=0.05, poll_interval_s=0.001)
    settings = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40)
    folder = tmp_path_factory.mktemp("journal")
    async with SmallBroker(folder) as broker:
        async with SmallCluster(folder, inferlets=settings, topics=broker.ref(), model=model, pool_size=0) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(Path(embedded_model()))


async def returned(cluster: SmallCluster, body: str, begin: str = "") -> Any:
    """What a program of this body returns."""
    lines = textwrap.indent(begin + textwrap.dedent(body), "    ")
    instance = await launched(cluster, f"@inferlet\nasync def main(args: Args) -> object:\n{lines}")
    async with asyncio.timeout(60):
        events: list[Event] = [event async for event in instance.events()]
    assert isinstance(events[-1], Completed), events[-1]
    return events[-1].value


LEFT_AT_FIVE = """
kept = context.generate(stop=max_len(100_000))
async for _ in kept:
    if len(kept.ids) == 5:
        break
"""


async def capacity(cluster: SmallCluster) -> Capacity:
    """Of the model actor, as it is now."""
    await asyncio.sleep(0.1)
    return (await cluster.directory.reports())[0].capacity


BEGIN = """
context = get_auto_model().create_context()
context.fill("1 2 3 4 5 6 7 8 9 10")
"""


@in_one_loop
async def test_a_bias_pushes_a_token_and_the_allowed_ones_are_the_only_ones(cluster: SmallCluster) -> None:
    found = await returned(
        cluster,
        """
        await context.flush()
        pushed = context.fork().generate(stop=max_len(5), logit_bias={77: 100.0})
        nearly_even = Sampler.multinomial(100.0)  # so that 20 draws are never alike, whatever the seed
        held = context.fork().generate(nearly_even, max_len(20), allowed_tokens={70, 80, 90})
        await asyncio.gather(pushed, held)
        return [list(pushed.ids), list(held.ids)]
        """,
        BEGIN,
    )
    assert found[0] == [77] * 5
    assert set(found[1]) <= {70, 80, 90}
    assert len(set(found[1])) > 1


@in_one_loop
@pytest.mark.parametrize("length", [BLOCK - 1, BLOCK, BLOCK + 1, 4 * BLOCK - 1, 4 * BLOCK, 4 * BLOCK + 1])
async def test_forks_go_on_exactly_at_the_edges_of_a_block(cluster: SmallCluster, oracle: Oracle, length: int) -> None:
    ids = [(7 * index) % 900 + 40 for index in range(length)]
    found = await returned(
        cluster,
        f"""
        context = get_auto_model().create_context()
        context.fill_tokens({ids})
        await context.flush()
        forks = [context.fork() for _ in range(2)]
        for index, fork in enumerate(forks):
            fork.step(50 + index)
        all = [context, *forks]
        await asyncio.gather(*(one.generate(stop=max_len(6)) for one in all))
        return [one.tokens for one in all]
        """,
    )
    for tokens, extra in zip(found, ([], [50], [51]), strict=True):
        assert tokens == [*ids, *extra, *oracle.greedy([*ids, *extra], 6)]


@in_one_loop
async def test_a_distribution_is_that_of_transformers(cluster: SmallCluster, oracle: Oracle) -> None:
    found = await returned(
        cluster,
        """
        candidates = await context.next_distribution(5)
        return [context.tokens, candidates.ids, candidates.probabilities, candidates.entropy]
        """,
        BEGIN,
    )
    tokens, ids, probabilities, entropy = found
    expected = oracle.logits(tokens)[-1].softmax(dim=-1)
    top = expected.topk(5)
    assert ids == top.indices.tolist()
    assert probabilities == pytest.approx(top.values.tolist(), abs=1e-4)
    assert entropy == pytest.approx(-(expected * expected.log()).sum().item(), abs=1e-3)


@in_one_loop
async def test_a_custom_sampler_that_takes_the_likeliest_is_greedy(cluster: SmallCluster) -> None:
    found = await returned(
        cluster,
        """
        await context.flush()
        own = context.fork().generate(Sampler.custom(lambda candidates: candidates.ids[0]), max_len(8))
        greedy = context.fork().generate(stop=max_len(8))
        return [await own == await greedy, own.ids == greedy.ids, len(own.ids)]
        """,
        BEGIN,
    )
    assert found == [True, True, 8]


@in_one_loop
async def test_dropped_and_refilled_contexts_go_on_as_if_nothing_had_been(cluster: SmallCluster) -> None:
    found = await returned(
        cluster,
        """
        async def until(wanted):
            while context.resident_tokens != wanted:
                await asyncio.sleep(0.01)

        await context.flush()
        sizes = [context.length]
        expected = await context.fork().generate(stop=max_len(6))
        await context.drop()
        await until(0)
        await context.refill()
        await until(sizes[0])
        await context.drop()
        return [sizes, expected == await context.generate(stop=max_len(6))]
        """,
        BEGIN,
    )
    assert found[0][0] > 5
    assert found[1]


@in_one_loop
async def test_cut_back_and_asked_again_a_context_says_the_same(cluster: SmallCluster) -> None:
    found = await returned(
        cluster,
        """
        length = context.length
        first = await context.generate(stop=max_len(20))
        context.rollback(length + 7)
        context.rollback(length)
        return [first == await context.generate(stop=max_len(20)), context.length - length]
        """,
        BEGIN,
    )
    assert found == [True, 20]


@in_one_loop
@pytest.mark.parametrize(
    ("leaving", "num_kept"),
    [
        ("async with asyncio.timeout(0.2):\n    await context.generate(stop=max_len(100_000))", 0),
        (LEFT_AT_FIVE, 5),
    ],
)
async def test_a_generation_that_is_left_stops_the_engine_and_leaves_what_was_taken(
    cluster: SmallCluster, leaving: str, num_kept: int
) -> None:
    body = f"""{BEGIN}
length = context.length
try:
{textwrap.indent(leaving, "    ")}
except TimeoutError:
    pass
send(context.length - length)
await recv()
send(await context.generate(stop=max_len(2)))
"""
    num_before = (await capacity(cluster)).counters["output_tokens"]
    instance = await launched(cluster, f"@inferlet\nasync def main(args: Args) -> None:{textwrap.indent(body, '    ')}")
    async with asyncio.timeout(20):
        assert await instance.read(-1, 10.0) == (Message(0, num_kept),)
        while (await capacity(cluster)).num_running:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        num_made = (await capacity(cluster)).counters["output_tokens"] - num_before
        assert num_kept <= num_made < 1900, "a full context has 2048"
        await instance.send("go on")
        [text, end] = [event async for event in instance.events(0)]
    assert isinstance(text, Message)
    assert text.value
    assert isinstance(end, Completed)


@in_one_loop
async def test_text_is_cut_where_a_pattern_is_complete(cluster: SmallCluster) -> None:
    found = await returned(
        cluster,
        """
        import re
        await context.flush()
        free = context.fork().generate(stop=max_len(40))
        whole = await free
        part = whole[len(whole) // 2 :][:3]
        generation = context.generate(stop=matches(re.escape(part)) | max_len(40))
        heads = [get_auto_model().detokenize(free.ids[:length]) for length in range(1, 41)]
        return [heads, part, await generation, generation.finish.reason]
        """,
        BEGIN,
    )
    heads, part, text, reason = found
    assert (reason, text) == ("stop", next(head for head in heads if part in head))
    assert text != heads[-1]


@in_one_loop
async def test_models_tell_who_they_are_and_how_they_chat(cluster: SmallCluster) -> None:
    found = await returned(
        cluster,
        """
        [model] = get_all_models()
        assert get_model("alias") == get_model("pocket") == model == get_auto_model()
        Message = __import__("api.turns").turns.Message
        chat = model.chat_template([Message("user", "Hello!")])
        context = model.create_context()
        context.fill_user("Hello!")
        answer = await context.generate(stop=max_len(4))
        assert chat == context.tokens[:len(chat)]
        return [model.detokenize(model.tokenize("Hello there")), model.max_context_tokens]
        """,
    )
    assert found == ["Hello there", 2048]
