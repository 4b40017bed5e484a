"""The uploaded agents of each owner: names, and the sources that they point to, one of each upload."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from actors.inferlets.program import AGENT, Source
from actors.inferlets.records import decode_source, encode_source
from actors.journal.contract import Journal
from api.errors import AgentNotFound, TooBusy
from api.threads.contract import AgentInfo

MAX_AGENTS = 256
"""Of one owner."""

TOO_MANY = f"an owner may have {MAX_AGENTS} uploaded agents: delete some first"

PUT_S = 600.0
"""An upload is over after so long, and its text is pointed to if it ever will be."""


@dataclass(frozen=True, slots=True)
class AgentSources:
    """A name's item is a ``Source`` without text, whose program is the name of the item that has the text.

    Each upload has a text of its own, so that what one replaces is nothing that another is uploading. Its name begins
    with the time, so that one which no name points to, since its upload was cut short or another one wrote the same
    names at once, is found and deleted later. Earlier releases named a text by its hash, and before that kept the whole
    source under each name.
    """

    journal: Journal

    async def put(self, names: Sequence[str], file: str, text: str, owner: str) -> None:
        """Keep a source under these names, and let go of what they alone pointed to.

        Raises:
            TooBusy: the owner would have too many agents.
        """
        known = set(await self.journal.list_items(_names(owner)))
        if (new := set(names) - known) and len(known) + len(new) > MAX_AGENTS:
            raise TooBusy(TOO_MANY)
        replaced = [await self._pointer(name, owner) for name in names if name in known]
        pointer = Source(_text_name(time.time()) + uuid.uuid4().hex, file)
        await self.journal.put_item(_texts(owner), pointer.program, encode_source(Source(pointer.program, file, text)))
        for name in names:
            await self.journal.put_item(_names(owner), name, encode_source(pointer))
        if new and len(await self.journal.list_items(_names(owner))) > MAX_AGENTS:  # with others that came at once
            for name in new:
                await self.journal.delete_item(_names(owner), name)
            await self._let_go([*replaced, pointer], owner)
            raise TooBusy(TOO_MANY)
        await self._let_go(replaced, owner)

    async def remove(self, name: str, owner: str) -> None:
        """Forget a name. Threads that have begun keep their source.

        Raises:
            AgentNotFound
        """
        pointer = await self._pointer(name, owner)
        if pointer is None:
            raise AgentNotFound(name)
        await self.journal.delete_item(_names(owner), name)
        await self._let_go([pointer], owner)

    async def infos(self, owner: str) -> list[AgentInfo]:
        """Names and files."""
        names = await self.journal.list_items(_names(owner))
        pointers = await asyncio.gather(*(self._pointer(name, owner) for name in names))
        return [AgentInfo(name, pointer.file) for name, pointer in zip(names, pointers, strict=True) if pointer]

    async def source(self, name: str, owner: str) -> Source:
        """What is kept under a name now.

        Raises:
            AgentNotFound
        """
        pointer: Source | None = None
        while True:
            before, pointer = pointer, await self._pointer(name, owner)
            if pointer is None or pointer == before:
                raise AgentNotFound(name)
            if pointer.text is not None:
                return pointer
            kept = await self.journal.get_item(_texts(owner), pointer.program)
            if kept is not None:  # else the name points to another source by now
                return Source(AGENT + name, pointer.file, decode_source(pointer.program, kept).text)

    async def _pointer(self, name: str, owner: str) -> Source | None:
        kept = await self.journal.get_item(_names(owner), name)
        return None if kept is None else decode_source(AGENT + name, kept)

    async def _let_go(self, pointers: Collection[Source | None], owner: str) -> None:
        """Delete the texts of these, and of uploads that are over, that no name points to any longer."""
        is_over = _text_name(time.time() - PUT_S)
        texts = {text for text in await self.journal.list_items(_texts(owner)) if text < is_over}
        if texts := texts | {pointer.program for pointer in pointers if pointer and pointer.text is None}:
            names = await self.journal.list_items(_names(owner))
            left = await asyncio.gather(*(self._pointer(name, owner) for name in names))
            for text in texts - {pointer.program for pointer in left if pointer}:
                await self.journal.delete_item(_texts(owner), text)


def _text_name(at: float) -> str:
    """What the names of texts that are uploaded then begin with; in the order of time."""
    return f"{int(at):010x}-"


def _names(owner: str) -> str:
    return f"agent/{owner}"


def _texts(owner: str) -> str:
    return f"agent-source/{owner}"
