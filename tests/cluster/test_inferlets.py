"""Inferlets on a real Ray cluster, on the embedded model, as a client meets them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.client import Client
from api.client.instance import ClientInstance
from api.errors import InferletNotFound, InvalidRequest, ProgramNotFound
from api.inferlet_events import Completed, Event, Failed, Message, Stderr, Stdout, Terminated
from tests.actors.long_pocket import CACHE_TOKENS
from tests.cluster.deployed import Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "programs"
QUESTIONS = ("Hello! My name is Quillon.", "Please count from 1 to 9.", "What is my name?", "exit")
ALONE = sorted(
    file.stem
    for file in PROGRAMS.glob("[!_]*.py")
    if file.stem not in ("pair", "swarm", "chat", "counter") and not file.stem.startswith("test_")
)
MAIN = "@inferlet\nasync def main(args):\n    "
BAD = {
    "while True: pass\n": "did not yield for 2 s",
    "kept = []\n    while True: kept.append(b'x' * (1 << 24)); await asyncio.sleep(0)\n": "MiB of memory",
    "send(b'x' * (1 << 21))\n": "a message may have 1048576 bytes",
    "broadcast('x', 'a' * 257)\n": "a topic's name has 1 to 256 characters",
    "__import__('os')._exit(3)\n": "died 4 times at the same point",
    "1 / 0\n": "ZeroDivisionError",
    "return {1}\n": "text, bytes or a JSON value",
}
HEAD = "from api.inferlet import *\nimport asyncio, time\n"


def client(deployed: Deployed) -> Client:
    return Client(deployed.url, patience_s=90)


async def launched(client: Client, file: Path, *arguments: str) -> ClientInstance:
    return await client.launch_instance(await client.upload_program(file), arguments)


async def run(client: Client, folder: Path, source: str) -> list[Event]:
    """All events of a program of this source."""
    file = folder / "program.py"
    file.write_text(HEAD + source)
    instance = await launched(client, file)
    async with asyncio.timeout(60):
        return [event async for event, _ in instance]


async def chat(client: Client, kills: list[int], deployed: Deployed) -> list[Any]:
    """The chat program's messages; its process is killed when so many of them have been received."""
    instance = await launched(client, PROGRAMS / "chat.py")
    found: list[Any] = []
    async with asyncio.timeout(120):
        for question in QUESTIONS:
            found.append((await instance.recv())[1])
            if len(found) - 1 in kills:
                await asyncio.to_thread(deployed.kill, "inferlet", instance.instance_id)
            await instance.send(question)
        async for event, value in instance:
            found.append(value if isinstance(event, Message) else event)
    return found


def test_the_chat_of_the_tutorial_runs_and_ends(deployed: Deployed) -> None:
    async def scenario() -> list[Any]:
        async with client(deployed) as one:
            return await chat(one, [], deployed)

    found = asyncio.run(scenario())
    assert found[0] == "Hello, user! How can I help you today?"
    assert found[-2] == "Goodbye!"
    assert found[-1] == Completed(5, None)
    assert all(isinstance(answer, str) and answer for answer in found[1:4])


def test_bad_programs_get_a_clear_end_and_disturb_nobody(deployed: Deployed, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client(deployed) as one:
            bystander = await launched(one, PROGRAMS / "chat.py")
            await bystander.recv()
            for source, said in BAD.items():
                end = (await run(one, tmp_path, MAIN + source))[-1]
                assert isinstance(end, Failed), source
                assert said in end.error, (source, end.error)
            printed = await run(one, tmp_path, MAIN + "for _ in range(10_000): print('x' * 99_999)\n")
            assert sum(len(event.text) for event in printed if isinstance(event, Stdout)) == 1 << 20
            assert isinstance(printed[-2], Stderr)
            assert isinstance(printed[-1], Completed)
            bystander.send("exit")
            assert (await bystander.recv(timeout_s=60))[1] == "Goodbye!"

    asyncio.run(scenario())


def test_what_does_not_exist_gets_a_clear_error(deployed: Deployed, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with client(deployed) as one:
            file = tmp_path / "program.py"
            file.write_text("@inferlet\nasync def main(args):\n    return (\n")
            with pytest.raises(InvalidRequest, match="line 3"):
                await one.upload_program(file)
            with pytest.raises(ProgramNotFound):
                await one.launch_instance("0" * 64)
            with pytest.raises(InferletNotFound):
                await one.terminate_instance("nothing")
            with pytest.raises(InferletNotFound):
                await one.attach_instance("nothing")

    asyncio.run(scenario())


def test_a_terminated_inferlet_is_over_and_its_messages_stay(deployed: Deployed) -> None:
    async def scenario() -> None:
        async with client(deployed) as one:
            instance = await launched(one, PROGRAMS / "chat.py")
            await instance.recv()
            assert (await instance.terminate()).state == "terminated"
            assert isinstance((await instance.recv(timeout_s=30))[0], Terminated)
            again = await one.attach_instance(instance.instance_id)
            assert [type(event) async for event, _ in again] == [Message, Terminated]

    asyncio.run(scenario())


def test_an_idle_inferlet_gives_its_process_back_and_goes_on_with_the_next_message(deployed: Deployed) -> None:
    async def scenario() -> None:
        async with client(deployed) as one:
            instance = await launched(one, PROGRAMS / "chat.py")
            assert (await instance.recv())[1] == "Hello, user! How can I help you today?"
            await instance.detach()
            async with asyncio.timeout(60):
                while await state(one, instance.instance_id) != "waiting":  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            assert await asyncio.to_thread(deployed.pids, "inferlet", instance.instance_id) == []
            again = await one.attach_instance(instance.instance_id, after=0)
            again.send("exit")
            assert (await again.recv(timeout_s=60))[1] == "Goodbye!"

    asyncio.run(scenario())


def test_a_sink_and_a_window_write_four_thousand_tokens_where_a_tenth_has_room(several: Deployed) -> None:
    async def scenario() -> Event:
        async with client(several) as one, asyncio.timeout(120):
            instance = await launched(one, PROGRAMS / "sink.py", "--model", "long", "--tokens", "4000")
            return [event async for event, _ in instance][-1]

    end = asyncio.run(scenario())
    assert isinstance(end, Completed), end
    assert isinstance(end.value, dict)
    assert len(end.value["ids"]) > 4000 > 10 * CACHE_TOKENS


def test_eight_generations_together_take_clearly_less_than_eight_times_one(deployed: Deployed, tmp_path: Path) -> None:
    source = """
@inferlet
async def main(args):
    context = get_auto_model().create_context()
    context.fill_user("Please count from 1 to 9.")
    await context.flush()
    await context.fork().generate(stop=max_len(4))
    ratios = []
    for _ in range(3):
        one = time.monotonic()
        await context.fork().generate(stop=max_len(100))
        eight = time.monotonic()
        await asyncio.gather(*(context.fork().generate(stop=max_len(100)) for _ in range(8)))
        ratios.append((time.monotonic() - eight) / (eight - one))
    return min(ratios)
"""

    async def scenario() -> Any:
        async with client(deployed) as one:
            return (await run(one, tmp_path, source))[-1]

    end = asyncio.run(scenario())
    assert isinstance(end, Completed), end
    assert isinstance(end.value, float)
    print(f"\neight together took {end.value:.1f} times as long as one")  # noqa: T201
    assert end.value < 6


@pytest.mark.parametrize("name", ALONE)
def test_every_program_that_needs_no_topic_runs_to_its_end(deployed: Deployed, name: str) -> None:
    async def scenario() -> Event:
        async with client(deployed) as one:
            instance = await launched(one, PROGRAMS / f"{name}.py")
            if name == "parent":
                await instance.send(await one.upload_program(PROGRAMS / "completion.py"))
            if name == "retention":
                await instance.send("Hello!")
                await instance.send("exit")
            async with asyncio.timeout(120):
                return [event async for event, _ in instance][-1]

    end = asyncio.run(scenario())
    assert isinstance(end, Completed), end


def test_the_command_launches_lists_and_kills(deployed: Deployed) -> None:
    def greenroom(*arguments: str, typed: str = "") -> str:
        command = [sys.executable, "-m", "deployments.cli", arguments[0], "--url", deployed.url, *arguments[1:]]
        done = subprocess.run(
            command, input=typed, capture_output=True, text=True, timeout=120, cwd=PROGRAMS.parents[1]
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    chat = str(PROGRAMS / "chat.py")
    assert greenroom("launch", chat, typed="exit\n") == "Hello, user! How can I help you today?\nGoodbye!\n"
    told = greenroom("launch", str(PROGRAMS / "completion.py"), "--", "--prompt", "Hello", "--tokens", "3")
    assert told.strip()
    instance_id = greenroom("launch", "--detach", "--name", "mine", chat).strip()
    assert instance_id in greenroom("ps")
    assert "is terminated" in greenroom("kill", instance_id[:8])
    assert "terminated" in greenroom("ps").split(instance_id)[1].splitlines()[0]


@pytest.mark.parametrize("first", [0, 1])
def test_two_hear_each_other_whoever_comes_first(deployed: Deployed, first: int) -> None:
    async def scenario() -> list[list[Event]]:
        async with client(deployed) as one, asyncio.timeout(120):
            ranks = (str(first), str(1 - first))
            pair = [await launched(one, PROGRAMS / "pair.py", "-r", rank) for rank in ranks]
            return [[event async for event, _ in instance] for instance in pair]

    both = asyncio.run(scenario())
    assert all(isinstance(events[-1], Completed) for events in both), both
    assert "Hello from Inferlet A!" in "".join(event.text for event in both[1 - first] if isinstance(event, Stdout))


def test_the_four_roles_of_the_swarm_work_together(deployed: Deployed) -> None:
    async def scenario() -> list[Event]:
        async with client(deployed) as one, asyncio.timeout(120):
            roles = ("writer", "people", "plot", "idea")
            swarm = [await launched(one, PROGRAMS / "swarm.py", "--role", role) for role in roles]
            return [[event async for event, _ in instance][-1] for instance in swarm]

    ends = asyncio.run(scenario())
    assert all(isinstance(end, Completed) for end in ends), ends


async def state(one: Client, instance_id: str) -> str:
    return next(known.state for known in await one.list_instances() if known.id == instance_id)


CLEAN = """@inferlet
async def main(args):
    import os
    found = [os.getpid(), os.environ.get("LEFT"), os.getcwd(), hasattr(__builtins__, "left")]
    os.environ["LEFT"] = "x"
    os.chdir("/")
    await asyncio.to_thread(print, "in a thread")
    context = get_auto_model().create_context()
    context.fill("Hello")
    await context.generate(stop=max_len(2))
    return found
"""
DIRTY = """@inferlet
async def main(args):
    import os, textwrap
    textwrap.dedent = None
    return [os.getpid()]
"""


def test_a_process_is_used_again_as_it_was_and_not_at_all_where_a_program_has_changed_it(
    deployed: Deployed, tmp_path: Path
) -> None:
    async def result(one: Client, source: str) -> Any:
        end = (await run(one, tmp_path, source))[-1]
        assert isinstance(end, Completed), end
        return end.value

    async def scenario() -> None:
        async with client(deployed) as one:
            found = [await result(one, CLEAN) for _ in range(12)]
            pids = [pid for pid, *_ in found]
            assert len(set(pids)) < len(pids), "processes are used again"
            assert {tuple(others) for _, *others in found} == {(None, found[0][2], False)}
            spoilt = [(await result(one, DIRTY))[0] for _ in range(3)]
            later = [(await result(one, CLEAN))[0] for _ in range(8)]
            assert len(set(spoilt)) == 3
            assert not set(spoilt) & set(later)

    asyncio.run(scenario())
