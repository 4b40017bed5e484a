"""Inferlets as a Python caller in the cluster sees them, and as one inferlet sees the others of its owner."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass

from typing_extensions import override

from actors.directory.messages import InferletSeed
from actors.directory.ref import DirectoryRef
from actors.inferlets.ports import Family
from actors.inferlets.program import AGENT, Source, check, program_hash
from actors.inferlets.records import decode_source, encode_source
from actors.inferlets.ref import InferletRef
from actors.journal.contract import Journal
from actors.journal.keys import INFERLET, journal_key, parse_journal_key
from api import inferlets
from api.errors import ProgramNotFound, TooLarge
from api.inferlet_events import Event, Message
from api.inferlets import InferletSummary, ProgramInfo
from api.names import check_name
from api.values import Value

MAX_SOURCE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Inferlets(inferlets.Inferlets):
    """Launches and finds inferlets."""

    directory: DirectoryRef
    journal: Journal
    timeout_s: float

    @override
    async def upload_program(self, source: str, file: str, owner: str = "") -> str:
        if len(source.encode()) > MAX_SOURCE_BYTES:
            raise TooLarge(f"a program may have {MAX_SOURCE_BYTES} bytes")
        check(source, file)
        name = program_hash(source)
        await self.journal.put_item(_space(owner), name, encode_source(Source(name, file, source)))
        return name

    @override
    async def programs(self, owner: str = "") -> tuple[ProgramInfo, ...]:
        listed = (await self.directory.settings()).inferlets.programs
        found = [ProgramInfo(name, name.partition(":")[0]) for name in listed]
        for name in await self.journal.list_items(_space(owner)):
            found.append(ProgramInfo(name, (await self._source(name, owner)).file))
        return tuple(found)

    @override
    async def launch(
        self,
        program: str,
        arguments: tuple[str, ...] = (),
        owner: str = "",
        name: str | None = None,
        request_id: str | None = None,
    ) -> InferletRef:
        asked = None if request_id is None else (owner, request_id, program, arguments, name)
        return await self._launch(_instance_id(asked), program, arguments, owner, name, None)

    @override
    async def inferlet(self, instance_id: str, owner: str = "") -> InferletRef:
        location = await self.directory.locate_inferlet(instance_id, owner=owner)
        return InferletRef(location, self.directory, self.timeout_s)

    @override
    async def inferlets(self, owner: str = "") -> tuple[InferletSummary, ...]:
        found = await self.directory.inferlets(owner)
        return tuple(summary for summary in found if not summary.program.startswith(AGENT))

    async def recorded_ids(self) -> tuple[str, ...]:
        """The ids of all inferlets that have a history, of all owners."""
        keys = [parse_journal_key(stream.key) for stream in await self.journal.streams()]
        return tuple(instance_id for kind, instance_id in keys if kind == INFERLET)

    async def recorded(self, instance_id: str) -> tuple[bytes, ...]:
        """An inferlet's records, as ``actors.inferlets.records`` decodes them; it goes on undisturbed.

        Raises:
            NotFound: there is none of this id.
        """
        return await self.journal.records(journal_key(INFERLET, instance_id))

    async def _launch(
        self,
        instance_id: str,
        program: str,
        arguments: tuple[str, ...],
        owner: str,
        name: str | None,
        parent: str | None,
    ) -> InferletRef:
        if name is not None:
            check_name("the name of an inferlet", name)
        source = await self._source(program, owner)
        seed = InferletSeed(
            instance_id, owner, program, source.text, source.file, arguments, name or _short(source), parent
        )
        return InferletRef(await self.directory.launch(seed), self.directory, self.timeout_s)

    async def _source(self, program: str, owner: str) -> Source:
        if ":" in program:
            if program not in (await self.directory.settings()).inferlets.programs:
                raise ProgramNotFound(program)
            return Source(program, program)
        kept = await self.journal.get_item(_space(owner), program)
        if kept is None:
            raise ProgramNotFound(program)
        return decode_source(program, kept)


@dataclass(frozen=True, slots=True)
class InferletFamily(Inferlets, Family):
    """The same, for the programs themselves."""

    @override
    async def launch_child(
        self, child_id: str, program: str, arguments: tuple[str, ...], owner: str, name: str | None, parent: str
    ) -> None:
        await self._launch(child_id, program, arguments, owner, name, parent)

    @override
    async def next_event(self, child_id: str, owner: str, after: int, timeout_s: float | None) -> Event | None:
        child = await self.inferlet(child_id, owner)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = InferletRef.WAIT_S if deadline is None else max(0.0, deadline - time.monotonic())
            events = await child.read(after, min(left_s, InferletRef.WAIT_S))
            for event in events:
                if isinstance(event, Message) or event.is_end:
                    return event
                after = event.position
            if deadline is not None and time.monotonic() >= deadline:
                return None

    @override
    async def deliver(self, child_id: str, owner: str, key: str, value: Value) -> None:
        await (await self.inferlet(child_id, owner)).send(value, key)

    @override
    async def terminate(self, child_id: str, owner: str) -> None:
        await (await self.inferlet(child_id, owner)).terminate()


def _instance_id(asked: tuple[object, ...] | None) -> str:
    """A new one; of a request that has an id, always the same, which no other owner's request has."""
    return uuid.uuid4().hex if asked is None else hashlib.sha256(repr(asked).encode(errors="replace")).hexdigest()[:32]


def _space(owner: str) -> str:
    return f"program/{owner}"


def _short(source: Source) -> str:
    return source.file.removesuffix(".py").rpartition(":")[2]
