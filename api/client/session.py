"""One session on the client's side."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any
from uuid import uuid4

from websockets.exceptions import WebSocketException

from api.client.answer import Answer
from api.client.retries import unreachable
from api.client.server import Server
from api.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from api.errors import GreenroomError
from api.tools import Tool, ToolChoice
from api.turns import Distribution, Message, Sampling
from api.wire.views import SessionView


class ClientSession:
    """One session on the server; ``close`` ends it there.

    Calls and answers raise ``SessionNotFound`` once it is closed or has expired.
    """

    def __init__(self, server: Server, session_id: str, system: str | None = None) -> None:
        self.session_id = session_id
        self._server = server
        self._system = system
        self._opening: Answer | None = None

    def generate(
        self,
        prompt: str | Message | Sequence[Message] | None = None,
        *,
        text: str | None = None,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
        allowed_tokens: Collection[int] | None = None,
        tools: Sequence[Tool] = (),
        tool_choice: ToolChoice | None = None,
        parallel_tool_calls: bool = True,
        turn_id: str | None = None,
    ) -> Answer:
        """Extend the context by a user's message (or messages, or plain ``text``, or nothing) and answer it.

        Answers of one session come one after another: read the first before the second. The same ``turn_id`` again
        is the same turn. Calls of ``tools`` are in ``Answer.calls``, and ``api.turns.result_of`` makes the message
        that answers one. A chat template tells of tools at its own place, mostly before the first message: give every
        turn of a session the same ones.

        Raises (when the answer is read):
            InvalidRequest, LengthExceeded, SessionNotFound, TooBusy, Unauthorized, Unavailable
            Unsupported: the engine cannot constrain, or the model calls no tools.
        """
        request = self._request(prompt, text, turn_id)
        if constraint is not None:
            request["constraint"] = _constraint_body(constraint)
        if allowed_tokens is not None:
            request["allowed_tokens"] = list(allowed_tokens)
        if sampling is not None:
            request["sampling"] = _sampling_body(sampling)
        if max_tokens is not None:
            request["max_tokens"] = max_tokens
        if stop:
            request["stop"] = list(stop)
        if tools:
            request["tools"] = [{**asdict(tool), "parameters": json.loads(tool.parameters)} for tool in tools]
            request["parallel_tool_calls"] = parallel_tool_calls
        if tool_choice is not None:
            is_any = tool_choice.mode == "none" or not tool_choice.names
            request["tool_choice"] = tool_choice.mode if is_any else asdict(tool_choice)
        return self._begin(request)

    async def next_distribution(
        self,
        num_candidates: int,
        prompt: str | Message | Sequence[Message] | None = None,
        *,
        text: str | None = None,
    ) -> Distribution:
        """The likeliest next tokens, after a prompt (which stays in the context), or after what is there.

        Raises:
            As ``generate``.
        """
        answer = self._begin({**self._request(prompt, text, None), "distribution": num_candidates})
        await answer
        assert answer.finish is not None
        if answer.finish.distribution is None:
            raise GreenroomError(f"the turn was {answer.finish.reason} before it had a distribution")
        return Distribution(**answer.finish.distribution.model_dump())

    def resume(self, turn_id: str, offset: int = 0) -> Answer:
        """Follow a turn that was begun earlier, from a token offset."""
        return self._answer({"type": "resume", "turn_id": turn_id, "offset": offset})

    async def cancel(self, turn_id: str | None = None) -> None:
        """End a turn of this session, or (without an id) the one that runs."""
        await self._tell({"type": "cancel", **({"turn_id": turn_id} if turn_id else {})})

    async def typing(self) -> None:
        """Announce that the user has begun to type: the context is made ready where it is not."""
        await self._tell({"type": "typing"})

    async def describe(self) -> SessionView:
        """The session and its history."""
        return await self._server.ask(SessionView, "GET", self._path)

    async def rename(self, title: str) -> SessionView:
        """Give it another title."""
        return await self._server.ask(SessionView, "PATCH", self._path, {"title": title})

    async def fork(self, length: int | None = None, *, turn_id: str | None = None) -> ClientSession:
        """A new session with this one's first ``length`` tokens, or with all before a turn, or with all."""
        body = _place(length, turn_id)
        view = await self._server.ask(SessionView, "POST", f"{self._path}/fork", body)
        return ClientSession(self._server, view.id, self._system if view.length == 0 else None)

    async def rollback(self, length: int | None = None, *, turn_id: str | None = None) -> SessionView:
        """Cut the context back to a length in tokens, or to right before a turn."""
        body = _place(length, turn_id)
        return await self._server.ask(SessionView, "POST", f"{self._path}/rollback", body)

    async def close(self) -> None:
        """End the session. Idempotent."""
        await self._server.send("DELETE", self._path)

    async def _tell(self, message: dict[str, Any]) -> None:
        """Send a message that is not answered, on a connection of its own or an idle one."""
        try:
            async with self._server.socket(self.session_id) as socket:
                await socket.send(json.dumps(message))
        except (WebSocketException, OSError, TimeoutError) as error:
            raise unreachable(self._server.url, error) from error

    @property
    def _path(self) -> str:
        return f"/api/sessions/{self.session_id}"

    def _answer(self, request: dict[str, Any]) -> Answer:
        socket = partial(self._server.socket, self.session_id)
        return Answer(self.session_id, request, socket, self._server.new_patience())

    def _request(
        self, prompt: str | Message | Sequence[Message] | None, text: str | None, turn_id: str | None
    ) -> dict[str, Any]:
        request: dict[str, Any] = {"type": "generate", "turn_id": turn_id or uuid4().hex}
        if text is not None:
            return {**request, "text": text}
        messages = self._messages(prompt)
        bodies = [_message_body(message) for message in messages]
        return {**request, "messages": bodies} if bodies else request

    def _begin(self, request: dict[str, Any]) -> Answer:
        answer = self._answer(request)
        if self._opening is None or not self._opening.has_started:
            self._opening = answer
        return answer

    def _messages(self, prompt: str | Message | Sequence[Message] | None) -> list[Message]:
        """The prompt's messages; before the first turn has started, with the system prompt in front."""
        if prompt is None:
            return []
        if isinstance(prompt, str):
            prompt = Message("user", prompt)
        messages = [prompt] if isinstance(prompt, Message) else list(prompt)
        is_first = self._opening is None or not self._opening.has_started
        return [Message("system", self._system), *messages] if self._system and is_first else messages


def _message_body(message: Message) -> dict[str, Any]:
    """The message, without what it has not."""
    body = {name: value for name, value in asdict(message).items() if value}
    return {**body, "content": message.content}


def _sampling_body(sampling: Sampling) -> dict[str, Any]:
    return {**asdict(sampling), "logit_bias": {str(token): bias for token, bias in sampling.logit_bias}}


def _constraint_body(constraint: Constraint) -> dict[str, Any]:
    match constraint:
        case JsonSchema(schema):
            return {"json_schema": json.loads(schema)}
        case Regex(pattern):
            return {"regex": pattern}
        case Choice(options):
            return {"choice": list(options)}
        case Grammar(ebnf):
            return {"grammar": ebnf}


def _place(length: int | None, turn_id: str | None) -> dict[str, Any]:
    """The body of a fork or a rollback."""
    return {name: value for name, value in (("length", length), ("turn_id", turn_id)) if value is not None}
