"""An answer as it comes, on the client's side: over as many connections as it takes, without loss or repeat."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from api.answers.collected import Collected
from api.answers.events import AnswerEvent, TextDelta
from api.client.remote_errors import error_of
from api.client.retries import Patience
from api.errors import GreenroomError, SessionNotFound, TurnNotFound, Unavailable
from api.tools import ToolCall
from api.wire.answer_views import answer_events
from api.wire.views import FinishView, UsageView

_CLOSE_NO_SESSION = 4404

OpenSocket = Callable[[], AbstractAsyncContextManager[ClientConnection]]


class Answer:
    """The text of one turn: iterate over it for its pieces, or await it for all of it.

    Nothing is sent before that. Leaving the loop early leaves the turn running on the server: ``cancel`` ends it.

    Attributes:
        turn_id: this turn's id in its session.
        text: what has come so far; where there are tools to call, without the calls and the reasoning.
        calls: of tools, that are complete.
        reasoning: where there are tools to call; else it is in the text.
        finish: how it ended; None until then.
        usage: what it took; None until it ended, and when it was cancelled before it began.
        has_started: whether the server has taken it up.
    """

    def __init__(self, session_id: str, request: dict[str, Any], open_socket: OpenSocket, patience: Patience) -> None:
        self.turn_id: str = request["turn_id"]
        self._collected = Collected()
        self.finish: FinishView | None = None
        self.usage: UsageView | None = None
        self._session_id = session_id
        self._request: dict[str, Any] | None = request if request["type"] == "generate" else None
        self._offset: int = request.get("offset", 0)
        self.has_started = self._request is None
        self._is_cancelled = False
        self._open_socket = open_socket
        self._socket: ClientConnection | None = None
        self._patience = patience
        self._events = self._read()
        self._pieces = self._texts()

    @property
    def text(self) -> str:
        return self._collected.text

    @property
    def reasoning(self) -> str:
        return self._collected.reasoning

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return self._collected.calls

    def __aiter__(self) -> AsyncIterator[str]:
        return self._pieces

    def events(self) -> AsyncIterator[AnswerEvent]:
        """Its text, its reasoning and its calls, piece by piece; instead of the iteration."""
        return self._events

    def __await__(self) -> Generator[Any, None, str]:
        return self._whole().__await__()

    async def cancel(self) -> None:
        """End the turn; what has come stays in the session. The iteration ends with what was on its way."""
        self._is_cancelled = True
        if self._socket is not None:
            try:
                await self._socket.send(self._cancellation())
            except ConnectionClosed:
                pass  # sent again with the next connection

    async def _whole(self) -> str:
        async for _ in self._pieces:
            pass
        return self.text

    async def _texts(self) -> AsyncIterator[str]:
        async for event in self._events:
            if isinstance(event, TextDelta):
                yield event.text

    async def _read(self) -> AsyncIterator[AnswerEvent]:
        while self.finish is None:
            try:
                async with self._open_socket() as self._socket:
                    await self._ask(self._socket)
                    async for event in self._follow(self._socket):
                        yield event
            except TurnNotFound:
                if self._request is None or self._offset:
                    raise
                self.has_started = False
                await self._patience.wait(TurnNotFound(self.turn_id))
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, GreenroomError) as error:
                await self._patience.outlast(error, {_CLOSE_NO_SESSION: SessionNotFound(self._session_id)})
            finally:
                self._socket = None

    async def _ask(self, socket: ClientConnection) -> None:
        """Ask for the turn, or for the rest of it."""
        if self.has_started:
            await socket.send(json.dumps({"type": "resume", "turn_id": self.turn_id, "offset": self._offset}))
        else:
            await socket.send(json.dumps(self._request))
        if self._is_cancelled:
            await socket.send(self._cancellation())

    async def _follow(self, socket: ClientConnection) -> AsyncIterator[AnswerEvent]:
        while self.finish is None:
            message = json.loads(await socket.recv())
            if message.get("turn_id") != self.turn_id:
                continue  # of a turn that was left on this connection before
            for event in self._take(message):
                self._collected.take(event)
                yield event

    def _take(self, message: dict[str, Any]) -> Iterable[AnswerEvent]:
        """What a message adds."""
        match message["type"]:
            case "started":
                self.has_started = True
            case "tokens":
                return self._take_tokens(message)
            case "finished":
                self.finish = FinishView.model_validate(message)
                self.usage = UsageView.model_validate(message["usage"]) if "usage" in message else None
                return tuple(answer_events(message))
            case "error":
                raise error_of(message["code"], message["message"])
        return ()

    def _take_tokens(self, message: dict[str, Any]) -> Iterable[AnswerEvent]:
        end = message["offset"] + len(message["ids"])
        if end <= self._offset:
            return ()
        if message["offset"] != self._offset:
            raise Unavailable(f"tokens came from offset {message['offset']} instead of {self._offset}")
        self._offset = end
        self._patience.renew()
        return tuple(answer_events(message))

    def _cancellation(self) -> str:
        return json.dumps({"type": "cancel", "turn_id": self.turn_id})
