"""The conversation with one session: ``WS /api/sessions/{id}``, JSON messages in both directions.

From the client:

- ``{"type": "generate", "turn_id"?, "messages": [{role, content}] | "text" | "tokens", "sampling"?, "max_tokens"?,
  "stop"?, "constraint"?, "allowed_tokens"?, "distribution"?, "tools"?, "tool_choice"?, "parallel_tool_calls"?}``
  extends the context; without a prompt it just goes on.
  Several may be sent: they run one after another. A constraint is one of ``{"json_schema"}``, ``{"regex"}``,
  ``{"choice"}``, ``{"grammar"}``; an engine that cannot answers ``unsupported``. With ``distribution`` (a number)
  nothing is sampled: ``finished`` has so many of the next token's candidates.
  ``turn_id`` is the client's choice, and asking twice with one id is asking once: it is safe to repeat.
  ``tools`` are ``{name, description?, parameters?, strict?}``, ``tool_choice`` is ``"auto"``, ``"none"``,
  ``"required"`` or ``{mode, names}``. A call is answered by the message ``{role: "tool", content, tool_call_id,
  name}`` of the next turn. A chat template tells the model of tools at its own place, mostly before the first message:
  give every turn the same ones.
- ``{"type": "resume", "turn_id", "offset"}`` follows a running or ended turn from a token offset.
- ``{"type": "cancel", "turn_id"?}`` ends a turn (without an id: the one that runs); it finishes with "cancelled".
- ``{"type": "typing"}``: the user has begun to type. ``{"type": "ping"}`` is answered ``{"type": "pong"}``.

A socket is told of the turns that others begin in its session as well, over whatever gateway, from ``started`` to the
end, one after another; ``WS /api/sessions/{id}?turns=own`` is not. All that begin after its first answer (such as
``pong``) are told. One that reads too slowly may miss whole turns: a
``base_length`` that is not where the last turn ended tells so, as it does after a rollback.

From the server, for each turn ``started``, any number of ``tokens``, then ``finished`` or ``error``:

- ``{"type": "started", "turn_id", "base_length", "prompt_tokens", "resident_tokens", "max_context", "unheld"?}``: of
  base and prompt, ``resident_tokens`` were found computed; ``unheld`` says what of the tools' schemas is not held.
- ``{"type": "tokens", "turn_id", "offset", "ids", "text", "logprobs"?}``: ids at ``offset`` of the turn's output, and
  the text that they completed. Without gap or repeat; the next offset is ``offset + len(ids)``. Where tools may be
  called, text, ``reasoning`` and ``calls`` are told apart, here and in ``finished``: ``api.wire.answer_views``.
- ``{"type": "finished", "turn_id", "offset", "reason", "stop", "distribution"?, "text", "usage"}``: ``text`` is what
  was still held back; ``distribution`` is ``{"top": [[id, logprob]], "entropy"}``; ``usage`` counts ``prompt_tokens``,
  ``output_tokens``, ``context_tokens`` and ``resident_tokens``. A turn that was cancelled before it began has neither
  ``started`` nor ``usage``.
- ``{"type": "error", "code", "message", "retryable", "retry_after_s"?, "turn_id"?}``: without ``turn_id`` it answers a
  message that could not be taken.

Closing the socket leaves the turn running: come back and resume. Close codes: see ``api.http.sockets``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.answers.formats import AnswerFormat
from api.cluster import SessionDescription, SessionHandle, TurnStream
from api.errors import GreenroomError, SessionNotFound, TooBusy, TooLarge
from api.http.models import cluster_of, find_model
from api.http.security import owner_of
from api.http.settings import settings_of
from api.http.sockets import converse, receive_data, send_view
from api.http.turn_messages import TurnMessages, is_read
from api.http.turn_schemas import CancelBody, GenerateBody, PingBody, ResumeBody, TypingBody, parse_message, turn_id_in
from api.turns import TurnRequest
from api.wire.views import error_message

MAX_QUEUED_TURNS = 16
"""Turns that one socket may have waiting, and turns that it may follow at once; more are refused with TooBusy."""


MAX_REMEMBERED_TURNS = 64
"""Turns that a client asked for itself, so that it is not told of them as those of others."""


async def session_socket(websocket: WebSocket) -> None:
    """Serve one socket from its opening to its close."""
    await converse(websocket, _converse)


async def _converse(websocket: WebSocket) -> None:
    session_id = session_named(websocket.path_params["session_id"])
    handle = await cluster_of(websocket).session(session_id, owner_of(websocket))
    await Conversation(websocket, handle, await handle.describe()).serve()


def session_named(name: str) -> str:
    """The id of the session that is called so, by its id or as a conversation of OpenAI's API."""
    return name.removeprefix("conv_")


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the conversation: a client that left is only the reason where nothing else is."""
    causes = sorted(group.exceptions, key=lambda error: isinstance(error, WebSocketDisconnect))
    return causes[0]


class Conversation:
    """One socket's work: it receives, runs the turns that were asked for in order, and follows resumed ones.

    Senders wait for the socket: a slow reader gets bigger frames.
    """

    def __init__(self, websocket: WebSocket, handle: SessionHandle, session: SessionDescription) -> None:
        self._websocket = websocket
        self._handle = handle
        self._session = session
        self._queued: deque[TurnRequest] = deque()
        self._has_queued = asyncio.Event()
        self._beginning: TurnRequest | None = None
        self._cancelled_early: set[str] = set()
        self._num_followed = 0
        self._asked: deque[str] = deque(maxlen=MAX_REMEMBERED_TURNS)
        self._hearing: tuple[str, asyncio.Task[None]] | None = None

    async def serve(self) -> None:
        """Until the client leaves, or the session ends.

        Raises:
            SessionNotFound: the session was closed or expired meanwhile.
            WebSocketDisconnect: the client left.
        """
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._run_turns())
                if self._websocket.query_params.get("turns") != "own":
                    self._tasks.create_task(self._tell(await self._handle.listen()))
                await self._receive()
        except BaseExceptionGroup as group:
            raise _cause(group) from None

    async def _receive(self) -> None:
        while True:
            data = await receive_data(self._websocket)
            try:
                await self._take(data)
            except SessionNotFound:
                raise
            except GreenroomError as error:
                await self._send(error_message(error, turn_id_in(data)))

    async def _take(self, data: str | bytes) -> None:
        match parse_message(data):
            case GenerateBody() as body:
                self._queue(body)
            case ResumeBody() as body:
                self._follow_again(body)
            case CancelBody(turn_id=turn_id):
                await self._cancel(turn_id)
            case TypingBody():
                await self._handle.typing()
            case PingBody():
                await self._send({"type": "pong"})

    def _queue(self, body: GenerateBody) -> None:
        request = body.request()
        max_chars = settings_of(self._websocket).max_prompt_chars
        if body.num_chars > max_chars:
            raise TooLarge(f"a prompt may have {max_chars} characters, this one has {body.num_chars}")
        if len(self._queued) >= MAX_QUEUED_TURNS:
            raise TooBusy("too many turns are waiting on this connection")
        self._claim(request.turn_id)
        self._queued.append(request)
        self._has_queued.set()

    async def _cancel(self, turn_id: str | None) -> None:
        for request in self._queued:
            if request.turn_id == turn_id:
                self._queued.remove(request)
                await self._send({**_cancelled, "turn_id": turn_id})
                return
        beginning = self._beginning
        if beginning is not None and turn_id in (None, beginning.turn_id):
            self._cancelled_early.add(beginning.turn_id)
        await self._handle.cancel(turn_id)

    async def _run_turns(self) -> None:
        while True:
            await self._has_queued.wait()
            while self._queued:
                await self._run_turn(self._queued.popleft())
            self._has_queued.clear()

    async def _run_turn(self, request: TurnRequest) -> None:
        self._beginning = request
        try:
            stream = await self._handle.begin(request)
            self._beginning = None
            if request.turn_id in self._cancelled_early:
                await stream.cancel()
            await self._follow(stream)
        except SessionNotFound:
            raise
        except GreenroomError as error:
            await self._send(error_message(error, request.turn_id))
        finally:
            self._beginning = None
            self._cancelled_early.discard(request.turn_id)

    def _follow_again(self, body: ResumeBody) -> None:
        if self._num_followed >= MAX_QUEUED_TURNS:
            raise TooBusy("too many turns are followed on this connection")
        self._num_followed += 1
        self._claim(body.turn_id)
        self._tasks.create_task(self._resume(body))

    async def _resume(self, body: ResumeBody) -> None:
        try:
            await self._follow(await self._handle.resume(body.turn_id, body.offset), body.offset)
        except GreenroomError as error:
            await self._send(error_message(error, body.turn_id))
        finally:
            self._num_followed -= 1

    def _claim(self, turn_id: str) -> None:
        """This client asks for the turn itself: it gets it once, from where it says."""
        self._asked.append(turn_id)
        if self._hearing and self._hearing[0] == turn_id:
            self._hearing[1].cancel()

    async def _tell(self, begun: AsyncIterator[str]) -> None:
        async for turn_id in begun:
            if turn_id not in self._asked:
                hearing = self._tasks.create_task(self._hear(turn_id))
                self._hearing = turn_id, hearing
                await asyncio.wait([hearing])
                self._hearing = None

    async def _hear(self, turn_id: str) -> None:
        """Follow a turn that another began. One that is gone before it could be followed is left out."""
        try:
            stream = await self._handle.resume(turn_id, 0)
        except GreenroomError:
            return
        try:
            await self._follow(stream)
        except GreenroomError as error:
            await self._send(error_message(error, turn_id))

    async def _follow(self, stream: TurnStream, offset: int = 0) -> None:
        """Tell of a turn from an offset on, at which the stream begins."""
        start, answers = stream.start, AnswerFormat()
        if start.model not in ("", self._session.model):
            self._session = await self._handle.describe()
        if start.tools or start.is_held_reply:
            model = start.model or self._session.model
            answers = (await find_model(cluster_of(self._websocket), model)).answers
            stream = await self._handle.resume(start.turn_id, 0) if offset and is_read(start, answers) else stream
        messages = TurnMessages(start, answers, offset, self._session.max_context)
        await self._send(messages.started())
        async for frame in stream:
            for message in messages.of(frame):
                await self._send(message)

    async def _send(self, view: dict[str, Any]) -> None:
        await send_view(self._websocket, view)


_cancelled = {"type": "finished", "offset": 0, "reason": "cancelled", "stop": None, "text": ""}
