"""What a program's tasks do comes in the same order again, where asyncio keeps them in sets too."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.inferlets.task_order import NumberingLoop
from api.inferlet_events import Completed
from tests.actors.inferlets.programs import all_events, launched, messages
from tests.actors.small_cluster import SmallCluster

NUM_TASKS = 12

ONE = """
async def one(n):
    send(n)
    await asyncio.sleep(0.005)
    return n
"""
PROGRAMS = {
    "as_completed": """
    for task in asyncio.as_completed([one(n) for n in range(12)]):
        await task
    """,
    "wait": """
    done, _ = await asyncio.wait([asyncio.ensure_future(later(n)) for n in range(12)])
    for task in done:
        send(task.result())
    """,
    "futures": """
    futures = [asyncio.get_running_loop().create_future() for _ in range(12)]
    number = {future: n for n, future in enumerate(futures)}
    for future in futures:
        future.set_result(None)
    done, _ = await asyncio.wait(futures)
    for future in done:
        send(number[future])
    """,
    "task group": """
    async def waits(n):
        try:
            await asyncio.Event().wait()
        finally:
            send(n)
    async def fails():
        await asyncio.sleep(0.01)
        raise ValueError
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(12):
                group.create_task(waits(n))
            group.create_task(fails())
    except* ValueError:
        pass
    """,
    "all_tasks": """
    tasks = [asyncio.create_task(one(n)) for n in range(12)]
    await asyncio.gather(*tasks)
    tasks = [asyncio.create_task(later(n), name=str(n)) for n in range(12)]
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        send(task.get_name())
    await asyncio.gather(*tasks)
    """,
}
BODY = """
async def later(n):
    await asyncio.sleep(0.01)
    return n

@inferlet
async def main(args: Args) -> str:
    {body}
    return await recv()
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, pool_size=0) as cluster:
        yield cluster


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_program_goes_on_after_its_process_has_died(cluster: SmallCluster, program: str) -> None:
    body = PROGRAMS[program].strip()
    instance = await launched(cluster, ONE + BODY.format(body=body))
    num_sent = 2 * NUM_TASKS if program == "all_tasks" else NUM_TASKS
    first = await messages(instance, num_sent)
    for _ in range(3):
        cluster.kill_inferlet(instance.instance_id)
        kept = [object() for _ in range(1000)]  # other addresses than before
        assert await messages(instance, num_sent) == first
        del kept
    await instance.send("after")
    assert (await all_events(instance, num_sent - 1))[-1] == Completed(num_sent, "after")


async def test_tasks_are_named_by_their_order_in_the_program(cluster: SmallCluster) -> None:
    source = """
    @inferlet
    async def main(args: Args) -> list:
        return [asyncio.create_task(asyncio.sleep(0)).get_name() for _ in range(2)]
    """
    ends = [(await all_events(await launched(cluster, source)))[-1] for _ in range(2)]
    assert ends[0] == ends[1]


def test_two_processes_have_one_order() -> None:
    """Other than in one process, nothing that one of them has allocated is where it was."""
    script = Path(__file__).with_name("task_order_script.py")
    seen = []
    for number in ("1", "20000"):
        run = subprocess.run([sys.executable, script, number], capture_output=True, text=True, check=True, timeout=60)
        seen.append(json.loads(run.stdout))
    assert seen[0] == seen[1]
    assert sorted(seen[0]["as_completed"]) == list(range(100))


def test_an_eager_task_is_numbered_too() -> None:
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("Python 3.11 has no eager tasks")

    async def main() -> list[int]:
        asyncio.get_running_loop().set_task_factory(factory)
        tasks = [asyncio.create_task(asyncio.sleep(0.001, n)) for n in range(50)]
        return [task.result() for task in (await asyncio.wait(tasks))[0]]

    with asyncio.Runner(loop_factory=NumberingLoop) as runner:
        assert runner.run(main()) == list(range(50))
