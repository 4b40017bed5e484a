"""How far a response of an agent has come."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Literal

from api.http.agents.taken import asks_of
from api.http.openai.agents.begun import calls_of_caller
from api.http.openai.agents.response_ids import AgentResponse
from api.threads.blocks import Block, number_of, top_of
from api.threads.contract import StreamQuery, ThreadHandle
from api.threads.runs import Run

ResponseState = Literal["queued", "in_progress", "waiting", "over"]


async def state_of(thread: ThreadHandle, response: AgentResponse) -> ResponseState:
    """The state.

    It is over with its last run, or since a run of it waited for calls of the caller's alone, or for such a one that is
    answered, be it that the run has gone on. It is waiting while a run of it waits for a person.
    """
    runs = [await thread.run(run_id) for run_id in response.runs]
    asks = [ask for run in runs for ask in await asks_of(thread, run.id)]
    last = response.num_asked or 0
    closed = [ask for ask in calls_of_caller(asks) if ask.state != "open" and number_of(ask.id) > last]
    if runs[-1].is_over or await _waited(thread, closed):
        return "over"
    if any(run.state == "waiting" for run in runs):
        left = [ask for ask in asks if ask.state == "open"]
        return "over" if left and calls_of_caller(left) == left else "waiting"
    return "queued" if runs[0].state == "queued" else "in_progress"


async def _waited(thread: ThreadHandle, closed: Sequence[Block]) -> bool:
    """Whether a run waited for one of these asks: others were closed while it worked."""
    left = {ask.id for ask in closed}
    if not left:
        return False
    runs = {top_of(ask.run_id) for ask in closed}
    query = StreamQuery(kinds=frozenset(("ask",)), has_deltas=False, has_children=True)
    events: Any = thread.stream(str(min(ask.seq for ask in closed)), query)
    async with aclosing(events):
        async for event in events:
            match event.data:
                case {"run": Run(state="waiting", id=run_id)} if run_id in runs:
                    return True
                case {"block": Block(id=block_id)} if event.name == "block.completed":
                    left.discard(block_id)
            if not left:
                break
    return False
