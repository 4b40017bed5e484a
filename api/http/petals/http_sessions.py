"""The HTTP side of sessions: ordinary sessions of the cluster, each used by one call at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from typing import Any
from weakref import WeakValueDictionary

from api.cluster import Cluster, SessionHandle, SessionOptions
from api.errors import GreenroomError, SessionNotFound, TooBusy
from api.http.models import find_model
from api.http.petals.chunks import begin
from api.http.petals.failures import BadParameter
from api.http.petals.generation import Generation, Plan
from api.logs import event_logger
from api.settings import PetalsSettings
from api.turns import TurnRequest

logger = event_logger("greenroom.petals")

_SESSION_ID = re.compile(r"[0-9a-f]{32}")


class HttpSessions:
    """Opens, continues and closes sessions; the state is the cluster's.

    Calls on one session that meet in this process wait here for each other, so that a call that fails can be undone
    before the next one sees the session.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._undoing: set[asyncio.Task[None]] = set()

    async def open(self, model: str | None, max_length: int | None, owner: str, settings: PetalsSettings) -> str:
        """A new session's id.

        Raises:
            TooBusy: too many are open.
            BadParameter, ModelNotFound
        """
        if max_length is None:
            max_length = settings.default_max_length
        if max_length < 1:
            raise BadParameter("ValueError", f"max_length must be at least 1, not {max_length}")
        info = await find_model(self._cluster, model)
        too_many = TooBusy(f"Too many opened inference sessions (max {settings.max_sessions}), please come back later")
        if len(await self._cluster.sessions(owner)) >= settings.max_sessions:
            raise too_many
        options = SessionOptions(
            model=info.name,
            max_context=min(max_length, info.max_context_tokens),
            idle_timeout_s=settings.idle_timeout_s,
        )
        try:
            return (await self._cluster.open_session(options, owner)).session_id
        except TooBusy as error:
            raise too_many from error

    async def close(self, session_id: str | None, owner: str) -> None:
        """End a session; nothing happens where there is none."""
        if session_id is None or not _SESSION_ID.fullmatch(session_id):
            return
        try:
            await (await self._cluster.session(session_id, owner)).close()
        except SessionNotFound:
            return

    async def generate(
        self, session_id: str, model: str | None, generation: Generation, owner: str, settings: PetalsSettings
    ) -> str:
        """Continue a session; the new text. After an error the session is as before.

        Raises:
            SessionNotFound, LengthExceeded, BadParameter, ModelNotFound, Unavailable
        """
        if not _SESSION_ID.fullmatch(session_id):
            raise SessionNotFound(session_id)
        handle = await self._cluster.session(session_id, owner)
        lock = self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:
            description = await handle.describe()
            info = await find_model(self._cluster, description.model)
            if model is not None and (await find_model(self._cluster, model)).name != info.name:
                raise BadParameter("ValueError", f"the session's model is {info.name!r}, not {model!r}")
            plan = Plan(generation, info, min(description.max_context, info.max_context_tokens))
            return await self._run(handle, plan, description.length, settings.close_timeout_s)

    async def _run(self, handle: SessionHandle, plan: Plan, num_history: int, close_timeout_s: float) -> str:
        request = plan.turn()
        try:
            answer = await begin(plan, request, handle.begin, self._cluster, num_history)
        except GreenroomError:
            await self._to_the_end(_restore(handle, num_history), close_timeout_s)
            raise
        except asyncio.CancelledError:
            await self._to_the_end(_undo(handle, request), close_timeout_s)
            raise
        try:
            last = await answer.whole()
            if last.finish is not None and last.finish.reason == "cancelled":
                await handle.describe()
                raise BadParameter("RuntimeError", "the generation was cancelled")
            return last.text
        except (Exception, asyncio.CancelledError):
            await self._to_the_end(_undo(handle, request), close_timeout_s)
            raise

    async def _to_the_end(self, undoing: Coroutine[Any, Any, None], timeout_s: float) -> None:
        """Do this within the time allowed for it, even if the caller is cancelled once more."""
        task = asyncio.create_task(_in_time(undoing, timeout_s))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)
        await asyncio.shield(task)


async def _restore(handle: SessionHandle, length: int) -> None:
    await handle.rollback(length)


async def _undo(handle: SessionHandle, request: TurnRequest) -> None:
    """End a turn and cut the session back to before it.

    The turn may be about to begin, in a call that was given up: asking for it once more gives the same turn.
    """
    stream = await handle.begin(request)
    await stream.cancel()
    async for _ in stream:
        pass
    await handle.rollback(stream.start.base_length)


async def _in_time(undoing: Coroutine[Any, Any, None], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await undoing
    except SessionNotFound:
        return
    except (GreenroomError, TimeoutError) as error:
        logger.warning("a failed call could not be undone", error=repr(error))
