"""The memory of an agent: keys of its owner's store."""

from __future__ import annotations

from typing import Any

from api.agents.agent import Agent
from api.errors import InvalidRequest
from api.inferlet.store import store_delete, store_get, store_list, store_put
from api.names import check_name

MAX_KEY_CHARS = 64


async def remembered(agent: Agent, operation: str, key: str, value: Any) -> Any:
    """What an operation comes to.

    Raises:
        InvalidRequest: the agent has no memory, or the key is not one.
        TooLarge: the value has more than 1 MiB.
    """
    if not agent.memory:
        raise InvalidRequest(f"agent {agent.name!r} has no memory")
    start = f"agent/{agent.name[: 256 - MAX_KEY_CHARS - 8]}/"
    if key or operation != "list":
        check_name("a key", key)
    if len(key) > MAX_KEY_CHARS:
        raise InvalidRequest(f"a key of an agent's memory has {MAX_KEY_CHARS} characters at most")
    match operation:
        case "get":
            return await store_get(start + key)
        case "put":
            return await store_put(start + key, value)
        case "delete":
            return await store_delete(start + key)
    return [name.removeprefix(start) for name in await store_list(start + key)]
