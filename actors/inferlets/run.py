"""One run of a program: its thread, its host and its effect executor, from the first line of its source to its end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from actors.inferlets.event_loop import ProgramThread
from actors.inferlets.history import Diverged
from actors.inferlets.output import current_output
from actors.inferlets.program import Source, blame, load
from actors.inferlets.records import Answer, Ended
from actors.inferlets.replayer import Desk, ProgramHost
from api.inferlet.arguments import Args
from api.inferlet.host import hosted_by
from api.mcp_servers import McpServer
from api.values import snapshot


class RunDesk(Desk, Protocol):
    """What a run needs of the desk of its host."""

    arrived: Callable[[Answer], object]

    @property
    def is_blocking(self) -> bool:
        """The program's thread waits for an answer."""
        ...

    @property
    def waits_for_clients_only(self) -> bool:
        """The program has asked for nothing but the next message from a client, and none is there; and for times."""
        ...

    @property
    def wakes_at(self) -> float | None:
        """The first of the times that the program waits for, in seconds since the epoch."""
        ...

    def close(self) -> None:
        """Record nothing of the program any longer, and perform nothing."""
        ...

    async def stop(self, is_over: bool) -> None:
        """Perform nothing any longer, and cancel the calls that wait; ``is_over`` where no later life follows."""
        ...


class RunContexts(Protocol):
    """What a run needs of the contexts of its program."""

    async def close(self) -> None:
        """Free them."""
        ...

    async def stop(self) -> None:
        """Leave them to the next run."""
        ...


class ProgramRun:
    """Runs a program and says once how it ended, unless it is stopped before.

    Attributes:
        has_loaded: its source is there, and has a program.
        has_diverged: it ended since it did not repeat itself.
        has_yielded: since the last ``probe``.
    """

    GRACE_S = 1.0

    def __init__(
        self,
        source: Source,
        arguments: tuple[str, ...],
        host: ProgramHost,
        desk: RunDesk,
        contexts: RunContexts,
        is_again: bool,
        on_end: Callable[[Ended], object],
        servers: Mapping[str, McpServer] | None = None,
    ) -> None:
        self.host = host
        self.desk = desk
        self.is_durable = False
        self.has_loaded = self.has_diverged = False
        self.has_yielded = False
        self._source = source
        self._arguments = arguments
        self._contexts = contexts
        self._is_again = is_again
        self._on_end = on_end
        self._servers = servers or {}
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._over = asyncio.Event()
        name = f"inferlet-{host.instance_id}"
        self._thread = ProgramThread(name, self._main, host, self._over.set)
        desk.arrived = self._arrived

    @property
    def waits_for_clients_only(self) -> bool:
        """Only a message from a client, or the time, can make it go on, and a later run would get there."""
        return self.is_durable and self.host.is_settled and self.desk.waits_for_clients_only

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def core_s(self) -> tuple[float, float]:
        """Of its thread."""
        return self._thread.core_s

    def probe(self) -> None:
        """Have ``has_yielded`` set as soon as the program yields."""
        self.has_yielded = False
        self._thread.call(self._yield)

    def close(self) -> None:
        """Nothing counts that the program still does."""
        self.host.close()
        self.desk.close()

    async def stop(self, frees_contexts: bool, is_hopeless: bool = False) -> bool:
        """End it where it is; False where its thread does not end in time (or is not asked to, as hopeless)."""
        self.close()
        await self.desk.stop(is_over=frees_contexts)
        if not is_hopeless:
            self._thread.cancel()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), self.GRACE_S)
        await (self._contexts.close() if frees_contexts else self._contexts.stop())
        return self._over.is_set()

    def _arrived(self, answer: Answer) -> None:
        self.host.arrived(answer)
        self._thread.wake()

    def _yield(self) -> None:
        self.has_yielded = True

    async def _main(self) -> None:
        current_output.set(self.host.output)
        hosted_by(self.host)
        ended = await self._ended()
        if ended and not self.host.is_closed:
            with suppress(asyncio.CancelledError):  # it was ended meanwhile
                self.desk.settle()
        if ended and not self.host.is_closed:
            self.host.output.flush()
            self._loop.call_soon_threadsafe(self._on_end, ended, context=self._context)
            self.host.close()

    async def _ended(self) -> Ended | None:
        try:
            program = load(self._source, self._servers)
            self.has_loaded = True
            self.is_durable = self.host.is_durable = program.is_durable
            if self._is_again and not program.is_durable:
                return Ended("lost")
            result: Any = await program.function(Args(self._arguments, self.host.replay.start.continued.state))
            self.host.check_caught_up()
            return Ended("completed", snapshot(result))
        except BaseException as error:
            if self.host.is_closed:
                return None
            diverged = error if isinstance(error, Diverged) else self.host.diverged
            if diverged is None:
                with suppress(Diverged):
                    self.host.check_caught_up()
                    return Ended("failed", blame(error, self._source))
                diverged = Diverged(f"the program failed this time, and had not before: {error!r}")
            self.has_diverged = True
            return Ended("failed", f"the program did not repeat itself: {diverged}")
