"""The Python client and an inferlet, over real sockets that break."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from api.client import Client
from api.client import retries as patience
from api.client.instance import ClientInstance
from api.errors import (
    Closed,
    GreenroomError,
    InferletEnded,
    InferletNotFound,
    InvalidRequest,
    ProgramNotFound,
    TooBusy,
    TooLarge,
    Unavailable,
)
from api.http.app import build_app
from api.inferlet_events import Completed, Failed, Lagged, Message, Stdout, Terminated
from api.settings import ApiSettings
from api.values import Value
from tests.api.cutting_proxy import proxying
from tests.api.fake_cluster import FakeCluster
from tests.api.fake_inferlets import FakeInferlet
from tests.api.live_server import serving


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest_asyncio.fixture
async def client(cluster: FakeCluster) -> AsyncIterator[Client]:
    async with serving(build_app(cluster, ApiSettings())) as url, Client(url) as client:
        yield client


async def launched(client: Client, cluster: FakeCluster, folder: Path) -> tuple[ClientInstance, FakeInferlet]:
    file = folder / "chat.py"
    file.write_text("an inferlet")
    program = await client.upload_program(file)
    assert await client.program_exists(program)
    instance = await client.launch_instance(program, arguments=["a"])
    return instance, cluster.launched[instance.instance_id]


async def test_a_late_client_is_told_what_it_has_missed_and_goes_on(
    client: Client, cluster: FakeCluster, tmp_path: Path
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    inferlet.add(Lagged(6, 7), Message(7, "kept"), Completed(8, None))
    assert [event async for event, _ in instance] == inferlet.log
    assert instance.position == 8


async def test_events_are_received_in_order_and_then_the_end(
    client: Client, cluster: FakeCluster, tmp_path: Path
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    inferlet.add(Message(0, "Hello"), Stdout(1, "text"))
    assert await instance.recv() == (Message(0, "Hello"), "Hello")
    assert await instance.recv(timeout_s=60) == (Stdout(1, "text"), "text")
    inferlet.add(Completed(2, {"a": 1}))
    assert [value async for _, value in instance] == [{"a": 1}]
    with pytest.raises(InferletEnded):
        await instance.recv()
    with pytest.raises(InferletEnded):
        await instance.send("late")


async def test_text_that_is_no_unicode_arrives_as_it_was_printed_and_sent(
    client: Client, cluster: FakeCluster, tmp_path: Path
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    inferlet.add(Stdout(0, "\udcff"), Message(1, {"a": "\ud800"}), Failed(2, "\udcff ü"))
    assert [value async for _, value in instance] == ["\udcff", {"a": "\ud800"}, "\udcff ü"]


async def test_a_receive_that_times_out_loses_nothing(client: Client, cluster: FakeCluster, tmp_path: Path) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    found: list[object] = []
    while len(found) < 20:
        inferlet.add(Message(len(inferlet.log), len(inferlet.log)))
        for _ in range(3):
            with suppress(TimeoutError):
                found.append((await instance.recv(timeout_s=0.001))[1])
    assert found[:20] == list(range(20))


async def test_a_message_is_sent_without_waiting_and_awaited_for_its_position(
    client: Client, cluster: FakeCluster, tmp_path: Path
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    instance.send("first")
    assert await instance.send(b"second") == 1
    assert list(inferlet.received.values()) == ["first", b"second"]


async def test_leaving_takes_no_time_with_thousands_of_unread_events(cluster: FakeCluster, tmp_path: Path) -> None:
    async with serving(build_app(cluster, ApiSettings())) as url:
        client = Client(url)
        instances = [await launched(client, cluster, tmp_path) for _ in range(3)]
        for instance, inferlet in instances:
            inferlet.add(*(Message(position, "x" * 200) for position in range(20_000)))
            assert (await instance.recv(60))[1] == "x" * 200
        left = instances[0][0]
        accepted = left.send("the last words")
        began = time.monotonic()
        await left.detach()
        assert await accepted == 0
        assert time.monotonic() - began < 30, "20,000 events came before the answer"
        began = time.monotonic()
        await client.close()
        assert time.monotonic() - began < 30
        with pytest.raises(Closed):
            await left.recv()


async def test_a_launch_that_was_not_answered_is_asked_for_again_and_happens_once(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    async def busy() -> None:
        raise TooBusy("no process is free")

    async with serving(build_app(cluster, ApiSettings())) as url, Client(url, timeout_s=3) as client:
        (tmp_path / "chat.py").write_text("an inferlet")
        program = await client.upload_program(tmp_path / "chat.py")
        cluster.obstacles = [asyncio.Event().wait, busy]
        instance = await client.launch_instance(program)
        assert list(cluster.launched) == [instance.instance_id]
        assert len(cluster.requests) in (2, 3)
        assert len(set(cluster.requests)) == 1
        other = await client.launch_instance(program)
        assert other.instance_id != instance.instance_id


async def test_a_launch_that_is_given_up_says_what_the_server_did(cluster: FakeCluster, tmp_path: Path) -> None:
    async with serving(build_app(cluster, ApiSettings())) as url:
        async with Client(url, timeout_s=2, patience_s=0.1) as client:
            (tmp_path / "chat.py").write_text("an inferlet")
            program = await client.upload_program(tmp_path / "chat.py")
            cluster.obstacles = [asyncio.Event().wait]
            with pytest.raises(Unavailable, match=r"has not answered POST /api/inferlets within 2 s"):
                await client.launch_instance(program)


async def test_the_result_passes_over_what_was_not_received(
    client: Client, cluster: FakeCluster, tmp_path: Path
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    inferlet.add(Message(0, "a"), Completed(1, 7))
    assert await instance.result() == 7
    instance, inferlet = await launched(client, cluster, tmp_path)
    inferlet.add(Failed(0, "Traceback: no"))
    with pytest.raises(GreenroomError, match="Traceback: no"):
        await instance.result()


async def test_an_inferlet_is_listed_attached_from_a_position_and_terminated(
    client: Client, cluster: FakeCluster, tmp_path: Path
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    inferlet.add(*(Message(position, position) for position in range(5)))
    assert [one.id for one in await client.list_instances()] == [instance.instance_id]
    later = await client.attach_instance(instance.instance_id, after=2)
    assert [(await later.recv())[1] for _ in range(2)] == [3, 4]
    assert (await client.terminate_instance(instance.instance_id)).state == "terminated"
    assert (await later.recv())[0] == Terminated(5)
    await instance.detach()
    with pytest.raises(InferletNotFound):
        await client.terminate_instance("nothing")
    with pytest.raises(InferletNotFound):
        await client.attach_instance("nothing")
    with pytest.raises(ProgramNotFound):
        await client.launch_instance("nothing")


async def test_a_connection_that_breaks_ten_times_loses_and_repeats_nothing(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    async with serving(build_app(cluster, ApiSettings())) as url, proxying(url) as (address, proxy):
        async with Client(address) as client:
            instance, inferlet = await launched(client, cluster, tmp_path)
            await instance.detach()
            proxy.limits = [random.Random(7).randrange(150, 900) for _ in range(10)]
            instance = await client.attach_instance(instance.instance_id)
            found: list[object] = []
            sent: list[asyncio.Future[int]] = []
            for number in range(100):
                sent.append(asyncio.ensure_future(instance.send(f"message {number}")))
                inferlet.add(Message(number, number))
                found.append((await instance.recv(timeout_s=20))[1])
            assert found == list(range(100))
            await asyncio.wait_for(asyncio.gather(*sent), 20)
    assert proxy.num_cut == 10
    assert list(inferlet.received.values()) == [f"message {number}" for number in range(100)]


@pytest.mark.parametrize("value", ["\0" * (1 << 20), "ü" * (1 << 19), b"\xff" * (1 << 20)], ids=["NUL", "ü", "bytes"])
async def test_the_largest_message_that_is_allowed_arrives_both_ways(
    client: Client, cluster: FakeCluster, tmp_path: Path, value: Value
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    assert await asyncio.wait_for(instance.send(value), 30) == 0
    assert list(inferlet.received.values()) == [value]
    inferlet.add(Message(0, value))
    assert (await instance.recv(timeout_s=60))[1] == value
    with pytest.raises(TooLarge):
        instance.send(value + value[:1])  # type: ignore[operator, index]


async def test_messages_that_are_refused_for_now_are_accepted_later_in_their_order(
    client: Client, cluster: FakeCluster, tmp_path: Path
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    inferlet.refusals = [TooBusy("not now")]
    sent = [instance.send(number) for number in range(5)]
    assert await asyncio.wait_for(asyncio.gather(*sent), 30) == [0, 1, 2, 3, 4]
    assert list(inferlet.received.values()) == [0, 1, 2, 3, 4]


async def test_a_message_that_is_refused_for_good_says_why_and_the_next_one_goes(
    client: Client, cluster: FakeCluster, tmp_path: Path
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    inferlet.refusals = [TooLarge("never")]
    sent = [instance.send("first"), instance.send("second")]
    with pytest.raises(TooLarge, match="never"):
        await sent[0]
    assert await sent[1] == 0


async def test_everybody_who_receives_learns_of_the_end(client: Client, cluster: FakeCluster, tmp_path: Path) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    receiving = [asyncio.create_task(instance.recv()) for _ in range(3)]
    await asyncio.sleep(0)
    inferlet.add(Completed(0, "done"))
    found = await asyncio.wait_for(asyncio.gather(*receiving, return_exceptions=True), 30)
    assert [type(one) for one in found] == [tuple, InferletEnded, InferletEnded]


async def test_leaving_ends_the_receives_that_wait(client: Client, cluster: FakeCluster, tmp_path: Path) -> None:
    instance, _ = await launched(client, cluster, tmp_path)
    receiving = [asyncio.create_task(instance.recv()) for _ in range(2)]
    await asyncio.sleep(0)
    await instance.detach()
    for task in receiving:
        with pytest.raises(Closed, match="detached"):
            await asyncio.wait_for(task, 30)


async def test_attaching_behind_the_last_event_says_that_there_is_nothing_more(
    client: Client, cluster: FakeCluster, tmp_path: Path
) -> None:
    instance, inferlet = await launched(client, cluster, tmp_path)
    inferlet.add(Message(0, "a"), Completed(1, None))
    await instance.result()
    again = await client.attach_instance(instance.instance_id, after=instance.position)
    with pytest.raises(InferletEnded, match="end of inferlet .* has been received before"):
        await again.recv(timeout_s=60)
    beyond = await client.attach_instance(instance.instance_id, after=7)
    with pytest.raises(InvalidRequest, match="no event 7"):
        await beyond.recv(timeout_s=60)


async def test_a_connection_that_held_is_progress_even_when_nothing_came_over_it(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LASTING_S", 0.03)
    async with serving(build_app(cluster, ApiSettings())) as url, proxying(url) as (address, proxy):
        async with Client(address, patience_s=0.35) as client:
            instance, inferlet = await launched(client, cluster, tmp_path)
            for _ in range(5):
                await asyncio.sleep(0.12)
                proxy.cut()
            inferlet.add(Message(0, "still here"))
            assert (await instance.recv(timeout_s=60))[1] == "still here"


async def test_a_program_is_read_as_utf_8_wherever_it_is(client: Client, cluster: FakeCluster, tmp_path: Path) -> None:
    file = tmp_path / "grüße.py"
    file.write_bytes("\ufeff# ein inferlet: grüße ☃\n".encode())
    program = await client.upload_program(file)
    assert program == hashlib.sha256("# ein inferlet: grüße ☃\n".encode()).hexdigest()
    file.write_bytes("# grüße".encode("latin-1"))
    with pytest.raises(InvalidRequest, match="grüße.py is not UTF-8"):
        await client.upload_program(file)
