"""The caller's side of the directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from actors.calls.interface import Interface
from actors.calls.ray import RestartedActor
from actors.directory.messages import Demand, InferletSeed, SessionSeed
from actors.models.messages import LoadedAdapters, StartReport
from actors.models.ref import ModelRef, ModelReport, Placement
from actors.pool.ref import Location
from actors.settings import ClusterSettings, ModelSettings
from api.cluster import AdapterInfo, ModelInfo, SessionOptions, SessionSummary
from api.inferlets import InferletSummary


class DirectoryRef(Protocol):
    """A reference to the directory. It is restarted by Ray when it dies; calls wait for that.

    Every call raises ``Unavailable`` when it is not back within ``timeout_s``. All calls may be repeated.
    """

    async def configure(self, settings: ClusterSettings) -> None:
        """Take new settings: models, their order, limits; sessions and inferlets that run get theirs soon.

        The journal stays.

        Raises:
            InvalidRequest: the number of the broker's shards is another.
        """
        ...

    async def settings(self) -> ClusterSettings:
        """The settings that it was given last."""
        ...

    async def report(self, report: ModelReport) -> LoadedAdapters | None:
        """Take note of a model actor; the adapters that it is to have, where it has missed a change."""
        ...

    async def report_start(self, report: StartReport) -> None:
        """Take note of a model actor that starts; it says so again until it has started."""
        ...

    async def settings_of(self, model: ModelRef) -> ModelSettings | None:
        """The settings that a model actor ran with when it last reported; None where it never has."""
        ...

    async def starts(self) -> tuple[StartReport, ...]:
        """The model actors that start now."""
        ...

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models, the default one first."""
        ...

    async def reports(self) -> tuple[ModelReport, ...]:
        """The model actors that report."""
        ...

    async def loaded_adapters(self, model: str) -> LoadedAdapters:
        """The adapters that actors of a model are to have beside those of their settings."""
        ...

    async def adapters(self, model: str | None) -> tuple[AdapterInfo, ...]:
        """See ``Cluster.adapters``."""
        ...

    async def load_adapter(self, model: str | None, name: str, path: str) -> None:
        """See ``Cluster.load_adapter``."""
        ...

    async def unload_adapter(self, model: str | None, name: str) -> bool:
        """See ``Cluster.unload_adapter``."""
        ...

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
            Unavailable: no model actor could be had in time, or one cannot start.
            TooBusy: too many wait for the model.
        """
        ...

    async def demand(self, model: str, is_there: bool, wait_s: float) -> Demand:
        """Whether an actor of a model should be there, once that is other than it is, or after ``wait_s``.

        Where a model may leave memory (``ModelSettings.passivate_after_s``), one should be there while requests wait
        for it, and while any actor of the model has been used not long ago: all of them go, or none.
        """
        ...

    async def start_failed(self, model: str, reason: str) -> None:
        """An actor of a model cannot be started: those who wait for one are told why."""
        ...

    async def open(self, session_id: str, owner: str, options: SessionOptions) -> Location:
        """A new session on an actor of the pool. The same id again is the same session.

        Raises:
            ModelNotFound, Unavailable
            TooBusy: as many as are allowed are open.
        """
        ...

    async def adopt(self, seed: SessionSeed) -> Location:
        """A session from a seed with a past (a fork)."""
        ...

    async def locate(self, session_id: str, dead: str | None = None, owner: str | None = None) -> Location:
        """Where a session is, activated where it is passive; ``dead`` names the assignment that was found dead.

        Raises:
            SessionNotFound: there is none, or it is another owner's (None: whosever it is).
        """
        ...

    async def active(self, session_id: str, wait_s: float) -> Location | None:
        """Where a session is, once it is active; None where it is still passive after ``wait_s``.

        Raises:
            SessionNotFound: there is none.
        """
        ...

    async def launch(self, seed: InferletSeed) -> Location:
        """A new inferlet on an actor of the pool. The same id again is the same inferlet.

        Raises:
            TooBusy: as many as are allowed are there.
        """
        ...

    async def locate_inferlet(self, instance_id: str, dead: str | None = None, owner: str | None = None) -> Location:
        """Where an inferlet is; as ``locate``.

        Raises:
            InferletNotFound: there is none.
        """
        ...

    async def inferlet_ended(self, instance_id: str, how: str) -> None:
        """An inferlet has ended; what is left of its contexts is freed."""
        ...

    async def inferlets(self, owner: str | None) -> tuple[InferletSummary, ...]:
        """The inferlets of an owner (None: of all), the latest used first."""
        ...

    async def released(self, kind: str, tenant_id: str, slot: str, wakes_at: float | None = None) -> None:
        """An actor gives its process back (passivation), at the latest until a time in seconds since the epoch."""
        ...

    async def forget(self, kind: str, tenant_id: str) -> None:
        """A session is closed, or an inferlet deleted."""
        ...

    async def close(self, session_id: str) -> None:
        """Close a session for good, wherever it is. Idempotent."""
        ...

    async def close_inferlet(self, instance_id: str) -> None:
        """Delete an inferlet, wherever it is. Idempotent."""
        ...

    async def sessions(self, owner: str | None) -> tuple[SessionSummary, ...]:
        """The sessions of an owner (None: of all), the latest used first."""
        ...

    async def give(self, session_id: str, owner: str) -> None:
        """Make a session another owner's. Idempotent.

        Raises:
            SessionNotFound: there is none.
            InUse: it is at work.
        """
        ...

    async def purge(self) -> int:
        """Close every session; how many there were."""
        ...


DIRECTORY_CALLS = Interface(DirectoryRef)


def directory_ref(actor: Any, timeout_s: float = 60.0) -> DirectoryRef:
    """The directory of this actor."""
    return DIRECTORY_CALLS.ref(RestartedActor("directory", actor, timeout_s))
