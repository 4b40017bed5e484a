"""An agent's response that is stored: found, and read from its thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from api.errors import BlockNotFound, RunNotFound, ThreadDeleted, ThreadNotFound
from api.http.agents.shown import frames_of
from api.http.agents.taken import asks_of
from api.http.openai.agents.response_ids import AgentResponse
from api.http.openai.agents.response_kept import Kept, items_of, kept_of
from api.http.openai.agents.response_shown import ResponseShown
from api.http.openai.responses.errors import ResponseNotFound
from api.http.openai.responses.items import Item
from api.threads.contract import Agents, ThreadHandle


async def found(agents: Agents, owner: str, response: AgentResponse) -> tuple[ThreadHandle, Kept]:
    """The thread of one of this owner's that is stored and not deleted, and what is kept there.

    Raises:
        ResponseNotFound
    """
    thread, kept = await there(agents, owner, response)
    if await agents.is_hidden(str(response), owner):
        raise ResponseNotFound(str(response))
    return thread, kept


async def there(agents: Agents, owner: str, response: AgentResponse) -> tuple[ThreadHandle, Kept]:
    """The same, of one that might be deleted."""
    try:
        thread = await agents.thread(response.thread_id, owner)
        kept = await kept_of(thread, response)
    except (ThreadNotFound, ThreadDeleted, RunNotFound, BlockNotFound):
        raise ResponseNotFound(str(response)) from None
    if kept is None or not kept.is_stored:
        raise ResponseNotFound(str(response))
    return thread, kept


async def input_of(thread: ThreadHandle, response: AgentResponse, kept: Kept) -> list[Item]:
    """The items of its input.

    Raises:
        ResponseNotFound: it is gone by now.
    """
    try:
        return await items_of(thread, response, kept)
    except (ThreadDeleted, ThreadNotFound, BlockNotFound):
        raise ResponseNotFound(str(response)) from None


async def shown_of(
    thread: ThreadHandle, response: AgentResponse, fields: Mapping[str, Any], after: int = -1
) -> ResponseShown:
    """What its thread is read into."""
    asks = [ask for run_id in response.runs for ask in await asks_of(thread, run_id)]
    return ResponseShown(response, fields, asks, after)


async def read(thread: ThreadHandle, shown: ResponseShown) -> None:
    """To its end, as it comes."""
    async with aclosing(frames_of(thread, shown)) as frames:
        async for _ in frames:
            pass


async def items_in(agents: Agents, owner: str, response: AgentResponse) -> AsyncGenerator[Item]:
    """The items of its input; then those of its output, once it is over.

    Raises:
        ResponseNotFound
        Unavailable
    """
    thread, kept = await found(agents, owner, response)
    for item in await input_of(thread, response, kept):
        yield item
    shown = await shown_of(thread, response, kept.fields)
    await read(thread, shown)
    if shown.error and shown.error.retryable:
        raise shown.error
    for item in shown.view()["output"]:
        yield item
