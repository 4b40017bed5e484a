"""Far more launches at once than processes are ready, in the configuration that ``greenroom up`` has by default."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from api.client import Client
from tests.cluster.command import an_operator

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

NUM_RUNNING, NUM_LAUNCHES = 9, 30
PATIENCE_S = 600.0
"""Two cores take minutes to start so many processes."""
PROGRAM = """
from api.inferlet import Args, get_auto_model, inferlet, max_len, recv, send

@inferlet
async def main(args: Args) -> None:
    name = args.argv[0]
    send(name)
    while name == "runs":
        context = get_auto_model().create_context()
        context.fill("Count. ")
        await context.generate(stop=max_len(20))
    send(await recv())
"""


async def test_each_of_thirty_launches_beside_nine_programs_is_held_by_who_asked_for_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    with an_operator() as operator:
        assert (await asyncio.to_thread(operator.up)).code == 0
        async with Client(operator.url, patience_s=PATIENCE_S) as client:
            program = await client.upload_program(tmp_path / "program.py")
            running = [await client.launch_instance(program, ["runs"]) for _ in range(NUM_RUNNING)]
            for one in running:
                assert (await one.recv())[1] == "runs"
            names = [f"launch {number}" for number in range(NUM_LAUNCHES)]
            launched = await asyncio.gather(*(client.launch_instance(program, [name]) for name in names))
            answers = await asyncio.gather(*(one.recv() for one in launched))
            assert [answer for _, answer in answers] == names
            assert len(await client.list_instances()) == NUM_RUNNING + NUM_LAUNCHES
