"""The ids of threads, from what they are asked for by, and what is kept of those that were deleted."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass

from actors.journal.contract import Journal
from actors.journal.keys import PROMPT_KEY, journal_key
from api.errors import IdempotencyConflict

KEY_KEPT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class ThreadName:
    """What a thread is asked for by. Without a name it is the one of the idempotency key, which there is then."""

    owner: str
    agent: str
    name: str | None
    key: str | None

    def thread_id(self, generation: int) -> str:
        """A function of the name, so that all who ask for it first make one; another after each deletion."""
        return _hashed(f"{self._text}{generation}")

    @property
    def item(self) -> str:
        """The name of the journal's item that has the generation, and the id of a fork after a space."""
        return _hashed(self._text)

    @property
    def _text(self) -> str:
        return json.dumps([self.owner, self.agent, self.name, self.key if self.name is None else None])


@dataclass(frozen=True, slots=True)
class ThreadNames:
    """What the journal keeps of names and ids."""

    journal: Journal

    async def current(self, name: ThreadName) -> tuple[int, str]:
        """How often its thread was deleted, as far as ``begin_generation`` was told, and the id of the one after that:
        a function of both, or that of a fork which has the name since."""
        kept = await self.journal.get_item(_generations(name.owner), name.item) or b"0"
        generation, _, fork_id = kept.decode().partition(" ")
        return int(generation), fork_id or name.thread_id(int(generation))

    async def give_to_fork(self, name: ThreadName, generation: int, fork_id: str) -> None:
        """The name is that of this thread until it is deleted."""
        await self.journal.put_item(_generations(name.owner), name.item, f"{generation} {fork_id}".encode())

    async def begin_generation(self, name: ThreadName, before: int, now: int) -> None:
        """Threads of the name have this generation from now on; of those deleted the last one is told as gone."""
        await self.journal.put_item(_generations(name.owner), name.item, str(now).encode())
        for generation in range(max(0, before - 1), now - 1):
            await self.journal.delete_item(_deleted(name.owner), name.thread_id(generation))

    async def delete(self, thread_id: str, owner: str) -> None:
        """This thread is gone."""
        await self.journal.put_item(_deleted(owner), thread_id, b"")

    async def is_deleted(self, thread_id: str, owner: str) -> bool:
        """Whether it is."""
        return await self.journal.get_item(_deleted(owner), thread_id) is not None

    async def hide(self, part: str, owner: str) -> None:
        """See ``Agents.hide``."""
        await self.journal.put_item(_hidden(owner), part, b"")

    async def unhide(self, part: str, owner: str) -> None:
        """See ``Agents.unhide``."""
        await self.journal.delete_item(_hidden(owner), part)

    async def is_hidden(self, part: str, owner: str) -> bool:
        """Whether it is."""
        return await self.journal.get_item(_hidden(owner), part) is not None

    async def claim_key(self, name: ThreadName, thread_id: str) -> None:
        """Use the key for the thread of this name; the same key is for no other while it is kept, and that is there.

        Raises:
            IdempotencyConflict: it was used for another.
        """
        stream = _stream_of_key(name)
        asked_for = json.dumps(name.name)
        while True:
            expires_at = time.time() + KEY_KEPT_S
            info = (await self.journal.create(stream, PROMPT_KEY, asked_for, (), expires_at, thread_id)).info
            if info.model == asked_for:
                return
            if not await self.is_deleted(info.title, name.owner):
                raise IdempotencyConflict(f"the key {name.key!r:.200} was used for another thread")
            await self.journal.delete(stream)

    async def release_key(self, name: ThreadName) -> None:
        """The key was used for nothing: what it came with was refused."""
        await self.journal.delete(_stream_of_key(name))


def _stream_of_key(name: ThreadName) -> str:
    return journal_key(PROMPT_KEY, _hashed(json.dumps([name.owner, name.agent, name.key])))


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def _generations(owner: str) -> str:
    return f"thread-generation/{owner}"


def _hidden(owner: str) -> str:
    return f"hidden-in-threads/{owner}"


def _deleted(owner: str) -> str:
    return f"deleted-thread/{owner}"
