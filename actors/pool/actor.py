"""A pooled actor: started early, assigned a session or an inferlet, and released."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from actors.calls.interface import Interface
from actors.calls.scope import Scope
from api.errors import GreenroomError, Moved
from api.logs import event_logger, start_logging

log = event_logger("greenroom.slot")


class Tenant(Protocol):
    """The occupant of an actor: a ``Session`` or an ``Instance``.

    Attributes:
        is_spent: the process must exit after this occupant.
        scope: its tasks.
    """

    id: str
    owner: str
    is_spent: bool
    scope: Scope

    def configure(self, settings: Any) -> None:
        """Take other settings of its kind, for what it does from now on."""
        ...

    async def close(self) -> None:
        """End it for good."""
        ...

    async def stop(self) -> None:
        """Leave it to the next activation."""
        ...

    @property
    def is_fenced(self) -> bool:
        """Another actor has it."""
        ...

    @property
    def is_expired(self) -> bool:
        """It has not been used for as long as it may be."""
        ...

    @property
    def wakes_at(self) -> float | None:
        """When it is to be activated if nothing happens before, in seconds since the epoch."""
        ...

    def idle_s(self) -> float:
        """Seconds since it was used; 0 while it works."""
        ...

    @property
    def leaves_in_s(self) -> float:
        """When it gives this actor back, if nothing happens until then; seconds."""
        ...


class SlotDirectory(Protocol):
    """What an actor needs of the directory."""

    async def released(self, kind: str, tenant_id: str, slot: str, wakes_at: float | None = None) -> None:
        """The tenant is not on this actor any longer; see ``Tenant.wakes_at``."""
        ...

    async def forget(self, kind: str, tenant_id: str) -> None:
        """The tenant is no more."""
        ...


class Slot:
    """Holds no tenant or one. Its life: waits in the pool, is assigned, is released, waits again.

    A call names its tenant, so that an old handle never reaches the next one. ``open`` makes one from ``parts``, with
    the settings that count now, its id, and its seed (None: the journal has it); ``calls`` is its interface.
    """

    CHECK_INTERVAL_S = 5.0
    MIN_IDLE_S = 0.2

    def __init__(
        self,
        kind: str,
        name: str,
        parts: Any,
        open: Callable[[Any, str, Any], Awaitable[Tenant]],
        calls: Interface[Any],
        directory: SlotDirectory,
        die: Callable[[], object],
    ) -> None:
        self.tenant: Tenant | None = None
        self._kind = kind
        self._name = name
        self._parts, self._open = parts, open
        self._calls = calls
        self._directory = directory
        self._die = die
        self._lock = asyncio.Lock()
        self.scope = Scope()
        self._watching: asyncio.Task[None] | None = None
        self._is_ending = False
        start_logging()

    async def ready(self) -> str | None:
        """Once the process runs: the id of its tenant."""
        return self.tenant.id if self.tenant else None

    async def watched(self) -> None:
        """Never returns: a caller that waits for this learns when the process dies."""
        await asyncio.Event().wait()

    async def assign(self, tenant_id: str, seed: Any, settings: Any) -> str:
        """Take a tenant: a new one from its seed, or (None) one from the journal. Returns its owner.

        Raises:
            NotFound: the journal has none of this id.
            IdTaken: the id is taken.
            Moved: this actor holds another.
        """
        async with self._lock:
            if self._is_ending or (self.tenant and self.tenant.id != tenant_id):
                raise Moved(f"actor {self._name} ends, or holds another {self._kind}")
            if self.tenant is None:
                self.tenant = tenant = await self._open(replace(self._parts, settings=settings), tenant_id, seed)
                self.scope.adopt(tenant.scope)
                self._watching = self.scope.start(self._watch(tenant))
            return self.tenant.owner

    async def configure(self, settings: Any) -> None:
        """Have the tenant, if there is one, take other settings."""
        async with self._lock:
            if self.tenant:
                self.tenant.configure(settings)
            if self.tenant and self._watching:  # it might have to leave sooner
                self._watching.cancel()
                self._watching = self.scope.start(self._watch(self.tenant))

    async def call(self, tenant_id: str, method: str, arguments: tuple[Any, ...]) -> Any:
        """A call of the tenant.

        Raises:
            Moved: the tenant is not here.
        """
        tenant = self.tenant
        if tenant is None or tenant.id != tenant_id:
            raise Moved(f"{self._kind} {tenant_id!r} is not here")
        return await self._calls.dispatch(tenant, method, arguments)

    async def close(self, tenant_id: str) -> None:
        """End the tenant for good, and be free for another. Idempotent."""
        async with self._lock:
            tenant = self.tenant
            if tenant is None or tenant.id != tenant_id:
                return
            await tenant.close()
            self._release(tenant)
        await self._directory.forget(self._kind, tenant_id)
        self._leave(tenant)

    async def expire(self, tenant_id: str) -> None:
        """End the tenant if it has not been used for as long as it may be."""
        tenant = self.tenant
        if tenant and tenant.id == tenant_id and tenant.is_expired:
            log.info("expired", kind=self._kind, id=tenant_id)
            await self.close(tenant_id)

    async def leave(self) -> None:
        """Its process is needed: put the tenant away if it is idle."""
        if self.tenant:
            await self._passivate(self.tenant, self.MIN_IDLE_S)

    async def _watch(self, tenant: Tenant) -> None:
        while not tenant.is_fenced and (left_s := tenant.leaves_in_s) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(self.CHECK_INTERVAL_S, left_s))
        self._watching = None
        await self._passivate(tenant)

    async def _passivate(self, tenant: Tenant, min_idle_s: float = 0.0) -> None:
        async with self._lock:
            if self.tenant is not tenant or tenant.idle_s() < min_idle_s:
                return
            log.info("passivated", kind=self._kind, id=tenant.id, fenced=tenant.is_fenced)
            wakes_at = tenant.wakes_at
            await tenant.stop()
            self._release(tenant)
        try:
            await self._directory.released(self._kind, tenant.id, self._name, wakes_at)
        except GreenroomError as error:
            log.warning("the directory was not told", kind=self._kind, id=tenant.id, error=str(error))
        self._leave(tenant)

    def clean_up(self) -> tuple[str, ...]:
        """Make the process what it was before its tenant; what cannot be undone, in words."""
        return ()

    def _leave(self, tenant: Tenant) -> None:
        if self._is_ending:
            log.warning("this process ends", kind=self._kind, id=tenant.id)
            self._die()

    def _release(self, tenant: Tenant) -> None:
        self.tenant = None
        if remarks := self.clean_up():
            log.info("leaves its process unfit for others", kind=self._kind, id=tenant.id, remarks=remarks)
        self._is_ending = tenant.is_spent or bool(remarks)
        if self._watching:
            self._watching.cancel()
            self._watching = None
