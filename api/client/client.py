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
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4
from weakref import WeakSet

from websockets.asyncio.client import connect

from api.client.agent import ClientAgent, ClientTask, ClientThread
from api.client.instance import ClientInstance
from api.client.server import Server
from api.client.session import ClientSession
from api.client.subscription import ClientSubscription, message_body, named_path
from api.cluster import Retention
from api.errors import GreenroomError, InvalidRequest, reason_of
from api.names import TopicId
from api.queues import QueueInfo
from api.topics import Cursor, TopicInfo
from api.values import Value, snapshot
from api.wire.inferlet_views import InferletSummaryView, InferletsView, InferletView, ProgramsView, ProgramView
from api.wire.thread_views import AgentsView, AgentView, ThreadsView, ThreadView
from api.wire.topic_views import PublishedView, QueuesView, TopicsView
from api.wire.views import ModelsView, ModelView, SessionsView, SessionView, SummaryView


class Client:
    """What a server can be asked. Use it as an async context manager, or ``close`` it.

    Args:
        base_url: where the server is, with its prefix if it has one.
        timeout_s: for one request, and for opening a connection.
        patience_s: how long an answer goes on trying without any progress.
    """

    def __init__(
        self, base_url: str, api_key: str | None = None, *, timeout_s: float = 30.0, patience_s: float = 60.0
    ) -> None:
        self._server = Server(base_url, api_key, timeout_s, patience_s)
        self._instances: WeakSet[ClientInstance] = WeakSet()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; sessions and inferlets stay on the server."""
        await asyncio.gather(*(instance.detach() for instance in self._instances))
        await self._server.close()

    def agent(self, name: str) -> ClientAgent:
        """An agent, to be prompted."""
        return ClientAgent(self._server, name)

    async def agents(self) -> tuple[AgentView, ...]:
        """The agents that can be prompted."""
        return (await self._server.ask(AgentsView, "GET", "/api/agents")).agents

    async def upload_agents(self, path: str | Path) -> tuple[AgentView, ...]:
        """Upload a Python file with agents.

        Raises:
            InvalidRequest, NameTaken, Forbidden
        """
        source = await asyncio.to_thread(Path(path).read_text)
        body = {"source": source, "file": Path(path).name}
        return (await self._server.ask(AgentsView, "POST", "/api/agents", body)).agents

    async def threads(self) -> tuple[ThreadView, ...]:
        """The caller's threads, the latest used first."""
        return (await self._server.ask(ThreadsView, "GET", "/api/threads")).threads

    def thread(self, thread_id: str) -> ClientThread:
        """A thread that was begun earlier; whether it is still there shows with its first use."""
        return ClientThread(self._server, thread_id)

    def task(self, run_id: str) -> ClientTask:
        """A run that was begun earlier."""
        return ClientTask(self._server, run_id)

    async def models(self) -> tuple[ModelView, ...]:
        """The models, the default one first."""
        return (await self._server.ask(ModelsView, "GET", "/api/models")).models

    async def sessions(self) -> tuple[SummaryView, ...]:
        """The caller's sessions, the latest used first."""
        return (await self._server.ask(SessionsView, "GET", "/api/sessions")).sessions

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
        view = await self._server.ask(SessionView, "POST", "/api/sessions", body)
        return ClientSession(self._server, view.id, system)

    def session(self, session_id: str) -> ClientSession:
        """A session that was opened earlier; whether it is still there shows with its first use."""
        return ClientSession(self._server, session_id)

    async def publish(self, topic: str, message: Value) -> PublishedView:
        """Append a message to a topic; its position, and how many read it. After ``Unavailable`` it may be there.

        Raises:
            InvalidRequest, TooLarge, TooBusy, Unavailable
        """
        content, content_type = message_body(snapshot(message))
        response = await self._server.request(
            "POST", named_path("topics", topic), content=content, headers={"Content-Type": content_type}
        )
        return PublishedView.model_validate_json(response.content)

    async def delete_topic(self, topic: str) -> None:
        """Delete a topic with its messages; its readers get ``TopicNotFound``.

        Raises:
            TopicNotFound: there is none of this name.
            Forbidden: it is everybody's.
        """
        await self._server.request("DELETE", named_path("topics", topic))

    async def subscribe(self, topic: str, *, after: Cursor | None = None, replay: bool = True) -> ClientSubscription:
        """Read a topic, from the oldest message that is retained, or from the next one, or after a place.

        Raises:
            InvalidRequest, TooBusy, Unavailable
        """
        open_stream = partial(self._server.stream, f"{named_path('topics', topic)}/events")
        subscription = ClientSubscription(TopicId(topic), open_stream, self._server.new_patience(), after, replay)
        await subscription.opened()
        return subscription

    async def topics(self) -> tuple[TopicInfo, ...]:
        """The caller's topics and the public ones, by name."""
        return tuple(view.info() for view in (await self._server.ask(TopicsView, "GET", "/api/topics")).topics)

    async def delete_queue(self, queue: str) -> None:
        """Delete a queue with its items, held ones too.

        Raises:
            QueueNotFound: there is none of this name.
            Forbidden: it is everybody's.
        """
        await self._server.request("DELETE", named_path("queues", queue))

    async def queues(self) -> tuple[QueueInfo, ...]:
        """The caller's queues and the public ones, by name."""
        return tuple(view.info() for view in (await self._server.ask(QueuesView, "GET", "/api/queues")).queues)

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
        view = await self._server.ask(ProgramView, "POST", "/api/programs", {"source": source, "file": path.name})
        return view.program

    async def program_exists(self, program: str) -> bool:
        """Whether a program of this hash (or ``module:function``) can be launched."""
        return any(known.program == program for known in await self.list_programs())

    async def list_programs(self) -> tuple[ProgramView, ...]:
        """What can be launched."""
        return (await self._server.ask(ProgramsView, "GET", "/api/programs")).programs

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
        patience = self._server.new_patience()
        while True:
            try:
                view = await self._server.ask(InferletView, "POST", "/api/inferlets", body)
                return self._attached(view.id, -1)
            except GreenroomError as error:
                await patience.outlast(error)

    async def attach_instance(self, instance_id: str, after: int | None = None) -> ClientInstance:
        """Attach to an inferlet, and receive its events after a position; from the first one on, without.

        Raises:
            InferletNotFound: it is not there, or somebody else's.
        """
        view = await self._server.ask(InferletView, "GET", f"/api/inferlets/{quote(instance_id, safe='')}")
        return self._attached(view.id, -1 if after is None else after)

    async def list_instances(self) -> tuple[InferletSummaryView, ...]:
        """The caller's inferlets, the latest used first."""
        return (await self._server.ask(InferletsView, "GET", "/api/inferlets")).inferlets

    async def terminate_instance(self, instance_id: str) -> InferletView:
        """End an inferlet; one that has ended stays as it is.

        Raises:
            InferletNotFound: it is not there, or somebody else's.
        """
        return await self._server.ask(InferletView, "DELETE", f"/api/inferlets/{quote(instance_id, safe='')}")

    def _attached(self, instance_id: str, after: int) -> ClientInstance:
        path = f"/api/inferlets/{instance_id}"

        def open_socket(position: int) -> connect:
            return self._server.open_socket(f"{path}?after={position}")

        async def ask(method: str) -> InferletView:
            return await self._server.ask(InferletView, method, path)

        instance = ClientInstance(instance_id, open_socket, ask, after, self._server.new_patience())
        self._instances.add(instance)
        return instance
