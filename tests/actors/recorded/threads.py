"""Write the journal of this release's threads: ``python -m tests.actors.recorded.threads FOLDER``.

The folder gets ``journal.db`` as a killed cluster leaves it, and ``expected.json``: for each thread its id, one of its
runs, and how its runs end and what the engine reads after ``go_on``.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.settings import InferletSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import Caller, calling
from tests.actors.threads.scripted import ScriptedEngine, ScriptedTokenizer

FILE = "journal.db"
SOURCE = """
from api.agents import Agent, tool

@tool
def add(a: int, b: int) -> int:
    return a + b

@tool(needs_approval=True)
def pay(amount: int) -> str:
    return f"paid {amount}"

recorded = Agent(name="recorded", system="Help.", tools=[add, pay])
"""
ADD, PAY = 'call add {"a": 1, "b": 2}', 'call pay {"amount": 20}'
LONG = "say " + "long " * 20


@dataclass
class Engine(ScriptedEngine):
    """Has room for the runs here, with answers, and for no long prompt."""

    max_context: int = 3000
    step_s: float = 0.002


@asynccontextmanager
async def threads_on(folder: Path) -> AsyncIterator[tuple[SmallCluster, Caller]]:
    """A cluster on the journal of a folder, in which nothing expires."""
    inferlets = InferletSettings(
        pool_size=0, memory_limit_bytes=1 << 40, idle_timeout_s=None, keep_ended_s=1e9, passivate_after_s=60.0
    )
    features = frozenset(("constraint",))
    options: dict[str, Any] = {"inferlets": inferlets, "features": features, "pool_size": 0}
    small = SmallCluster(folder, engine=Engine, tokenizer=ScriptedTokenizer, recovery_timeout_s=60.0, **options)
    async with small as cluster, calling(cluster) as caller:
        yield cluster, caller


async def begin_all(caller: Caller) -> dict[str, tuple[str, str]]:
    """The id of each thread, and of its run that goes on or is its last, by name."""
    await caller.ask("POST", "/api/agents", {"source": SOURCE, "file": "recorded.py"}, 201)
    found = {}
    for name, num_runs in (("ended", 2), ("checkpointed", 9), ("waiting", 2), ("speaking", 0), ("failed", 2)):
        thread_id = (await caller.prompt("say one", agent="recorded"))["thread_id"]
        for number in range(num_runs):
            await caller.prompt(f"say {number}" if number % 2 else ADD, thread_id, agent="recorded")
        cut = await caller.prompt("say cut", thread_id, agent="recorded", limits={"max_tokens": 1})
        run_id = cut["run"]["id"]
        if name == "waiting":
            run_id = (await caller.prompt(PAY, thread_id, agent="recorded"))["run"]["id"]
            await caller.begin("say queued", thread_id, agent="recorded", limits={"max_tokens": 3})
            await caller.ask("POST", f"/api/runs/{run_id}/steer", {"prompt": "say steered"}, 202)
        elif name == "failed":
            await caller.prompt("say " + "x" * 3000, thread_id, agent="recorded")
            await caller.prompt("say more", thread_id, agent="recorded")
        elif name == "speaking":
            begun = await caller.begin(LONG, thread_id, agent="recorded")
            run_id = begun["run_id"]
            async for event in caller.stream(begun["stream_url"]):
                if event.name == "block.delta" and len(event.data["text"]) + event.data["offset"] > 20:
                    break
        found[name] = thread_id, run_id
    return found


async def go_on(cluster: SmallCluster, caller: Caller, thread_id: str, run_id: str) -> Any:
    """What the engine reads of one more prompt, after the runs that go on have ended."""
    run = await caller.wait(run_id)
    if run["state"] == "waiting":
        [ask] = await caller.blocks(thread_id, "kinds=ask")
        await caller.answer(run_id, ask_id=ask["id"], approve=True)
        run = await caller.wait(run_id)
    answer = await caller.prompt("say last", thread_id, agent="recorded")
    engine = cluster.engines[0]
    assert isinstance(engine, Engine)
    states = {run["id"]: [run["state"], run["reason"]], answer["run"]["id"]: [answer["run"]["state"], None]}
    return {"states": states, "read": [list(message) for message in engine.read[-1]]}


async def record(folder: Path) -> None:
    """Write the two files into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        async with threads_on(Path(scratch)) as (_, caller):
            begun = await begin_all(caller)
            with sqlite3.connect(Path(scratch) / FILE) as source, sqlite3.connect(folder / FILE) as target:
                source.backup(target)
        with tempfile.TemporaryDirectory() as copy:
            shutil.copy(folder / FILE, copy)
            async with threads_on(Path(copy)) as (cluster, caller):
                expected = {name: [*ids, await go_on(cluster, caller, *ids)] for name, ids in begun.items()}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    asyncio.run(record(target))
