"""A cluster's agents where there are none, for the routes."""

from __future__ import annotations

from typing_extensions import override

from api.errors import AgentNotFound, ThreadNotFound, Unsupported
from api.threads.contract import AgentInfo, Agents, ThreadHandle, ThreadInfo
from api.threads.runs import Run, RunState


class NoAgents(Agents):
    """Agents themselves need the real cluster, which is fast enough without Ray: see ``tests.actors.threads``."""

    @override
    async def upload(self, source: str, file: str, owner: str) -> tuple[AgentInfo, ...]:
        raise Unsupported("agents cannot be uploaded here")

    @override
    async def remove(self, agent: str, owner: str) -> None:
        raise AgentNotFound(agent)

    @override
    async def agents(self, owner: str) -> tuple[AgentInfo, ...]:
        return ()

    @override
    async def open(
        self,
        agent: str,
        name: str | None,
        owner: str,
        key: str | None = None,
        *,
        idle_timeout_s: float | None = None,
    ) -> ThreadHandle:
        raise AgentNotFound(agent)

    @override
    async def find(self, agent: str, name: str, owner: str) -> ThreadHandle:
        raise ThreadNotFound(name)

    @override
    async def thread(self, thread_id: str, owner: str) -> ThreadHandle:
        raise ThreadNotFound(thread_id)

    @override
    async def fork(
        self,
        thread_id: str,
        after: str | int,
        owner: str,
        key: str | None = None,
        *,
        idle_timeout_s: float | None = None,
    ) -> ThreadHandle:
        raise ThreadNotFound(thread_id)

    @override
    async def rewind(self, agent: str, name: str, after: int, owner: str) -> ThreadHandle:
        raise ThreadNotFound(name)

    @override
    async def hide(self, part: str, owner: str) -> None:
        raise Unsupported("nothing is here")

    @override
    async def unhide(self, part: str, owner: str) -> None:
        raise Unsupported("nothing is here")

    @override
    async def is_hidden(self, part: str, owner: str) -> bool:
        return False

    @override
    async def threads(self, owner: str) -> tuple[ThreadInfo, ...]:
        return ()

    @override
    async def runs(
        self, owner: str, state: RunState | None = None, before: tuple[float, str] | None = None, limit: int = 100
    ) -> tuple[Run, ...]:
        return ()
