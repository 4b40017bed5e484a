"""Inferlets, as the routes and the Python caller see them: programs, instances, and the calls to both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from api.inferlet_events import Event
from api.values import Value

State = Literal["running", "waiting", "completed", "failed", "terminated", "lost"]


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """A program that can be launched: its hash or ``module:function``, and the file that it was uploaded as."""

    program: str
    file: str


@dataclass(frozen=True, slots=True)
class InferletSummary:
    """An inferlet in a list; times are seconds since the epoch.

    Attributes:
        name: the launcher's choice.
        state: "waiting" has given its process back until something comes for it.
    """

    instance_id: str
    owner: str
    name: str
    program: str
    state: State
    created_at: float
    last_used_at: float


@dataclass(frozen=True, slots=True)
class InferletDescription:
    """One inferlet. ``end_position`` is the position that its next event will get."""

    summary: InferletSummary
    arguments: tuple[str, ...]
    parent: str | None
    end_position: int

    @property
    def is_over(self) -> bool:
        """Its last event is there."""
        return self.summary.state not in ("running", "waiting")


class InferletHandle(Protocol):
    """The caller's side of one inferlet. All calls raise ``InferletNotFound`` once it is gone."""

    instance_id: str

    async def send(self, value: Value, key: str | None = None) -> int:
        """A message for its ``recv``; its position. Durable on return. The same key again is the same message.

        Raises:
            InferletEnded: it has ended.
            TooBusy: too many wait to be received.
        """
        ...

    def events(self, after: int = -1) -> AsyncIterator[Event]:
        """Its events after a position, without gap or repeat, over crashes; the last is its end, and none follow it.

        Raises:
            InvalidRequest: it has no event at that position.
        """
        ...

    async def describe(self) -> InferletDescription:
        """What it is, and how it does."""
        ...

    async def terminate(self) -> bool:
        """End it; False where it had ended. Its events stay readable."""
        ...


class Inferlets(Protocol):
    """The inferlets of the cluster. ``owner`` is the name of the API key, or "" without keys."""

    async def upload_program(self, source: str, file: str, owner: str) -> str:
        """Keep a program; the SHA-256 of its source, under which it can be launched.

        Raises:
            InvalidRequest: it is not Python, or has no ``@inferlet``.
            TooLarge: it has more than 1 MiB.
        """
        ...

    async def programs(self, owner: str) -> tuple[ProgramInfo, ...]:
        """What this owner can launch."""
        ...

    async def launch(
        self,
        program: str,
        arguments: tuple[str, ...],
        owner: str,
        name: str | None = None,
        request_id: str | None = None,
    ) -> InferletHandle:
        """Start a program. The same call with the same ``request_id`` again is the inferlet that it started before.

        Raises:
            ProgramNotFound: there is no such program.
            TooBusy: there are as many inferlets as are allowed.
        """
        ...

    async def inferlet(self, instance_id: str, owner: str) -> InferletHandle:
        """The inferlet of this id.

        Raises:
            InferletNotFound: not there, or somebody else's.
        """
        ...

    async def inferlets(self, owner: str) -> tuple[InferletSummary, ...]:
        """This owner's inferlets, the latest used first."""
        ...
