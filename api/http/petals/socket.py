"""The WebSocket of the Petals protocol: one socket is one session, its messages are served in order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.errors import GreenroomError, TooBusy, TooLarge
from api.http.petals.conversation import Call, Conversation
from api.http.petals.failures import BadParameter, failure_body
from api.http.petals.messages import parse_frame
from api.http.responses import CLOSE_TRY_LATER, close_code, close_socket
from api.http.security import owner_of, selected_subprotocol
from api.http.settings import settings_of
from api.http.sockets import send_view
from api.logs import event_logger
from api.settings import ApiSettings

logger = event_logger("greenroom.petals")

_CLOSE_NORMAL = 1000


async def petals_socket(websocket: WebSocket) -> None:
    """``WS /api/v2/generate``, from its opening to its close."""
    await websocket.accept(selected_subprotocol(websocket))
    try:
        owner = owner_of(websocket)
    except GreenroomError as error:
        await _fail(websocket, error, close_code(error))
        return
    await PetalsSocket(websocket, owner).run()


class PetalsSocket:
    """A receiver and a server side by side.

    The receiver keeps reading while a call is served: that is how it sees ``cancel``, and that the client has left.
    What waits is limited in number and in bytes; a client that sends more is refused with close code 1013.
    """

    def __init__(self, websocket: WebSocket, owner: str) -> None:
        self._websocket = websocket
        self._conversation = Conversation(websocket, owner, self._send)
        self._pending: deque[Call] = deque()
        self._serving: Call | None = None
        self._arrived = asyncio.Event()
        self._last_use = time.monotonic()
        self._asides: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the client leaves, an error has been sent, or the session has expired."""
        receiver, server = asyncio.create_task(self._receive()), asyncio.create_task(self._serve())
        try:
            await asyncio.wait((receiver, server), return_when=asyncio.FIRST_COMPLETED)
            if not server.done():
                server.cancel()
                await asyncio.wait((server,))
                if (refusal := receiver.result()) is not None:
                    await _fail(self._websocket, refusal, CLOSE_TRY_LATER)
        finally:
            await asyncio.shield(asyncio.create_task(self._end(receiver, server)))

    @property
    def _settings(self) -> ApiSettings:
        return settings_of(self._websocket)

    async def _send(self, view: dict[str, object]) -> None:
        await send_view(self._websocket, view)

    async def _end(self, *tasks: asyncio.Task[Any]) -> None:
        for task in (*tasks, *self._asides):
            task.cancel()
        await asyncio.gather(*tasks, *self._asides, return_exceptions=True)
        try:
            async with asyncio.timeout(self._settings.petals.close_timeout_s):
                await self._conversation.close()
        except (GreenroomError, TimeoutError) as error:
            logger.warning("a session could not be closed", session_id=self._conversation.session_id, error=repr(error))

    async def _serve(self) -> None:
        """Serve call after call; after an error, say it and close."""
        try:
            await self._conversation.open(await self._next())
            while True:
                self._serving = await self._next()
                await self._conversation.generate(self._serving)
                self._serving = None
                self._last_use = time.monotonic()
        except GreenroomError as error:
            await _fail(self._websocket, error, _CLOSE_NORMAL)
        except WebSocketDisconnect:
            return
        except Exception:
            logger.exception("unexpected error", session_id=self._conversation.session_id)
            await _fail(self._websocket, GreenroomError(), _CLOSE_NORMAL)

    async def _next(self) -> Call:
        """The next call; raises when the client has been silent for too long."""
        idle_timeout_s = self._settings.petals.idle_timeout_s
        while not self._pending:
            self._arrived.clear()
            remaining_s = max(self._last_use + idle_timeout_s - time.monotonic(), 0)
            try:
                async with asyncio.timeout(remaining_s):
                    await self._arrived.wait()
            except TimeoutError:
                message = f"Session {self._conversation.session_id!r} expired after {idle_timeout_s:g} s without use"
                raise BadParameter("TimeoutError", message) from None
        return self._pending.popleft()

    async def _receive(self) -> TooBusy | None:
        """Take messages until the client leaves, or sends more than may wait."""
        is_first = True
        while (call := await self._receive_call()) is not None:
            self._last_use = time.monotonic()
            if is_first or call.kind not in ("typing", "cancel"):
                if self._is_full_for(call):
                    return TooBusy("too many messages are waiting to be served")
                self._pending.append(call)
            elif call.kind == "typing":
                self._announce_typing()
            else:
                self._cancel_oldest()
            is_first = False
            self._arrived.set()
        return None

    async def _receive_call(self) -> Call | None:
        """The next frame as a call; None when the client has left."""
        try:
            frame = await self._websocket.receive()
        except TooLarge as error:
            return Call(error, 0)
        if frame["type"] == "websocket.disconnect":
            return None
        text = frame.get("text")
        data = frame["bytes"] if text is None else text
        try:
            return Call(parse_frame(data), len(data))
        except BadParameter as error:
            return Call(error, len(data))

    def _is_full_for(self, call: Call) -> bool:
        num_bytes = sum(waiting.num_bytes for waiting in self._pending)
        if len(self._pending) >= self._settings.petals.max_pending_messages:
            return True
        return num_bytes > 0 and num_bytes + call.num_bytes > self._settings.max_body_bytes

    def _announce_typing(self) -> None:
        if not any(task.get_name() == "typing" for task in self._asides):
            self._aside(self._conversation.typing(), "typing")

    def _cancel_oldest(self) -> None:
        """Cancel the generation that is being served, or is about to be."""
        calls = [self._serving] if self._serving else self._pending
        call = next((call for call in calls if call.kind == "generate"), None)
        if call is not None and not call.is_cancelled:
            call.is_cancelled = True
            self._aside(call.cancel(), "cancel")

    def _aside(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do this without keeping the receiver from reading."""
        task = asyncio.create_task(work, name=name)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)


async def _fail(websocket: WebSocket, error: GreenroomError, code: int) -> None:
    """Send one error as the last message, and close."""
    try:
        await send_view(websocket, failure_body(error))
    except (WebSocketDisconnect, RuntimeError):
        return
    await close_socket(websocket, code)
