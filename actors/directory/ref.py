"""The caller's side of the directory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from actors.calls.ray import ActorGone, call
from actors.directory.messages import InferletSeed, SessionSeed
from actors.models.messages import StartReport
from actors.models.ref import ModelReport, Placement
from actors.pool.ref import Location
from actors.settings import ClusterSettings
from api.cluster import ModelInfo, SessionOptions, SessionSummary
from api.errors import Unavailable
from api.inferlets import InferletSummary


class DirectoryRef:
    """A reference to the directory. It is restarted by Ray when it dies; calls wait for that.

    Every call raises ``Unavailable`` when it is not back within ``timeout_s``. All calls may be repeated.
    """

    RETRY_S = 0.1

    def __init__(self, actor: Any, timeout_s: float = 60.0) -> None:
        self._actor = actor
        self._timeout_s = timeout_s

    async def configure(self, settings: ClusterSettings) -> None:
        """Take new settings: models, their order, limits."""
        await self._ask("configure", settings)

    async def settings(self) -> ClusterSettings:
        """The settings that it was given last."""
        return await self._ask("settings")  # type: ignore[no-any-return]

    async def report(self, report: ModelReport) -> None:
        """Take note of a model actor."""
        await self._ask("report", report)

    async def report_start(self, report: StartReport) -> None:
        """Take note of a model actor that starts; it says so again until it has started."""
        await self._ask("report_start", report)

    async def starts(self) -> tuple[StartReport, ...]:
        """The model actors that start now."""
        return await self._ask("starts")  # type: ignore[no-any-return]

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models, the default one first."""
        return await self._ask("models")  # type: ignore[no-any-return]

    async def reports(self) -> tuple[ModelReport, ...]:
        """The model actors that report."""
        return await self._ask("reports")  # type: ignore[no-any-return]

    async def place(
        self, model: str | None, key: str, lost: str | None = None, marks: Sequence[bytes] = ()
    ) -> Placement:
        """The model actor for a context: where it was, or the least loaded one, once there is one.

        Args:
            model: name or alias; None for the default one.
            key: the context.
            lost: the incarnation that could not be reached, which is then left out.
            marks: of the prompt, where contexts that begin in the same way help; see ``actors.contexts.marks``.

        Raises:
            ModelNotFound: no such name or alias.
            Unavailable: no model actor could be had in time.
        """
        return await self._ask("place", model, key, lost, marks)  # type: ignore[no-any-return]

    async def open(self, session_id: str, owner: str, options: SessionOptions) -> Location:
        """A new session on an actor of the pool. The same id again is the same session.

        Raises:
            ModelNotFound, Unavailable
            TooBusy: as many as are allowed are open.
        """
        return await self._ask("open", session_id, owner, options)  # type: ignore[no-any-return]

    async def adopt(self, seed: SessionSeed) -> Location:
        """A session from a seed with a past (a fork)."""
        return await self._ask("adopt", seed)  # type: ignore[no-any-return]

    async def locate(self, session_id: str, dead: str | None = None, owner: str | None = None) -> Location:
        """Where a session lives, activated where it is not; ``dead`` names the assignment that was found dead.

        Raises:
            SessionNotFound: there is none, or it is another owner's (None: whosever it is).
        """
        return await self._ask("locate", session_id, dead, owner)  # type: ignore[no-any-return]

    async def active(self, session_id: str, wait_s: float) -> Location | None:
        """Where a session lives, once it is active; None where it is still passive after ``wait_s``.

        Raises:
            SessionNotFound: there is none.
        """
        return await self._ask("active", session_id, wait_s)  # type: ignore[no-any-return]

    async def launch(self, seed: InferletSeed) -> Location:
        """A new inferlet on an actor of the pool. The same id again is the same inferlet.

        Raises:
            TooBusy: as many as are allowed are there.
        """
        return await self._ask("launch", seed)  # type: ignore[no-any-return]

    async def locate_inferlet(self, instance_id: str, dead: str | None = None, owner: str | None = None) -> Location:
        """Where an inferlet lives; as ``locate``.

        Raises:
            InferletNotFound: there is none.
        """
        return await self._ask("locate_inferlet", instance_id, dead, owner)  # type: ignore[no-any-return]

    async def inferlet_ended(self, instance_id: str, how: str) -> None:
        """An inferlet has ended; what is left of its contexts is freed."""
        await self._ask("inferlet_ended", instance_id, how)

    async def inferlets(self, owner: str | None) -> tuple[InferletSummary, ...]:
        """The inferlets of an owner (None: of all), the latest used first."""
        return await self._ask("inferlets", owner)  # type: ignore[no-any-return]

    async def released(self, kind: str, tenant_id: str, slot: str) -> None:
        """An actor gives its process back (passivation)."""
        await self._ask("released", kind, tenant_id, slot)

    async def forget(self, kind: str, tenant_id: str) -> None:
        """A session is closed, or an inferlet deleted."""
        await self._ask("forget", kind, tenant_id)

    async def close(self, session_id: str) -> None:
        """Close a session for good, wherever it is. Idempotent."""
        await self._ask("close", session_id)

    async def sessions(self, owner: str | None) -> tuple[SessionSummary, ...]:
        """The sessions of an owner (None: of all), the latest used first."""
        return await self._ask("sessions", owner)  # type: ignore[no-any-return]

    async def give(self, session_id: str, owner: str) -> None:
        """Make a session another owner's. Idempotent.

        Raises:
            SessionNotFound: there is none.
            InUse: it is at work.
        """
        await self._ask("give", session_id, owner)

    async def purge(self) -> int:
        """Close every session; how many there were."""
        return await self._ask("purge")  # type: ignore[no-any-return]

    async def _ask(self, method: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return await call(self._actor, method, *arguments)
            except ActorGone as error:
                if time.monotonic() >= deadline:
                    raise Unavailable(f"the directory cannot be reached: {type(error).__name__}") from None
            await asyncio.sleep(self.RETRY_S)
