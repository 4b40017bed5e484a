"""Inferlets in memory: what they do is what the test says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from uuid import uuid4

from api.errors import GreenroomError, InferletEnded, InferletNotFound, InvalidRequest, ProgramNotFound, TooLarge
from api.inferlet_events import Event, Terminated
from api.inferlets import InferletDescription, InferletSummary, ProgramInfo, State
from api.names import check_name
from api.values import Value


class FakeInferlet:
    """An inferlet whose events are ``add``ed by the test; ``received`` is what it was sent, by key.

    The next messages get the ``refusals``.
    """

    def __init__(self, program: str, arguments: tuple[str, ...], owner: str, name: str) -> None:
        self.instance_id = uuid4().hex
        self.program, self.arguments, self.owner, self.name = program, arguments, owner, name
        self.received: dict[str, Value] = {}
        self.log: list[Event] = []
        self.refusals: list[GreenroomError] = []
        self._grown = asyncio.Event()

    def add(self, *events: Event) -> None:
        """These happen."""
        self.log += events
        self._grown.set()
        self._grown = asyncio.Event()

    async def send(self, value: Value, key: str | None = None) -> int:
        """Take note."""
        if key in self.received:
            return list(self.received).index(key)
        if self.log and self.log[-1].is_end:
            raise InferletEnded("it has ended")
        if self.refusals:
            raise self.refusals.pop(0)
        self.received[key or uuid4().hex] = value
        return len(self.received) - 1

    async def events(self, after: int = -1) -> AsyncGenerator[Event]:
        """As added."""
        position = after + 1
        if self.log and self.log[-1].is_end and position == len(self.log):
            return
        if position > len(self.log):
            raise InvalidRequest(f"there is no event {after}")
        while True:
            grown = self._grown
            for event in self.log[position:]:
                position += 1
                yield event
                if event.is_end:
                    return
            await grown.wait()

    async def describe(self) -> InferletDescription:
        """Running, or terminated."""
        return InferletDescription(self.summary, self.arguments, None, len(self.log))

    async def terminate(self) -> bool:
        """Add that."""
        if self.log and self.log[-1].is_end:
            return False
        self.add(Terminated(len(self.log)))
        return True

    @property
    def summary(self) -> InferletSummary:
        """In a list."""
        is_over = bool(self.log) and self.log[-1].is_end
        state: State = "terminated" if is_over else "running"
        return InferletSummary(self.instance_id, self.owner, self.name, self.program, state, 0.0, 0.0)


class FakeInferlets:
    """Programs and inferlets by their ids."""

    def __init__(self) -> None:
        self.uploaded: dict[tuple[str, str], str] = {}
        self.launched: dict[str, FakeInferlet] = {}
        self.by_request: dict[tuple[object, ...], FakeInferlet] = {}
        self.requests: list[str | None] = []
        self.obstacles: list[Callable[[], Awaitable[object]]] = []

    async def upload_program(self, source: str, file: str, owner: str) -> str:
        """Keep its file's name. What names no inferlet is no program; nobody runs it."""
        if "inferlet" not in source:
            raise InvalidRequest(f"{file} has no function under @inferlet")
        if len(source.encode()) > 1 << 20:
            raise TooLarge("a program may have 1 MiB")
        name = hashlib.sha256(source.encode()).hexdigest()
        self.uploaded[owner, name] = file
        return name

    async def programs(self, owner: str) -> tuple[ProgramInfo, ...]:
        """As uploaded."""
        return tuple(ProgramInfo(name, file) for (whose, name), file in self.uploaded.items() if whose == owner)

    async def launch(
        self,
        program: str,
        arguments: tuple[str, ...],
        owner: str,
        name: str | None = None,
        request_id: str | None = None,
    ) -> FakeInferlet:
        """A new one that does nothing by itself, or the one of this request; the next call meets an ``obstacle``."""
        if name is not None:
            check_name("the name of an inferlet", name)
        if (owner, program) not in self.uploaded:
            raise ProgramNotFound(program)
        self.requests.append(request_id)
        asked = (owner, request_id, program, arguments, name)
        if known := self.by_request.get(asked):
            return known
        inferlet = FakeInferlet(program, arguments, owner, name or self.uploaded[owner, program].removesuffix(".py"))
        self.launched[inferlet.instance_id] = inferlet
        if request_id is not None:
            self.by_request[asked] = inferlet
        if self.obstacles:
            await self.obstacles.pop(0)()
        return inferlet

    async def inferlet(self, instance_id: str, owner: str) -> FakeInferlet:
        """One of those launched."""
        inferlet = self.launched.get(instance_id)
        if inferlet is None or inferlet.owner != owner:
            raise InferletNotFound(instance_id)
        return inferlet

    async def inferlets(self, owner: str) -> tuple[InferletSummary, ...]:
        """The latest first."""
        return tuple(one.summary for one in reversed(self.launched.values()) if one.owner == owner)
