"""Kill -9 of a thread's actor in the middle of a run, on a real Ray cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.actors.threads.caller import Caller, Event, Json, check, raw_of
from tests.cluster.deployed import Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

SOURCE = """
from typing import Annotated

from pydantic import Field

from api.agents import Agent, tool

Word = Annotated[str, Field(min_length=1, max_length=8)]


@tool
def note(word: Word) -> str:
    return write("note", word)


@tool(needs_approval=True)
async def order(word: Word) -> str:
    return write("order", word)


def write(name: str, word: str) -> str:
    with open({path!r}, "a") as file:
        print(name, word, file=file)
    return name + "ed " + word


clerk = Agent(name="clerk", system="You are a clerk.", tools=[note, order])
"""

BRIEF = """
from typing import Annotated

from pydantic import Field

from api.agents import Agent

brief = Agent(name="brief", output=Annotated[str, Field(min_length=1, max_length=8)])
"""


def test_a_run_goes_on_when_its_actor_is_killed_and_each_tool_has_run_once(deployed: Deployed, tmp_path: Path) -> None:
    written = tmp_path / "written.txt"

    async def scenario() -> None:
        async with httpx.AsyncClient(base_url=deployed.url, timeout=120) as http:
            caller = Caller(http)
            source = SOURCE.replace("{path!r}", repr(str(written)))
            await caller.ask("POST", "/api/agents", {"source": source}, 201)
            limits = {"max_tokens": 400}
            begun = await caller.begin("Hello!", agent="clerk", tool_choice=["note", "order", "none"], limits=limits)

            async def killed() -> None:
                await asyncio.to_thread(deployed.kill, "inferlet", begun["thread_id"])

            events: list[Event] = []
            has_spoken = False
            async for event in caller.stream(begun["stream_url"]):
                events.append(event)
                block = event.data.get("block", {})
                if event.name == "block.completed" and block["kind"] == "tool_result":
                    await killed()
                elif event.name == "block.created" and block["kind"] == "ask":
                    await killed()
                    await caller.answer(begun["run_id"], ask_id=block["id"], approve=True)
                elif event.name == "block.delta" and block_kind(events, event) == "message" and not has_spoken:
                    has_spoken = True
                    await killed()
            final = check(events, begun["run_id"])
            run = events[-1].data["run"]
            assert run["state"] == "succeeded" or run["error"]["code"] == "max_tokens"
            assert (run["usage"]["tool_calls"], has_spoken) == (2, True)
            calls, results = values_of(final, "tool_call"), values_of(final, "tool_result")
            assert results == {name: f"{name}ed {arguments['word']}" for name, arguments in calls.items()}
            assert sorted(results) == ["note", "order"]
            assert written.read_text() == f"note {calls['note']['word']}\norder {calls['order']['word']}\n"
            assert check(await caller.events(begun), begun["run_id"]) == final
            await caller.ask("DELETE", f"/api/threads/{begun['thread_id']}", status=204)

    asyncio.run(scenario())


def test_a_fork_is_as_warm_as_its_thread_and_survives_the_kill_of_its_actor(deployed: Deployed) -> None:
    async def scenario() -> None:
        async with httpx.AsyncClient(base_url=deployed.url, timeout=120) as http:
            caller = Caller(http)
            await caller.ask("POST", "/api/agents", {"source": BRIEF}, 201)
            options: Json = {"agent": "brief"}
            first = await caller.prompt("Hello!", **options)
            path = f"/api/threads/{first['thread_id']}/fork"
            said = await caller.blocks(first["thread_id"])
            fork_id = (await caller.ask("POST", path, {"after": said[-1]["id"]}, 201))["thread"]["id"]
            await asyncio.to_thread(deployed.kill, "inferlet", fork_id)
            assert [block["parts"] for block in await caller.blocks(fork_id)] == [block["parts"] for block in said]
            forked, more = [await caller.prompt("More!", one, **options) for one in (fork_id, first["thread_id"])]
            cached, expected = (one["run"]["usage"]["cached_tokens"] for one in (forked, more))
            usage = first["run"]["usage"]
            assert cached >= expected - 1 >= usage["prompt_tokens"] + usage["completion_tokens"] - 2
            for thread_id in (fork_id, first["thread_id"]):
                await caller.ask("DELETE", f"/api/threads/{thread_id}", status=204)

    asyncio.run(scenario())


def values_of(final: dict[str, Json], kind: str) -> dict[str, Any]:
    """What the blocks of a kind say, by the tools that they belong to."""
    return {block["name"]: raw_of(block["parts"][0]) for block in final.values() if block["kind"] == kind}


def block_kind(events: list[Event], delta: Event) -> str:
    """Of the block that a delta belongs to."""
    created = (event.data["block"] for event in events if event.name == "block.created")
    return next(str(block["kind"]) for block in created if block["id"] == delta.data["block_id"])
