"""Settings that are exchanged while the application runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from websockets.asyncio.client import ClientConnection, connect

from api.http.app import build_app, reconfigure
from api.names import TopicId
from api.settings import ApiKey, ApiSettings, OpenAISettings, PetalsSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.session_client import Sent, Wire, new_session, wire_to

ADA, BOB = (ApiKey.of(f"key-of-{owner}", owner) for owner in ("ada", "bob"))
BOTH, OPEN, WITHOUT_ADA = ApiSettings(api_keys=(ADA, BOB)), ApiSettings(), ApiSettings(api_keys=(BOB,))


def key(owner: str) -> dict[str, str]:
    return {"Authorization": f"Bearer key-of-{owner}"}


class Served:
    """An application that is served, and its clients."""

    def __init__(self, cluster: FakeCluster, app: Starlette, base_url: str, stack: AsyncExitStack) -> None:
        self.cluster, self.app, self.base_url, self._stack = cluster, app, base_url, stack

    def now(self, settings: ApiSettings) -> None:
        """Exchange the settings."""
        reconfigure(self.app, settings)

    async def client(self, owner: str = "") -> httpx.AsyncClient:
        """Of an owner's key."""
        client = httpx.AsyncClient(base_url=self.base_url, headers=key(owner) if owner else {})
        return await self._stack.enter_async_context(client)

    async def status(self, owner: str = "", path: str = "/api/sessions") -> int:
        """Of a call with an owner's key."""
        return (await (await self.client(owner)).get(path)).status_code

    async def socket(self, path: str, owner: str = "") -> ClientConnection:
        """An open socket."""
        url = self.base_url.replace("http", "ws") + path
        return await self._stack.enter_async_context(connect(url, additional_headers=key(owner) if owner else {}))

    async def wire(self, session_id: str, owner: str = "") -> Wire:
        """A socket to a session."""
        headers = key(owner) if owner else {}
        return await self._stack.enter_async_context(wire_to(self.base_url, session_id, additional_headers=headers))

    async def events(self, owner: str) -> AsyncIterator[str]:
        """The lines of a stream of the topic "news"; it is open when this returns."""
        client = await self.client(owner)
        response = await self._stack.enter_async_context(client.stream("GET", "/api/topics/news/events"))
        assert response.status_code == 200
        return response.aiter_lines()


@asynccontextmanager
async def served(settings: ApiSettings, *routes: Route) -> AsyncIterator[Served]:
    cluster = FakeCluster()
    app = build_app(cluster, settings, routes)
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(serving(app))
        yield Served(cluster, app, base_url, stack)


async def runs_a_turn(wire: Wire) -> bool:
    await wire.send(type="generate", text="x", max_tokens=3)
    finished: Sent = (await wire.until("finished"))[-1]
    return bool(finished["usage"]["output_tokens"] == 3)


async def test_keys_count_or_do_not_from_the_next_request_on() -> None:
    async with served(WITHOUT_ADA) as server:
        assert (await server.status("ada"), await server.status("bob"), await server.status()) == (401, 200, 401)
        server.now(BOTH)
        assert (await server.status("ada"), await server.status("bob")) == (200, 200)
        of_bob = await new_session(server.cluster, "bob")
        server.now(ApiSettings(api_keys=(ADA.model_copy(update={"owner": "bob"}),)))
        sessions = (await (await server.client("ada")).get("/api/sessions")).json()["sessions"]
        assert ([one["id"] for one in sessions], await server.status("bob")) == ([of_bob], 401)
        server.now(OPEN)
        assert await server.status() == 200


SOCKETS = {
    "a session": "/api/sessions/{session}",
    "an inferlet": "/api/inferlets/{inferlet}",
    "responses": "/v1/responses",
    "Petals": "/api/v2/generate",
}


@pytest.mark.parametrize("path", SOCKETS.values(), ids=SOCKETS.keys())
async def test_a_revoked_key_closes_its_sockets_as_a_missing_one_does(path: str) -> None:
    async with served(BOTH) as server:
        sockets = {}
        for owner in ("ada", "bob"):
            session_id, inferlet = await new_session(server.cluster, owner), await an_inferlet(server.cluster, owner)
            sockets[owner] = await server.socket(path.format(session=session_id, inferlet=inferlet), owner)
        server.now(WITHOUT_ADA)
        await sockets["ada"].wait_closed()
        assert sockets["ada"].close_code == 1008
        await (await sockets["bob"].ping())
        without_a_key = await server.socket(path.format(session="0", inferlet="0"))
        await without_a_key.wait_closed()
        assert without_a_key.close_code == 1008


async def an_inferlet(cluster: FakeCluster, owner: str) -> str:
    program = await cluster.upload_program("from api.inferlet import inferlet", "chat.py", owner)
    return (await cluster.launch(program, (), owner)).instance_id


async def test_a_socket_is_told_why_even_while_a_turn_runs_on_it() -> None:
    async with served(BOTH) as server:
        server.cluster.pace.hold()
        wire = await server.wire(await new_session(server.cluster, "ada"), "ada")
        await wire.send(type="generate", text="x", max_tokens=3)
        await wire.until("started")
        server.now(WITHOUT_ADA)
        last: Sent = (await wire.until("error"))[-1]
        assert (last["code"], last["message"], await wire.close_code()) == (
            "unauthorized",
            "this API key was revoked",
            1008,
        )


async def test_a_revoked_key_breaks_its_streams_and_no_others() -> None:
    async with served(BOTH) as server:
        of_ada, of_bob = await server.events("ada"), await server.events("bob")
        server.now(WITHOUT_ADA)
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in of_ada:
                pass
        while server.cluster.topics.subscribers[TopicId("news", "ada")]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await server.cluster.topics.publish(TopicId("news", "bob"), "still here")
        assert [line async for line in until("still here", of_bob)]
        assert await server.status("ada", "/api/topics/news/events") == 401


async def until(text: str, lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if text in line:
            return


async def test_an_answer_that_streams_ends_with_its_turn_and_a_call_that_does_not_goes_on() -> None:
    async with served(BOTH) as server:
        server.cluster.pace.hold()
        asked: dict[str, Any] = {"model": "toy", "prompt": "x", "max_tokens": 3}
        call = asyncio.create_task((await server.client("ada")).post("/v1/completions", json=asked))
        await server.cluster.begun.acquire()
        client = await server.client("ada")
        async with client.stream("POST", "/v1/completions", json={**asked, "stream": True}) as stream:
            await server.cluster.begun.acquire()
            server.now(WITHOUT_ADA)
            with pytest.raises(httpx.RemoteProtocolError):
                await stream.aread()
        await server.cluster.turns[1].ended.wait()
        server.cluster.pace.release()
        assert (await call).json()["choices"][0]["finish_reason"] == "length"


async def test_a_stream_that_would_begin_after_its_key_was_revoked_is_refused() -> None:
    async with served(BOTH) as server:
        revoked, generate = asyncio.Event(), server.cluster.generate

        async def after_others(*arguments: Any, **named: Any) -> Any:
            for _ in range(10):
                await asyncio.sleep(0)
            return await generate(*arguments, **named)

        server.cluster.generate = after_others  # type: ignore[method-assign]

        async def body() -> AsyncIterator[bytes]:
            yield b'{"model": "toy", "prompt": "x",'
            await revoked.wait()
            yield b'"max_tokens": 3, "stream": true}'

        client = await server.client("ada")
        call = asyncio.create_task(client.post("/v1/completions", content=body()))
        while not server.app.state.opened:  # noqa: ASYNC110
            await asyncio.sleep(0)
        server.now(WITHOUT_ADA)
        revoked.set()
        assert (await call).status_code == 401


async def test_what_is_open_stays_open_and_keeps_its_owner_when_keys_come_and_go() -> None:
    async with served(OPEN) as server:
        anonymous = await server.wire(await new_session(server.cluster))
        server.now(BOTH)
        assert await runs_a_turn(anonymous)
        of_ada = await server.wire(await new_session(server.cluster, "ada"), "ada")
        await of_ada.send(type="ping")
        await of_ada.until("pong")
        server.now(OPEN)
        assert await runs_a_turn(of_ada)
        server.now(WITHOUT_ADA)
        assert await of_ada.close_code() == 1008
        assert await runs_a_turn(anonymous)


async def test_a_key_that_becomes_another_owners_closes_what_it_opened_for_the_first() -> None:
    async with served(BOTH) as server:
        of_ada = await server.wire(await new_session(server.cluster, "ada"), "ada")
        server.now(ApiSettings(api_keys=(ADA.model_copy(update={"owner": "eve"}), BOB)))
        assert await of_ada.close_code() == 1008


async def test_new_limits_count_what_is_open_and_close_nothing() -> None:
    async with served(ApiSettings(max_sockets=3)) as server:
        session_id = await new_session(server.cluster)
        wires = [await server.wire(session_id) for _ in range(2)]
        server.now(ApiSettings(max_sockets=2))
        assert await (await server.wire(session_id)).close_code() == 1013
        server.now(ApiSettings(max_sockets=1))
        await wires.pop().socket.close()
        assert await (await server.wire(session_id)).close_code() == 1013
        server.now(ApiSettings(max_sockets=2))
        wires.append(await server.wire(session_id))
        assert await (await server.wire(session_id)).close_code() == 1013
        assert [await runs_a_turn(wire) for wire in wires] == [True, True]


async def test_the_share_of_one_owner_counts_what_it_has_open() -> None:
    async with served(ApiSettings(api_keys=(ADA, BOB), max_streams=4, owner_share=0.5)) as server:
        lines = await server.events("ada")
        server.now(ApiSettings(api_keys=(ADA, BOB), max_streams=4, owner_share=0.25))
        assert await server.status("ada", "/api/topics/news/events") == 429
        await server.cluster.topics.publish(TopicId("news", "ada"), "still here")
        assert [line async for line in until("still here", lines)]


async def test_all_other_settings_count_from_the_next_request_on() -> None:
    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    async with served(OPEN, Route("/echo", echo, methods=["POST"])) as server:
        client, page = await server.client(), {"Origin": "https://chat.example.org"}
        wire = await server.wire(await new_session(server.cluster))
        assert (await client.get("/api/models", headers=page)).status_code == 403
        server.now(ApiSettings(cors_origins=("https://chat.example.org/",), max_body_bytes=1024, max_prompt_chars=10))
        shared = await client.get("/api/models", headers=page)
        assert shared.headers["access-control-allow-origin"] == "https://chat.example.org"
        assert [(await client.post("/echo", content=b"x" * size)).status_code for size in (1024, 1025)] == [200, 413]
        await wire.send(type="generate", text="more than ten", max_tokens=1)
        assert (await wire.receive())["code"] == "too_large"
        server.now(OPEN)
        assert (await client.post("/echo", content=b"x" * 1025)).status_code == 200
        assert await runs_a_turn(wire)


async def test_uploads_and_the_description_of_the_calls_follow_the_keys() -> None:
    proxied, program = {"Via": "1.1 proxy"}, {"source": "from api.inferlet import inferlet", "file": "chat.py"}
    async with served(BOTH) as server:
        client = await server.client("ada")
        assert (await client.post("/api/programs", json=program, headers=proxied)).status_code == 403
        assert '"security"' in (await client.get("/openapi.json")).text
        server.now(ApiSettings(api_keys=(ADA,), allow_upload=True))
        assert (await client.post("/api/programs", json=program, headers=proxied)).status_code == 201
        server.now(OPEN)
        assert (await client.post("/api/programs", json=program, headers=proxied)).status_code == 403
        assert '"security"' not in (await client.get("/openapi.json")).text


async def test_limits_of_petals_and_of_openai_count_from_the_next_call_on() -> None:
    async with served(OPEN) as server:
        client = await server.client()
        await client.get("/api/v1/open_inference_session")
        server.now(ApiSettings(petals=PetalsSettings(max_sessions=1), openai=OpenAISettings(retention_days=2)))
        refused = (await client.get("/api/v1/open_inference_session")).json()
        assert "Too many opened inference sessions (max 1)" in refused["traceback"]
        answer = await client.post("/v1/responses", json={"model": "toy", "input": "x", "max_output_tokens": 16})
        assert answer.status_code == 200
        [*_, stored] = server.cluster.open_sessions.values()
        assert stored.options.idle_timeout_s == 2 * 86_400.0


async def test_a_socket_of_petals_takes_new_limits_with_its_next_message() -> None:
    async with served(OPEN) as server:
        socket = await server.socket("/api/v2/generate")
        await socket.send(json.dumps({"type": "open_inference_session", "model": "toy", "max_length": 30}))
        assert json.loads(await socket.recv())["ok"]
        server.now(ApiSettings(max_prompt_chars=3))
        await socket.send(json.dumps({"type": "generate", "inputs": "more", "max_new_tokens": 1}))
        assert not json.loads(await socket.recv())["ok"]
