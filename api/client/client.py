"""The Python client: sessions and inferlets over HTTP and WebSocket, from outside the cluster.

    async with Client("http://localhost:8000") as client:
        session = await client.open_session(system="Answer in one sentence.")
        async for piece in session.generate("Hello, I am Ada."):
            print(piece, end="", flush=True)
        print(await session.generate("What is my name?"))

Answers survive lost connections and restarted servers: the client comes back and goes on at its offset. All errors are
those of ``api.errors``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4
from weakref import WeakSet

import httpx
from websockets.asyncio.client import ClientConnection, connect

from api.client.instance import ClientInstance
from api.client.remote_errors import error_of
from api.client.retries import Patience, unreachable
from api.client.session import ClientSession
from api.client.subscription import SILENCE_S, ClientSubscription, message_body, named_path
from api.cluster import Retention
from api.errors import GreenroomError, InvalidRequest, Unavailable, reason_of
from api.names import TopicId
from api.queues import QueueInfo
from api.topics import Cursor, TopicInfo
from api.values import Value, snapshot
from api.wire.inferlet_views import InferletSummaryView, InferletsView, InferletView, ProgramsView, ProgramView
from api.wire.topic_views import PublishedView, QueuesView, TopicsView
from api.wire.views import ModelsView, ModelView, SessionsView, SessionView, SummaryView, View

MAX_IDLE_SOCKETS = 64
"""Connections that a client keeps between answers, one a session; it closes what comes after."""

CLOSE_TIMEOUT_S = 0.1
"""For the server's answer to a close, which does not come before all that it has sent and nobody reads."""

AnyView = TypeVar("AnyView", bound=View)


class Client:
    """One server. Use it as an async context manager, or ``close`` it.

    Args:
        base_url: where the server is, with its prefix if it has one.
        timeout_s: for one request, and for opening a connection.
        patience_s: how long an answer goes on trying without any progress.
    """

    def __init__(
        self, base_url: str, api_key: str | None = None, *, timeout_s: float = 30.0, patience_s: float = 60.0
    ) -> None:
        self.url = str(httpx.URL(base_url.rstrip("/")).copy_with(userinfo=b""))
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(base_url=base_url.rstrip("/"), headers=self._headers, timeout=timeout_s)
        self._socket_url = "ws" + base_url.rstrip("/").removeprefix("http")
        self._timeout_s = timeout_s
        self._idle: dict[str, ClientConnection] = {}
        self._instances: WeakSet[ClientInstance] = WeakSet()
        self.patience_s = patience_s

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; sessions and inferlets stay on the server."""
        await asyncio.gather(*(instance.detach() for instance in self._instances))
        await self._http.aclose()
        idle, self._idle = self._idle, {}
        await asyncio.gather(*(socket.close() for socket in idle.values()))

    def new_patience(self) -> Patience:
        """For one answer, or one stream of events."""
        return Patience(self.patience_s, self.url)

    async def models(self) -> tuple[ModelView, ...]:
        """The models, the default one first."""
        return (await self.ask(ModelsView, "GET", "/api/models")).models

    async def sessions(self) -> tuple[SummaryView, ...]:
        """The caller's sessions, the latest used first."""
        return (await self.ask(SessionsView, "GET", "/api/sessions")).sessions

    async def open_session(
        self,
        model: str | None = None,
        *,
        system: str | None = None,
        retention: Retention | None = None,
        max_context: int | None = None,
        idle_timeout_s: float | None = None,
        adapter: str | None = None,
        title: str | None = None,
    ) -> ClientSession:
        """A new session. ``system`` becomes the first message of its first turn; ``adapter`` is one of the model's.

        Without a ``title`` it gets one of its first message.

        Raises:
            ModelNotFound, InvalidRequest, UnknownAdapter, TooBusy, Unavailable
        """
        options = {"model": model, "max_context": max_context, "idle_timeout_s": idle_timeout_s, "adapter": adapter}
        given = {**options, "title": title}
        body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if retention is not None:
            body["retention"] = {"policy": retention.policy, "threshold": retention.threshold}
        view = await self.ask(SessionView, "POST", "/api/sessions", body)
        return ClientSession(self, view.id, system)

    def session(self, session_id: str) -> ClientSession:
        """A session that was opened earlier; whether it is still there shows with its first use."""
        return ClientSession(self, session_id)

    async def publish(self, topic: str, message: Value) -> PublishedView:
        """Append a message to a topic; its position, and how many read it. After ``Unavailable`` it may be there.

        Raises:
            InvalidRequest, TooLarge, TooBusy, Unavailable
        """
        content, content_type = message_body(snapshot(message))
        response = await self._send(
            "POST", named_path("topics", topic), content=content, headers={"Content-Type": content_type}
        )
        return PublishedView.model_validate_json(response.content)

    async def delete_topic(self, topic: str) -> None:
        """Delete a topic with its messages; those who read it get ``TopicNotFound``.

        Raises:
            TopicNotFound: there is none of this name.
            Forbidden: it is everybody's.
        """
        await self._send("DELETE", named_path("topics", topic))

    async def subscribe(self, topic: str, *, after: Cursor | None = None, replay: bool = True) -> ClientSubscription:
        """Read a topic, from the oldest message that is retained, or from the next one, or behind a place.

        Raises:
            InvalidRequest, TooBusy, Unavailable
        """
        open_stream = partial(self._stream, f"{named_path('topics', topic)}/events")
        subscription = ClientSubscription(TopicId(topic), open_stream, self.new_patience(), after, replay)
        await subscription.opened()
        return subscription

    async def topics(self) -> tuple[TopicInfo, ...]:
        """The caller's topics and the public ones, by name."""
        return tuple(view.info() for view in (await self.ask(TopicsView, "GET", "/api/topics")).topics)

    async def delete_queue(self, queue: str) -> None:
        """Delete a queue with its items, those in the hands of consumers too.

        Raises:
            QueueNotFound: there is none of this name.
            Forbidden: it is everybody's.
        """
        await self._send("DELETE", named_path("queues", queue))

    async def queues(self) -> tuple[QueueInfo, ...]:
        """The caller's queues and the public ones, by name."""
        return tuple(view.info() for view in (await self.ask(QueuesView, "GET", "/api/queues")).queues)

    async def ask(self, kind: type[AnyView], method: str, path: str, body: dict[str, Any] | None = None) -> AnyView:
        """One request. For ``ClientSession``."""
        response = await self.send(method, path, body)
        return kind.model_validate_json(response.content)

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """One request, its answer unread. For ``ClientSession``."""
        return await self._send(method, path, json=body)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.ReadTimeout as error:
            raise Unavailable(
                f"the server at {self.url} has not answered {method} {path} within {self._timeout_s:g} s"
            ) from error
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
        _check(response)
        return response

    @asynccontextmanager
    async def _stream(self, path: str, query: dict[str, str]) -> AsyncIterator[httpx.Response]:
        timeout = httpx.Timeout(self._timeout_s, read=SILENCE_S)
        async with self._http.stream("GET", path, params=query, timeout=timeout) as response:
            if not response.is_success:
                await response.aread()
            _check(response)
            yield response

    async def upload_program(self, program: str | Path) -> str:
        """Give the server a program, by its file; its hash, to launch it with.

        Raises:
            InvalidRequest: it is not Python, in UTF-8, or has no ``@inferlet``.
            Forbidden: the server does not take programs from here.
        """
        path = Path(program)
        try:
            source = await asyncio.to_thread(path.read_text, "utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{path.name} is not UTF-8: {reason_of(error)}") from None
        view = await self.ask(ProgramView, "POST", "/api/programs", {"source": source, "file": path.name})
        return view.program

    async def program_exists(self, program: str) -> bool:
        """Whether a program of this hash (or ``module:function``) can be launched."""
        return any(known.program == program for known in await self.list_programs())

    async def list_programs(self) -> tuple[ProgramView, ...]:
        """What can be launched."""
        return (await self.ask(ProgramsView, "GET", "/api/programs")).programs

    async def launch_instance(
        self, program: str, arguments: Sequence[str] = (), name: str | None = None
    ) -> ClientInstance:
        """Start a program, and attach to it. Asks again, for the same one, while the server has no room or no answer.

        Raises:
            ProgramNotFound
            TooBusy, Unavailable: for as long as this client has patience.
        """
        body: dict[str, Any] = {"program": program, "arguments": list(arguments), "request_id": uuid4().hex}
        if name:
            body["name"] = name
        patience = self.new_patience()
        while True:
            try:
                view = await self.ask(InferletView, "POST", "/api/inferlets", body)
                return self._attached(view.id, -1)
            except GreenroomError as error:
                if not error.retryable:
                    raise
                await patience.wait(error, error.retry_after_s or 0.0)

    async def attach_instance(self, instance_id: str, after: int | None = None) -> ClientInstance:
        """Attach to an inferlet, and receive its events behind a position; from the first one on, without.

        Raises:
            InferletNotFound: it is not there, or somebody else's.
        """
        view = await self.ask(InferletView, "GET", f"/api/inferlets/{quote(instance_id, safe='')}")
        return self._attached(view.id, -1 if after is None else after)

    async def list_instances(self) -> tuple[InferletSummaryView, ...]:
        """The caller's inferlets, the latest used first."""
        return (await self.ask(InferletsView, "GET", "/api/inferlets")).inferlets

    async def terminate_instance(self, instance_id: str) -> InferletView:
        """End an inferlet; one that has ended stays as it is.

        Raises:
            InferletNotFound: it is not there, or somebody else's.
        """
        return await self.ask(InferletView, "DELETE", f"/api/inferlets/{quote(instance_id, safe='')}")

    def _attached(self, instance_id: str, after: int) -> ClientInstance:
        path = f"/api/inferlets/{instance_id}"

        def open_socket(position: int) -> connect:
            return self._open(f"{path}?after={position}")

        async def ask(method: str) -> InferletView:
            return await self.ask(InferletView, method, path)

        instance = ClientInstance(instance_id, open_socket, ask, after, self.new_patience())
        self._instances.add(instance)
        return instance

    @asynccontextmanager
    async def socket(self, session_id: str) -> AsyncIterator[ClientConnection]:
        """A connection to a session, the idle one if there is one; kept for the next use unless an exception ends this.

        For ``ClientSession``.
        """
        socket = self._idle.pop(session_id, None) or await self._connect(session_id)
        try:
            yield socket
        except BaseException:
            await socket.close()
            raise
        if session_id in self._idle or len(self._idle) >= MAX_IDLE_SOCKETS:
            await socket.close()
        else:
            self._idle[session_id] = socket

    async def _connect(self, session_id: str) -> ClientConnection:
        return await self._open(f"/api/sessions/{session_id}?turns=own")

    def _open(self, path: str) -> connect:
        return connect(
            self._socket_url + path,
            additional_headers=self._headers,
            open_timeout=self._timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=None,
        )


def _check(response: httpx.Response) -> None:
    """Raise what an answer says that is an error."""
    if response.is_success:
        return
    try:
        problem = response.json()["error"]
        code, sentence = problem["code"], problem["message"]
    except (ValueError, KeyError, TypeError):
        raise Unavailable(f"the server answered {response.status_code}") from None
    raise error_of(code, sentence)
