"""The session of one socket of the Petals protocol, and the calls that are made on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection

from api.cluster import ModelInfo, SessionHandle, SessionOptions
from api.errors import GreenroomError
from api.http.models import cluster_of, find_model
from api.http.petals.chunks import Answer, Chunk, begin
from api.http.petals.failures import BadParameter
from api.http.petals.generation import Generation, Plan
from api.http.petals.messages import GenerateMessage, OpenMessage, SessionLength, read_message
from api.http.settings import settings_of

IDLE_GRACE_S = 30.0
"""How much longer the cluster keeps an idle session than its socket, so that it is the socket that says why."""


@dataclass(slots=True, eq=False)
class Call:
    """A message of the client that waits for its turn, or is being served.

    Attributes:
        fields: the message; or the error of a frame that was none, to be raised when its turn comes.
    """

    fields: dict[str, Any] | GreenroomError
    num_bytes: int
    is_cancelled: bool = False
    answer: Answer | None = None

    @property
    def kind(self) -> object:
        """The message's type, whatever the client made of it."""
        return self.fields.get("type") if isinstance(self.fields, dict) else None

    async def cancel(self) -> None:
        """End the generation, now or as soon as it has begun."""
        self.is_cancelled = True
        if self.answer is not None:
            await self.answer.stream.cancel()


class Conversation:
    """Opens one session, extends it call by call, and closes it. One call at a time."""

    def __init__(
        self, connection: HTTPConnection, owner: str, send: Callable[[dict[str, object]], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._cluster = cluster_of(connection)
        self._owner = owner
        self._send = send
        self._opening: asyncio.Task[SessionHandle] | None = None
        self._session: SessionHandle | None = None
        self._model: ModelInfo | None = None
        self._max_length: object = None
        self._num_tokens = 0

    @property
    def session_id(self) -> str:
        """The session's id; "" before it is open."""
        return self._session.session_id if self._session else ""

    async def open(self, call: Call) -> None:
        """Serve the first message.

        Raises:
            BadParameter, ModelNotFound, TooBusy, Unavailable
        """
        fields = _fields(call)
        if call.kind != "open_inference_session":
            raise BadParameter("AssertionError", "the first message must be of type 'open_inference_session'")
        message = read_message(OpenMessage, fields)
        self._model = await find_model(self._cluster, message.model)
        self._max_length = message.max_length
        idle_timeout_s = settings_of(self._connection).petals.idle_timeout_s + IDLE_GRACE_S
        options = SessionOptions(model=self._model.name, idle_timeout_s=idle_timeout_s)
        self._opening = asyncio.ensure_future(self._cluster.open_session(options, self._owner))
        self._session = await asyncio.shield(self._opening)
        await self._send({"ok": True})

    async def generate(self, call: Call) -> None:
        """Serve a later message, chunk by chunk.

        Raises:
            BadParameter, LengthExceeded, SessionNotFound, Unavailable
        """
        assert self._model is not None
        assert self._session is not None
        fields = _fields(call)
        if call.kind != "generate":
            raise BadParameter("AssertionError", "messages after the first must be of type 'generate'")
        generation = read_message(GenerateMessage, fields).generation()
        generation.check_size(settings_of(self._connection).max_prompt_chars)
        plan = Plan(generation, self._model, min(self._session_length(), self._model.max_context_tokens))
        stop_ids = await self._stop_ids(generation)
        call.answer = await begin(plan, plan.turn(), self._session.begin, self._cluster, self._num_tokens)
        if call.is_cancelled:
            await call.answer.stream.cancel()
        async with aclosing(call.answer.chunks()) as chunks:
            async for chunk in chunks:
                if chunk.finish is not None:
                    self._num_tokens = await self._settle(call, chunk, stop_ids, plan.maximum + 1)
                await self._send(_message(chunk))

    async def typing(self) -> None:
        """Pass on that the user has begun to type."""
        if self._session is not None:
            with suppress(GreenroomError):
                await self._session.typing()

    async def close(self) -> None:
        """End the session, which ends what runs in it; also one that is just being opened. Idempotent."""
        opening, self._opening = self._opening, None
        if opening is not None:
            with suppress(GreenroomError):
                await (await opening).close()

    def _session_length(self) -> int:
        """The session's ``max_length``, read when it is needed for the first time."""
        length = read_message(SessionLength, {"max_length": self._max_length}).max_length
        return settings_of(self._connection).petals.default_max_length if length is None else length

    async def _stop_ids(self, generation: Generation) -> tuple[int, ...]:
        """The tokens that replace the last one where an extra stop has matched; none without extra stops."""
        if not generation.extra_stop_sequences:
            return ()
        assert self._model is not None
        ids = await self._cluster.tokenize(self._model.name, generation.stop_sequence or "")
        if not ids:
            message = "extra_stop_sequences require stop_sequence length to be exactly 1 token"
            raise BadParameter("AssertionError", message)
        return ids

    async def _settle(self, call: Call, last: Chunk, stop_ids: tuple[int, ...], most_tokens: int) -> int:
        """Bring the session to the state that the last chunk announces, before it is sent; its length in tokens."""
        assert self._session is not None
        assert call.answer is not None
        is_cancelled = last.finish is not None and last.finish.reason == "cancelled"
        if is_cancelled and not call.is_cancelled:
            raise BadParameter("RuntimeError", "the generation was cancelled")
        length = call.answer.end_length
        if not stop_ids or is_cancelled or not call.answer.has_extra_stop:
            return length
        stop_ids = stop_ids[: most_tokens - (length - 1)]
        await self._session.rollback(length - 1, then=stop_ids)
        return length - 1 + len(stop_ids)


def _fields(call: Call) -> dict[str, Any]:
    if isinstance(call.fields, GreenroomError):
        raise call.fields
    return call.fields


def _message(chunk: Chunk) -> dict[str, object]:
    return {
        "ok": True,
        "outputs": chunk.text,
        "stop": chunk.finish is not None,
        "token_count": chunk.num_tokens,
    }
