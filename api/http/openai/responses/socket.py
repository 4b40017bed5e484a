"""Responses over one connection: ``WS /v1/responses``, JSON messages in both directions.

From the client ``{"type": "response.create", …}`` with the fields of ``POST /v1/responses``, but for ``background``;
``generate: false`` only prepares the context. They are answered one after another, each with the events of its stream;
those of one with a ``stream_id`` repeat it. ``previous_response_id`` may name the connection's latest response, stored
or not. What cannot be taken is answered ``{"type": "error", "status", "error": {type, code, message, param}}``.

Closing the connection ends a response that is not stored. Close codes: see ``api.http.sockets``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.cluster import Cluster
from api.errors import GreenroomError, TooBusy, sentence_of
from api.http.openai.envelope import InvalidField, openai_error_body
from api.http.openai.responses.creation import Creation
from api.http.openai.responses.draft import Draft
from api.http.openai.responses.drafting import drafted
from api.http.openai.responses.latest import Latest
from api.http.openai.responses.reading import Reading
from api.http.openai.responses.routes import whole_even_if_cancelled
from api.http.openai.responses.schemas import ResponseBody, ShortName
from api.http.openai.schemas import Lenient, parse_body
from api.http.security import owner_of
from api.http.settings import settings_of
from api.http.sockets import converse, receive_data, send_view

MAX_WAITING = 16
"""Messages of one connection that wait for those before them, with the bytes of one at most; more are refused."""


class Envelope(Lenient):
    """What every message of a client has."""

    type: str
    stream_id: ShortName | None = None


class CreateBody(ResponseBody):
    """``response.create``; ``stream`` goes without saying."""

    generate: bool | None = None

    def check(self) -> None:
        """As of every response.

        Raises:
            InvalidField: names what cannot be.
        """
        super().check()
        if self.background:
            raise InvalidField("a response over a WebSocket cannot be in the background", "background", "unsupported")

    @property
    def is_prewarming(self) -> bool:
        """Whether nothing is to be generated."""
        return self.generate is False or super().is_prewarming


async def response_socket(websocket: WebSocket) -> None:
    """``WS /v1/responses``."""
    await converse(websocket, _converse, error_event)


async def _converse(websocket: WebSocket) -> None:
    await Connection(websocket, owner_of(websocket)).serve()


def error_event(error: GreenroomError) -> dict[str, Any]:
    """A message that tells of an error."""
    param = error.param if isinstance(error, InvalidField) else None
    return {
        "type": "error",
        "status": error.status,
        **openai_error_body(error.status, error.code, sentence_of(error), param),
    }


class Connection:
    """One connection's work: it receives, and answers in order."""

    def __init__(self, websocket: WebSocket, owner: str) -> None:
        self._websocket = websocket
        self._owner = owner
        self._cluster: Cluster = websocket.app.state.cluster
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._num_bytes = 0
        self._latest: Latest | None = None

    async def serve(self) -> None:
        """Until the client leaves.

        Raises:
            WebSocketDisconnect: the client left.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._answer_all())
                await self._receive()
        except BaseExceptionGroup as group:
            causes = sorted(group.exceptions, key=lambda error: isinstance(error, WebSocketDisconnect))
            raise causes[0] from None

    async def _receive(self) -> None:
        while True:
            data = _encoded(await receive_data(self._websocket))
            max_bytes = settings_of(self._websocket).max_body_bytes
            if self._waiting.full() or self._num_bytes + len(data) > max_bytes:
                error = TooBusy(f"{MAX_WAITING} messages or {max_bytes} bytes are waiting on this connection")
                await self._send(error_event(error), _labels(data))
            else:
                self._num_bytes += len(data)
                self._waiting.put_nowait(data)

    async def _answer_all(self) -> None:
        while True:
            data = await self._waiting.get()
            self._num_bytes -= len(data)
            labels = _labels(data)
            try:
                await self._answer(data, labels)
            except GreenroomError as error:
                await self._send(error_event(error), labels)

    async def _answer(self, data: bytes, labels: Mapping[str, str]) -> None:
        draft, reading = await self._begin(data)
        try:
            await self._tell(reading, labels)
        finally:
            self._latest = Latest.of(draft, reading) if not draft.is_stored else None

    async def _begin(self, data: bytes) -> tuple[Draft, Reading]:
        kind = parse_body(Envelope, data).type
        if kind != "response.create":
            raise InvalidField(f"there is no event {kind!r:.100} here", "type", "unknown_event")
        body = parse_body(CreateBody, data)
        settings = settings_of(self._websocket)
        draft = await drafted(self._cluster, body, self._owner, settings)
        creation = Creation(self._cluster, self._owner, settings.openai.retention_s, is_queued=False)
        latest = self._latest
        if latest is not None and latest.id == body.previous_response_id:
            begun = creation.begin_after(draft, latest.under(draft), latest.names)
        else:
            begun = creation.begin(draft)
        return draft, await (whole_even_if_cancelled(begun) if draft.is_stored else begun)

    async def _tell(self, reading: Reading, labels: Mapping[str, str]) -> None:
        async with aclosing(reading.events()) as all_events:
            async for events in all_events:
                for event in events:
                    await self._send(event, labels)

    async def _send(self, event: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        await send_view(self._websocket, {**event, **labels})


def _encoded(data: str | bytes) -> bytes:
    return data.encode(errors="replace") if isinstance(data, str) else data


def _labels(data: bytes) -> dict[str, str]:
    """What the answers to a message repeat of it."""
    try:
        stream_id = parse_body(Envelope, data).stream_id
    except GreenroomError:
        return {}
    return {} if stream_id is None else {"stream_id": stream_id}
