"""Agents by their names, and the threads of each owner with them."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, replace
from functools import partial

from typing_extensions import override

from actors.directory.messages import InferletSeed
from actors.directory.ref import DirectoryRef
from actors.inferlets.agent_sources import AgentSources
from actors.inferlets.launcher import MAX_SOURCE_BYTES
from actors.inferlets.program import AGENT, Source, agent_names
from actors.inferlets.run_index import run_of
from actors.inferlets.thread_names import ThreadName, ThreadNames
from actors.inferlets.thread_ref import ThreadRef
from actors.journal.contract import Journal
from actors.journal.keys import INFERLET, journal_key
from actors.pool.ref import Location
from api.errors import InferletNotFound, InvalidRequest, NameTaken, ThreadDeleted, ThreadNotFound, TooBusy, TooLarge
from api.threads.contract import AgentInfo, Agents, ThreadInfo
from api.threads.runs import Run, RunState

_ID = re.compile("[0-9a-f]{32}")
MAX_NAMES = 64
"""Of the agents in one file."""


@dataclass(frozen=True, slots=True)
class ThreadAgents(Agents):
    """Whatever cluster has this directory and this journal."""

    directory: DirectoryRef
    journal: Journal
    timeout_s: float = 60.0

    @override
    async def upload(self, source: str, file: str, owner: str = "") -> tuple[AgentInfo, ...]:
        if len(source.encode()) > MAX_SOURCE_BYTES:
            raise TooLarge(f"a source may have {MAX_SOURCE_BYTES} bytes")
        names = agent_names(source, file)
        if len(names) > MAX_NAMES:
            raise InvalidRequest(f"{file} has {len(names)} agents; a file may have {MAX_NAMES}")
        taken = [name for name in names if name in await self._configured()]
        if taken:
            raise NameTaken(f"agent {taken[0]!r} is one of the configuration's")
        await self._uploaded.put(names, file, source, owner)
        return tuple(AgentInfo(name, file) for name in names)

    @override
    async def agents(self, owner: str = "") -> tuple[AgentInfo, ...]:
        configured = await self._configured()
        uploaded = [info for info in await self._uploaded.infos(owner) if info.name not in configured]
        return (*(AgentInfo(name, path) for name, path in configured.items()), *uploaded)

    @override
    async def remove(self, agent: str, owner: str = "") -> None:
        if agent in await self._configured():
            raise NameTaken(f"agent {agent!r} is one of the configuration's")
        await self._uploaded.remove(agent, owner)

    @override
    async def open(
        self,
        agent: str,
        name: str | None,
        owner: str = "",
        key: str | None = None,
        *,
        idle_timeout_s: float | None = None,
    ) -> ThreadRef:
        asked = ThreadName(owner, agent, name, key)
        thread = await self._opened(asked, idle_timeout_s)
        if key is not None:
            thread.release_key = partial(self._names.release_key, asked)
        return thread

    @override
    async def find(self, agent: str, name: str, owner: str = "") -> ThreadRef:
        if found := await self._of_id(agent, name, owner):
            return found
        _, thread = await self._named(ThreadName(owner, agent, name, None))
        if thread is None:
            raise ThreadNotFound(name)
        return thread

    @override
    async def thread(self, thread_id: str, owner: str = "") -> ThreadRef:
        info = await self.journal.info(journal_key(INFERLET, thread_id))
        if info is not None and not info.model.startswith(AGENT):
            raise ThreadNotFound(thread_id)
        return await self._located(thread_id, owner)

    @override
    async def fork(
        self,
        thread_id: str,
        after: str | int,
        owner: str = "",
        key: str | None = None,
        *,
        idle_timeout_s: float | None = None,
    ) -> ThreadRef:
        source = await self.thread(thread_id, owner)
        seq = 0 if after == 0 else await source.closed_block(after)
        asked = ThreadName(owner, f"fork of {thread_id}", None, key)
        fork_id, found = await self._named(asked)
        await self._claim(replace(asked, name=str(seq)), fork_id)
        if found:
            return found
        agent = (await source.describe()).agent
        origin = thread_id, seq
        seed = InferletSeed(fork_id, owner, AGENT + agent, None, "", (), fork_id, None, origin, idle_timeout_s)
        return await self._launched(asked, seed)

    @override
    async def rewind(self, agent: str, name: str, after: int, owner: str = "") -> ThreadRef:
        if await self._of_id(agent, name, owner):
            raise InvalidRequest("a thread that is named by its id cannot be rewound: fork it")
        asked = ThreadName(owner, agent, name, None)
        thread_id, thread = await self._named(asked)
        if thread is None:
            raise ThreadNotFound(name)
        seq = 0 if after == 0 else await thread.closed_block(after)
        generation, _ = await self._names.current(asked)
        fork_id = uuid.uuid4().hex
        seed = InferletSeed(fork_id, owner, AGENT + agent, None, "", (), name, origin=(thread_id, seq))
        fork = await self._launched(asked, seed)
        await self._names.give_to_fork(asked, generation, fork_id)
        if await self._names.is_deleted(thread_id, owner):  # meanwhile, and with it what the fork has
            await fork.delete()
            raise ThreadDeleted(thread_id)
        return fork

    @override
    async def hide(self, part: str, owner: str = "") -> None:
        await self._names.hide(part, owner)

    @override
    async def unhide(self, part: str, owner: str = "") -> None:
        await self._names.unhide(part, owner)

    @override
    async def is_hidden(self, part: str, owner: str = "") -> bool:
        return await self._names.is_hidden(part, owner)

    @override
    async def threads(self, owner: str = "") -> tuple[ThreadInfo, ...]:
        return tuple(
            ThreadInfo(one.instance_id, one.program.removeprefix(AGENT), one.name, one.created_at, one.last_used_at)
            for one in await self.directory.inferlets(owner)
            if one.program.startswith(AGENT)
        )

    @override
    async def runs(
        self, owner: str = "", state: RunState | None = None, before: tuple[float, str] | None = None, limit: int = 100
    ) -> tuple[Run, ...]:
        return tuple(map(run_of, await self.journal.entries(owner, state, before, limit)))

    async def _opened(self, asked: ThreadName, idle_timeout_s: float | None) -> ThreadRef:
        owner, agent, name = asked.owner, asked.agent, asked.name
        if name is not None and (found := await self._of_id(agent, name, owner)):
            await self._claim(asked, name)
            return found
        thread_id, thread = await self._named(asked)
        source = None if thread else await self._source(agent, owner)
        await self._claim(asked, thread_id)
        if thread:
            return thread
        assert source is not None, "it is read where there is no thread"
        context_id = name or thread_id
        program = AGENT + agent, source.text, source.file
        seed = InferletSeed(thread_id, owner, *program, (context_id,), context_id, idle_timeout_s=idle_timeout_s)
        return await self._launched(asked, seed)

    async def _launched(self, asked: ThreadName, seed: InferletSeed) -> ThreadRef:
        """A new thread; where it is refused, its key is free again."""
        try:
            return self._ref(await self.directory.launch(seed), asked.owner)
        except TooBusy:
            if asked.key is not None:
                await self._names.release_key(asked)
            raise
        except InferletNotFound:
            assert seed.origin, "what it begins with is gone"
            raise ThreadNotFound(seed.origin[0]) from None

    async def _named(self, asked: ThreadName) -> tuple[str, ThreadRef | None]:
        """The id of the thread that is asked for, and the thread where there is one."""
        if asked.name is None and asked.key is None:
            return uuid.uuid4().hex, None
        known, thread_id = await self._names.current(asked)
        generation = known
        while True:
            try:
                return thread_id, await self._located(thread_id, asked.owner)
            except ThreadDeleted:
                generation += 1
                thread_id = asked.thread_id(generation)
            except ThreadNotFound:
                break
        if generation > known:
            await self._names.begin_generation(asked, known, generation)
        return thread_id, None

    async def _claim(self, asked: ThreadName, thread_id: str) -> None:
        if asked.key is not None:
            await self._names.claim_key(asked, thread_id)

    async def _located(self, thread_id: str, owner: str) -> ThreadRef:
        try:
            location = await self.directory.locate_inferlet(thread_id, owner=owner)
        except InferletNotFound:
            gone = ThreadDeleted if await self._names.is_deleted(thread_id, owner) else ThreadNotFound
            raise gone(thread_id) from None
        return self._ref(location, owner)

    def _ref(self, location: Location, owner: str) -> ThreadRef:
        return ThreadRef(location, self.directory, self.timeout_s, partial(self._names.delete, location.id, owner))

    async def _of_id(self, agent: str, thread_id: str, owner: str) -> ThreadRef | None:
        if not _ID.fullmatch(thread_id):
            return None
        try:
            found = await self.thread(thread_id, owner)
        except ThreadNotFound:
            return None
        return found if (await found.describe()).agent == agent else None

    @property
    def _names(self) -> ThreadNames:
        return ThreadNames(self.journal)

    @property
    def _uploaded(self) -> AgentSources:
        return AgentSources(self.journal)

    async def _configured(self) -> dict[str, str]:
        return dict((await self.directory.settings()).agents)

    async def _source(self, agent: str, owner: str) -> Source:
        configured = await self._configured()
        if agent in configured:
            return Source(AGENT + agent, configured[agent])
        return await self._uploaded.source(agent, owner)
