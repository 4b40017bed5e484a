from __future__ import annotations

import asyncio
import re

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from api.errors import CapacityExhausted
from api.settings import ApiKey, ApiSettings, PetalsSettings
from api.turns import Finish
from tests.api import toy_model
from tests.api.fake_cluster import FakeCluster
from tests.api.http.petals.client import NEVER, SocketClient, text_of
from tests.api.http.petals.toy_server import continuation, only_session, toy_client

KEYS = ApiSettings(api_keys=(ApiKey.model_validate({"key": "key-of-ada", "owner": "ada"}),))


async def test_leaving_closes_the_session_and_cancels_what_runs() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_client(cluster) as client:
        async with client.session() as socket:
            await socket.send(type="generate", inputs="Q", max_new_tokens=1, stop_sequence=NEVER)
            cluster.pace.allow(1)
            await socket.receive()
            session = only_session(cluster)
        async with asyncio.timeout(30):
            await session.closed.wait()
            await cluster.turns[0].ended.wait()
    assert cluster.turns[0].finish == Finish("cancelled")
    assert not cluster.open_sessions


async def test_cancel_keeps_the_session_with_what_was_delivered_and_what_is_queued_follows() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_client(cluster) as client, client.session() as socket:
        await socket.send(type="generate", inputs="Q", max_new_tokens=2, stop_sequence=NEVER)
        await socket.send(type="generate", inputs="R", max_new_tokens=2)
        cluster.pace.allow(3)
        messages = [await socket.receive()]
        await cluster.begun.acquire()
        await cluster.turns[0].has_sampled(3)
        await socket.send(type="cancel")
        messages += await socket.rest()
        assert [(message["token_count"], message["stop"]) for message in messages] == [(2, False), (1, True)]
        cluster.pace.allow(2)
        second = text_of(await socket.rest())
        delivered = continuation([ord("Q")], 3)
        assert text_of(messages) == delivered
        assert second == continuation(list(toy_model.encode("Q" + delivered + "R")), 2)


async def test_cancel_of_an_answer_in_one_piece_gives_what_there_is() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_client(cluster) as client, client.session() as socket:
        await socket.send(type="generate", inputs="Q", max_new_tokens=9)
        await socket.send(type="cancel")
        assert await socket.receive() == {"ok": True, "outputs": "", "stop": True, "token_count": 0}
        assert only_session(cluster).ids == [ord("Q")]


async def test_typing_reaches_the_session() -> None:
    cluster = FakeCluster()
    async with toy_client(cluster) as client, client.session() as socket:
        await socket.send(type="typing")
        await socket.generate(inputs="Q", max_new_tokens=1)
        assert only_session(cluster).num_typing == 1


async def test_a_silent_socket_is_told_that_its_session_has_expired() -> None:
    settings = ApiSettings(petals=PetalsSettings(idle_timeout_s=1))
    cluster = FakeCluster()
    async with toy_client(cluster, settings) as client:
        async with client.session() as socket:
            await socket.generate(inputs="Q", max_new_tokens=1)
            assert re.search(r"Session .+ expired", await socket.failure())
        async with client.connect() as unopened:
            assert re.search(r"Session .+ expired", await unopened.failure())
    assert not cluster.open_sessions


async def test_a_running_generation_is_no_silence_and_typing_is_use() -> None:
    settings = ApiSettings(petals=PetalsSettings(idle_timeout_s=1.5))
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_client(cluster, settings) as client, client.session() as socket:
        await socket.send(type="generate", inputs="Q", max_new_tokens=1)
        await asyncio.sleep(2)
        cluster.pace.allow(1)
        assert text_of(await socket.rest())
        for _ in range(3):
            await asyncio.sleep(0.6)
            await socket.send(type="typing")
        cluster.pace.allow(1)
        assert text_of(await socket.generate(inputs="Q", max_new_tokens=1))


async def test_more_than_may_wait_is_refused_with_try_again_later() -> None:
    for settings, inputs in (
        (ApiSettings(petals=PetalsSettings(max_pending_messages=3)), "Q"),
        (ApiSettings(max_body_bytes=1024), 300 * "Q"),
    ):
        cluster = FakeCluster()
        cluster.pace.hold()
        async with toy_client(cluster, settings) as client, client.session() as socket:
            for _ in range(5):
                await socket.send(type="generate", inputs=inputs, max_new_tokens=1)
            message = await socket.receive()
            assert message["traceback"] == "RuntimeError: too many messages are waiting to be served"
            assert await socket.close_code() == 1013
        assert not cluster.open_sessions


async def test_a_message_or_a_prompt_that_is_too_long_is_an_error() -> None:
    settings = ApiSettings(max_body_bytes=1024, max_prompt_chars=100)
    async with toy_client(FakeCluster(), settings) as client:
        async with client.session() as socket:
            assert "1024 bytes" in await socket.failure(type="generate", inputs=2000 * "Q", max_new_tokens=1)
        for long in (
            {"inputs": 101 * "Q"},
            {"inputs": "Q", "stop_sequence": 101 * "x"},
            {"inputs": "Q", "stop_sequence": "x", "extra_stop_sequences": ["x"] * 20},
        ):
            async with client.session() as socket:
                assert "100 characters" in await socket.failure(type="generate", max_new_tokens=1, **long)


async def test_errors_of_the_cluster_are_named_as_clients_know_them() -> None:
    cluster = FakeCluster()
    async with toy_client(cluster) as client, client.session() as socket:
        cluster.refusal = CapacityExhausted()
        assert "attention cache is full" in await socket.failure(type="generate", inputs="Q", max_new_tokens=1)


async def test_a_session_that_is_gone_has_expired() -> None:
    cluster = FakeCluster()
    async with toy_client(cluster) as client, client.session() as socket:
        await only_session(cluster).close()
        traceback = await socket.failure(type="generate", inputs="Q", max_new_tokens=1)
    assert re.fullmatch(r"""KeyError: "Session '[0-9a-f]{32}' expired or does not exist\"""", traceback)


async def test_a_generation_that_somebody_else_cancels_is_an_error() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_client(cluster) as client, client.session() as socket:
        await socket.send(type="generate", inputs="Q", max_new_tokens=1)
        await cluster.begun.acquire()
        await only_session(cluster).cancel()
        assert await socket.failure() == "RuntimeError: the generation was cancelled"


async def test_a_bug_is_told_in_one_sentence_without_its_inside(caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster()

    def broken(context: object) -> int:
        raise ZeroDivisionError("secret of the inside")

    cluster.model = broken
    async with toy_client(cluster) as client, client.session() as socket:
        traceback = await socket.failure(type="generate", inputs="Q", max_new_tokens=1)
    assert traceback.startswith("RuntimeError: ")
    assert "secret" not in traceback
    assert "secret of the inside" in caplog.text


async def test_a_socket_needs_a_key_where_keys_are_configured() -> None:
    cluster = FakeCluster()
    async with toy_client(cluster, KEYS) as client:
        async with client.connect() as socket:
            assert (await socket.receive())["traceback"].startswith("PermissionError: ")
            assert await socket.close_code() == 1008
        url = client.base_url.replace("http", "ws") + "/api/v2/generate"
        async with connect(url, additional_headers={"Authorization": "Bearer key-of-ada"}) as connection:
            await _opens(SocketClient(connection), cluster)
        subprotocols = [Subprotocol("greenroom"), Subprotocol("bearer.key-of-ada")]
        async with connect(url, subprotocols=subprotocols) as connection:
            assert connection.subprotocol == "greenroom"
            await _opens(SocketClient(connection), cluster)


async def _opens(socket: SocketClient, cluster: FakeCluster) -> None:
    await socket.send(type="open_inference_session")
    assert await socket.receive() == {"ok": True}
    assert {session.owner for session in cluster.open_sessions.values()} == {"ada"}


async def test_sockets_beyond_the_limit_are_closed_with_try_again_later() -> None:
    async with toy_client(FakeCluster(), ApiSettings(max_sockets=1)) as client, client.session():
        async with client.connect() as refused:
            assert await refused.close_code() == 1013


async def test_a_server_that_goes_away_closes_the_session() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_client(cluster) as client:
        socket = await connect(client.base_url.replace("http", "ws") + "/api/v2/generate")
        await SocketClient(socket).send(type="open_inference_session")
        assert await SocketClient(socket).receive() == {"ok": True}
        await SocketClient(socket).send(type="generate", inputs="Q", max_new_tokens=1)
        session = only_session(cluster)
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    async with asyncio.timeout(30):
        await session.closed.wait()
