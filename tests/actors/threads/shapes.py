"""Agents that are functions, for tests: each runs the script that its prompt names first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from api.agents import Agent, Prompt, agent, call, client_tool, emit
from api.agents.tools import AnyTool
from tests.actors.threads.agents import TOOLS, add, denied, doubtful, expert, handoffs, pause, safe, strict
from tests.actors.threads.caller import Caller, Json, check

Script = Callable[[Prompt], Awaitable[None]]
SCRIPTS: dict[str, Script] = {}


def script(function: Script) -> Script:
    """Have agents run it when it is named."""
    SCRIPTS[function.__name__] = function
    return function


in_circle: list[Agent] = []
TOOLS_OF_ALL: list[AnyTool | Agent] = [
    *TOOLS,
    denied,
    doubtful,
    strict,
    expert,
    client_tool("pick", {"type": "object"}),
]


@agent(tools=TOOLS_OF_ALL, handoffs=handoffs, max_actions=None, memory=True)
async def worker(prompt: Prompt) -> None:
    """Works by a script."""
    await SCRIPTS[prompt.text.split()[0]](prompt)


@agent(
    name="bounded",
    tools=TOOLS_OF_ALL,
    handoffs=in_circle,
    max_actions=2,
    max_tokens=20,
    statuses={"own"},
    if_busy="steer",
)
async def limited(prompt: Prompt) -> None:
    """The same, within limits."""
    await SCRIPTS[prompt.text.split()[0]](prompt)


in_circle.append(limited)


@agent(tools=TOOLS_OF_ALL, timeout_s=0.2, statuses=False)
async def hasty(prompt: Prompt) -> None:
    """The same, in little time."""
    await SCRIPTS[prompt.text.split()[0]](prompt)


@agent(tools=[*safe.tools, worker])
async def careful(prompt: Prompt) -> None:
    """The same, with tools that may be run again."""
    await SCRIPTS[prompt.text.split()[0]](prompt)


lead = Agent(name="lead", system="Lead.", tools=[worker], handoffs=[worker])


@script
async def call_together(prompt: Prompt) -> None:
    """Calls at once, of which the first ends last."""
    found = await asyncio.gather(call(pause), call(add, a=1, b=1), call(add, a=2, b=2))
    await emit("message", str(found))


@script
async def tell_history(prompt: Prompt) -> None:
    """What was said before."""
    await emit("message", " | ".join(f"{one.role}: {one.content}" for one in prompt.history))


NAMES = {"worker": "worker", "bounded": "limited", "hasty": "hasty", "careful": "careful", "lead": "lead"}
"""Those agents in a cluster, by name."""


async def all_of(caller: Caller, begun: Json, num_children: int = 0) -> tuple[Json, list[Json]]:
    """The run, and its blocks in their order, which must be what each stream is."""
    events = await caller.events(begun)
    final = check(events, begun["run_id"])
    return events[-1].data["run"], sorted(final.values(), key=lambda block: int(block["seq"]))


async def worked(caller: Caller, text: str, agent: str = "worker") -> tuple[Json, list[Json]]:
    return await all_of(caller, await caller.begin(text, agent=agent))


def of_kind(blocks: Sequence[Json], kind: str) -> list[Json]:
    return [block for block in blocks if block["kind"] == kind]
