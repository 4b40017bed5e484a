"""Agents by their names, and the threads of each owner with them."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from typing_extensions import override

from actors.directory.messages import InferletSeed
from actors.directory.ref import DirectoryRef
from actors.inferlets.launcher import MAX_SOURCE_BYTES
from actors.inferlets.program import AGENT, Source, agent_names
from actors.inferlets.records import decode_source, encode_source
from actors.inferlets.thread_ref import ThreadRef
from actors.journal.contract import Journal
from actors.pool.ref import Location
from api.errors import AgentNotFound, InferletNotFound, NameTaken, ThreadDeleted, ThreadNotFound, TooLarge
from api.threads.contract import AgentInfo, Agents, ThreadInfo

_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class ThreadAgents(Agents):
    """A thread's id is a function of its owner, its agent and its name, so that all who ask for it first make one."""

    directory: DirectoryRef
    journal: Journal
    timeout_s: float = 60.0

    @override
    async def upload(self, source: str, file: str, owner: str = "") -> tuple[AgentInfo, ...]:
        if len(source.encode()) > MAX_SOURCE_BYTES:
            raise TooLarge(f"a source may have {MAX_SOURCE_BYTES} bytes")
        names = agent_names(source, file)
        taken = [name for name in names if name in await self._configured()]
        if taken:
            raise NameTaken(f"agent {taken[0]!r} is one of the configuration's")
        for name in names:
            await self.journal.put_item(_sources(owner), name, encode_source(Source(AGENT + name, file, source)))
        return tuple(AgentInfo(name, file) for name in names)

    @override
    async def agents(self, owner: str = "") -> tuple[AgentInfo, ...]:
        configured = await self._configured()
        found = [AgentInfo(name, path) for name, path in configured.items()]
        for name in await self.journal.list_items(_sources(owner)):
            if name not in configured:
                found.append(AgentInfo(name, (await self._source(name, owner)).file))
        return tuple(found)

    @override
    async def open(self, agent: str, name: str | None, owner: str = "", key: str | None = None) -> ThreadRef:
        if name is not None and _ID.fullmatch(name):
            with suppress(ThreadNotFound):
                found = await self.thread(name, owner)
                if (await found.describe()).agent == agent:
                    return found
        thread_id = await self._thread_id(agent, name, owner, key)
        try:
            return await self.thread(thread_id, owner)
        except ThreadNotFound:
            source = await self._source(agent, owner)
        context_id = name or thread_id
        seed = InferletSeed(thread_id, owner, AGENT + agent, source.text, source.file, (context_id,), context_id)
        return self._ref(await self.directory.launch(seed), owner)

    @override
    async def thread(self, thread_id: str, owner: str = "") -> ThreadRef:
        try:
            location = await self.directory.locate_inferlet(thread_id, owner=owner)
        except InferletNotFound:
            if await self.journal.get_item(_deleted(owner), thread_id) is not None:
                raise ThreadDeleted(thread_id) from None
            raise ThreadNotFound(thread_id) from None
        return self._ref(location, owner)

    @override
    async def threads(self, owner: str = "") -> tuple[ThreadInfo, ...]:
        return tuple(
            ThreadInfo(one.instance_id, one.program.removeprefix(AGENT), one.name, one.created_at, one.last_used_at)
            for one in await self.directory.inferlets(owner)
            if one.program.startswith(AGENT)
        )

    def _ref(self, location: Location, owner: str) -> ThreadRef:
        return ThreadRef(location, self.directory, self.timeout_s, partial(self._forget, location.id, owner))

    async def _forget(self, thread_id: str, owner: str) -> None:
        await self.journal.put_item(_deleted(owner), thread_id, b"")

    async def _thread_id(self, agent: str, name: str | None, owner: str, key: str | None) -> str:
        if name is None and key is None:
            return uuid.uuid4().hex
        about = json.dumps([owner, agent, name, key if name is None else None])
        number = 0
        while await self.journal.get_item(_deleted(owner), found := _hashed(f"{about}{number}")) is not None:
            number += 1
        return found

    async def _configured(self) -> dict[str, str]:
        return dict((await self.directory.settings()).agents)

    async def _source(self, agent: str, owner: str) -> Source:
        configured = await self._configured()
        if agent in configured:
            return Source(AGENT + agent, configured[agent])
        kept = await self.journal.get_item(_sources(owner), agent)
        if kept is None:
            raise AgentNotFound(agent)
        return decode_source(AGENT + agent, kept)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def _sources(owner: str) -> str:
    return f"agent/{owner}"


def _deleted(owner: str) -> str:
    return f"deleted-thread/{owner}"
