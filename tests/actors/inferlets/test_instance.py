"""Inferlets over everything but Ray: messages, output, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.settings import InferletSettings
from api.errors import EndOfEvents, InferletEnded, InferletNotFound, InvalidRequest, ProgramNotFound
from api.inferlet_events import Completed, Failed, Lost, Message, Stderr, Stdout, Terminated
from tests.actors.inferlets.programs import HEAD, all_events, launched, messages
from tests.actors.small_cluster import SmallCluster

ECHO = """
@inferlet
async def main(args: Args) -> None:
    while (message := await recv()) != "exit":
        send(message)
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    settings = InferletSettings(
        pool_size=0,
        max_inferlets=20,
        replay_timeout_s=20,
        memory_limit_bytes=1 << 40,
    )
    async with SmallCluster(tmp_path, inferlets=settings, pool_size=0) as cluster:
        yield cluster


async def test_messages_prints_and_the_result_come_in_the_order_of_the_program(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        import sys
        @inferlet
        async def main(args: Args) -> dict:
            print("before")
            send("Hello!")
            print("after", file=sys.stderr)
            send(b"bytes")
            print("no newline", end="")
            return {"argv": list(args.argv), "rank": args.value_from_str(["-r", "--rank"], default=0)}
        """,
        "--rank",
        "3",
    )
    assert await all_events(instance) == [
        Stdout(0, "before\n"),
        Message(1, "Hello!"),
        Stderr(2, "after\n"),
        Message(3, b"bytes"),
        Stdout(4, "no newline"),
        Completed(5, {"argv": ["--rank", "3"], "rank": 3}),
    ]


async def test_several_clients_see_every_message_from_any_position(cluster: SmallCluster) -> None:
    instance = await launched(cluster, ECHO)
    for number in range(10):
        await instance.send(number)
    first, second = await asyncio.gather(messages(instance, 10), messages(instance, 10))
    assert first == second == list(range(10))
    assert await messages(instance, 4, after=5) == [6, 7, 8, 9]


async def test_the_same_key_again_is_the_same_message(cluster: SmallCluster) -> None:
    instance = await launched(cluster, ECHO)
    positions = await asyncio.gather(*(instance.send("once", "key") for _ in range(3)))
    await instance.send("exit")
    assert positions == [0, 0, 0]
    assert await all_events(instance) == [Message(0, "once"), Completed(1, None)]


async def test_a_hundred_receives_that_time_out_lose_nothing(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> list:
            found, number = [], 0
            while len(found) < 20:
                try:
                    if number % 2:
                        found.append(await recv(timeout_s=0.001))
                    else:
                        found.append(await asyncio.wait_for(recv(), 0.001))
                except TimeoutError:
                    pass
                number += 1
            return found
        """,
    )
    for number in range(20):
        await instance.send(number)
        await asyncio.sleep(0.003)
    assert (await all_events(instance))[-1] == Completed(0, list(range(20)))


async def test_what_comes_for_a_receive_that_was_left_comes_first_to_the_next(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        import time
        @inferlet
        async def main(args: Args) -> list:
            found = []
            while len(found) < 40:
                left = asyncio.create_task(recv())
                await asyncio.sleep(0)
                time.sleep(0.002)
                left.cancel()
                found += [await recv(), await recv()]
            return found
        """,
    )
    for number in range(40):
        await instance.send(number)
    assert (await all_events(instance))[-1] == Completed(0, list(range(40)))


async def test_a_failure_shows_the_traceback_of_the_program_and_of_nothing_else(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        def divide(by):
            return 1 / by
        @inferlet
        async def main(args: Args) -> None:
            await asyncio.gather(wrong())
        async def wrong():
            await recv(0.01) if False else divide(0)
        """,
    )
    [failed] = await all_events(instance)
    assert isinstance(failed, Failed)
    assert "ZeroDivisionError: division by zero" in failed.error
    assert "return 1 / by" in failed.error
    assert "actors/" not in failed.error
    assert "asyncio" not in failed.error.replace("asyncio.gather", "")


async def test_an_error_of_the_sdk_is_blamed_on_the_line_that_called_it(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            send({1, 2})
        """,
    )
    [failed] = await all_events(instance)
    assert isinstance(failed, Failed)
    assert "send({1, 2})" in failed.error
    assert "text, bytes or a JSON value" in failed.error


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("async def main(args):\n    pass\n", "has no function under @inferlet"),
        ("@inferlet\nasync def main(args):\n    return (\n", "line 3: '(' was never closed"),
        ("\0", "null bytes"),
    ],
)
async def test_a_source_that_cannot_run_is_refused_at_its_upload(
    cluster: SmallCluster, source: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence.replace("(", r"\(")):
        await cluster.inferlets.upload_program(source, "program.py", "")


async def test_what_is_not_there_is_said_to_be_not_there(cluster: SmallCluster) -> None:
    with pytest.raises(ProgramNotFound):
        await cluster.inferlets.launch("0" * 64)
    with pytest.raises(ProgramNotFound):
        await cluster.inferlets.launch("os:system")
    with pytest.raises(InferletNotFound):
        await cluster.inferlets.inferlet("nothing")


async def test_a_launch_with_a_request_id_happens_once(cluster: SmallCluster) -> None:
    program = await cluster.inferlets.upload_program(HEAD + ECHO, "echo.py", "")
    await cluster.inferlets.upload_program(HEAD + ECHO, "echo.py", "ann")

    async def launch(owner: str = "", request_id: str = "once", *arguments: str) -> str:
        return (await cluster.inferlets.launch(program, arguments, owner, None, request_id)).instance_id

    ids = await asyncio.gather(*(launch() for _ in range(5)))
    assert len(set(ids)) == 1
    cluster.kill_inferlet(ids[0])
    cluster.restart_directory()
    assert await launch() == ids[0]
    others = [await launch("ann"), await launch("", "twice"), await launch("", "once", "more")]
    assert len({ids[0], *others}) == 4
    assert len(await cluster.inferlets.inferlets()) == 3
    instance = await cluster.inferlets.inferlet(ids[0])
    await instance.terminate()
    assert await launch() == ids[0]
    assert [type(event) for event in await all_events(instance)][-1] is Terminated


async def test_an_instance_and_a_program_are_seen_by_their_owner_only(cluster: SmallCluster) -> None:
    instance = await launched(cluster, ECHO, owner="ann")
    with pytest.raises(InferletNotFound):
        await cluster.inferlets.inferlet(instance.instance_id, "bob")
    program = (await instance.describe()).summary.program
    with pytest.raises(ProgramNotFound):
        await cluster.inferlets.launch(program, (), "bob")
    assert [one.instance_id for one in await cluster.inferlets.inferlets("ann")] == [instance.instance_id]
    assert await cluster.inferlets.inferlets("bob") == ()


async def test_a_terminated_inferlet_says_so_and_takes_no_more_messages(cluster: SmallCluster) -> None:
    instance = await launched(cluster, ECHO)
    await instance.send("a")
    assert await messages(instance, 1) == ["a"]
    assert await instance.terminate()
    assert not await instance.terminate()
    assert (await all_events(instance))[-1] == Terminated(1)
    with pytest.raises(InferletEnded):
        await instance.send("b")


async def test_what_a_program_got_that_does_not_run_again_is_not_kept(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet(durable=False)
        async def main(args: Args) -> object:
            await store_put("key", "x" * 100_000)
            for _ in range(30):
                await store_get("key")
            return await recv()
        """,
    )
    await instance.send("heard")
    assert await all_events(instance) == [Completed(0, "heard")]


async def test_a_program_that_does_something_else_the_second_time_is_told_which_call(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        import time
        START = time.time()
        @inferlet
        async def main(args: Args) -> None:
            send(f"{START}")
            await recv()
        """,
    )
    await messages(instance, 1)
    cluster.kill_inferlet(instance.instance_id)
    failed = (await all_events(instance))[-1]
    assert isinstance(failed, Failed)
    assert "call 1 (Send) has other arguments than before" in failed.error


async def test_a_program_that_cannot_be_replayed_is_lost_when_its_process_dies(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet(durable=False)
        async def main(args: Args) -> None:
            send("here")
            await recv()
        """,
    )
    await messages(instance, 1)
    cluster.kill_inferlet(instance.instance_id)
    assert await all_events(instance) == [Message(0, "here"), Lost(1)]


async def test_a_program_that_kills_its_process_each_time_is_given_up(cluster: SmallCluster) -> None:
    instance = await launched(cluster, ECHO)
    for _ in range(3):
        await instance.describe()
        cluster.kill_inferlet(instance.instance_id)
        await instance.describe()
    cluster.kill_inferlet(instance.instance_id)
    failed = (await all_events(instance))[-1]
    assert isinstance(failed, Failed)
    assert "died 4 times at the same point" in failed.error


async def test_its_contexts_are_freed_when_it_ends(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        kept = []
        @inferlet
        async def main(args: Args) -> None:
            context = get_auto_model().create_context()
            context.fill("abc")
            await context.generate(stop=max_len(3))
            kept.extend(context.fork() for _ in range(3))
            await asyncio.gather(*(fork.generate(stop=max_len(3)) for fork in kept))
        """,
    )
    assert isinstance((await all_events(instance))[-1], Completed)
    async with asyncio.timeout(30):
        while cluster.engines[0].contexts:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_fork_that_is_dropped_is_freed_while_the_program_runs(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            context = get_auto_model().create_context()
            context.fill("abc")
            await context.flush()
            for _ in range(10):
                await context.fork().generate(stop=max_len(2))
            send("now")
            await recv()
        """,
    )
    await messages(instance, 1)
    async with asyncio.timeout(30):
        while len(cluster.engines[0].contexts) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_behind_the_last_event_there_is_nothing_to_wait_for(cluster: SmallCluster) -> None:
    instance = await launched(cluster, ECHO)
    with pytest.raises(InvalidRequest, match="has no event 0 to go on after"):
        await instance.read(0, 10.0)
    await instance.send("exit")
    assert await all_events(instance) == [Completed(0, None)]
    assert await all_events(instance, after=0) == []
    with pytest.raises(EndOfEvents, match="event 0 was the last"):
        await instance.read(0, 10.0)
    with pytest.raises(InvalidRequest, match="has no event 1 to go on after"):
        await all_events(instance, after=1)
