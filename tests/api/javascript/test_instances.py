"""The JavaScript client and an inferlet, in Node, over real sockets that break."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from api.errors import TooBusy
from api.http.app import build_app
from api.inferlet_events import Completed, Event, Failed, Lost, Message, Stderr, Stdout, Terminated
from api.settings import ApiSettings
from api.values import Value
from tests.api.cutting_proxy import proxying
from tests.api.fake_cluster import FakeCluster
from tests.api.fake_inferlets import FakeInferlet
from tests.api.http.test_security import KEYS
from tests.api.javascript.node_script import NodeScript, node_script
from tests.api.live_server import serving

pytestmark = pytest.mark.node

LAUNCH = """
const client = new Client(url, { patienceS: 20 });
const instance = await client.launchInstance(await client.uploadProgram("an inferlet", "chat.py"), ["a"]);
tell(instance.id);
"""
BYTES = bytes(range(256)) * 100


async def launched(script: NodeScript, cluster: FakeCluster) -> FakeInferlet:
    return cluster.launched[await script.told()]


def accept_slowly(inferlet: FakeInferlet) -> None:
    """Each message takes a time of its own, so that two on their way at once would arrive in another order."""
    accept, chance = inferlet.send, random.Random(3)

    async def slowly(value: Value, key: str | None = None) -> int:
        await asyncio.sleep(chance.uniform(0, 0.02))
        return await accept(value, key)

    inferlet.send = slowly  # type: ignore[method-assign]


async def test_a_program_is_uploaded_listed_and_launched(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    source = """
    const client = new Client(url + "/");
    const program = await client.uploadProgram(new File(["an inferlet"], "chat.py"));
    const instance = await client.launchInstance(program, ["--rank", "1"], "first");
    tell([await client.programExists(program), await client.programExists("other"), await client.listPrograms()]);
    const [listed, described] = [await client.listInstances(), await instance.describe()];
    tell([listed.map((one) => one.id), described.id, described.arguments, described.name, described.state]);
    """
    async with node_script(tmp_path, server, source) as script:
        does_exist, does_other, (program,) = await script.told()
        found = await script.told()
    (inferlet,) = cluster.launched.values()
    assert (does_exist, does_other, program) == (True, False, {"program": inferlet.program, "file": "chat.py"})
    assert found == [[inferlet.instance_id], inferlet.instance_id, ["--rank", "1"], "first", "running"]


async def test_a_launch_that_was_not_answered_is_asked_for_again_and_happens_once(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    async def busy() -> None:
        raise TooBusy("no process is free")

    cluster.obstacles = [asyncio.Event().wait, busy]
    launch = LAUNCH.replace("patienceS: 20", "patienceS: 20, timeoutS: 1")
    async with node_script(tmp_path, server, launch + "await client.close();") as script:
        assert await script.told() in cluster.launched
    assert len(cluster.launched) == 1
    assert len(cluster.requests) in (2, 3)
    assert len(set(cluster.requests)) == 1


async def test_leaving_takes_no_time_with_thousands_of_unread_events(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    await instance.recv();
    const began = performance.now();
    await instance.detach();
    await client.close();
    tell(performance.now() - began);
    """
    async with node_script(tmp_path, server, LAUNCH + source) as script:
        inferlet = await launched(script, cluster)
        inferlet.add(*(Message(position, "x" * 200) for position in range(20_000)))
        assert await script.told() < 1000


async def test_values_arrive_as_they_were_in_both_directions(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    values: list[Value] = ["grüße\n𝄞", BYTES, {"a": [1, None, 2.5]}, None, False, 0, "", b"", [], "x" * 300_000]
    source = """
    const received = [];
    for await (const [event, message] of instance) {
      if (message === "the last") break;
      instance.send(message);
      received.push(message instanceof Uint8Array ? { hex: Buffer.from(message).toString("hex") } : message);
    }
    await client.close();
    tell(received);
    """
    async with node_script(tmp_path, server, LAUNCH + source) as script:
        inferlet = await launched(script, cluster)
        inferlet.add(*(Message(position, value) for position, value in enumerate(values)))
        inferlet.add(Message(len(values), "the last"))
        received = await script.told()
    assert received == [{"hex": value.hex()} if isinstance(value, bytes) else value for value in values]
    assert list(inferlet.received.values()) == values


async def test_every_event_says_what_it_is_and_after_the_end_there_is_nothing(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    for await (const [event, message] of instance) tell([event.type, event.position, event.isEnd, message]);
    tell([await failure(instance.recv()), await failure(instance.send("late"))]);
    """
    ends: list[tuple[Event, str, Any]] = [
        (Completed(3, {"a": 1}), "completed", {"a": 1}),
        (Failed(3, "Traceback: no"), "failed", "Traceback: no"),
        (Terminated(3), "terminated", None),
        (Lost(3), "lost", None),
    ]
    for end, name, value in ends:
        async with node_script(tmp_path, server, LAUNCH + source) as script:
            inferlet = await launched(script, cluster)
            inferlet.add(Message(0, "Hello"), Stdout(1, "out"), Stderr(2, "err"), end)
            assert [await script.told() for _ in range(3)] == [
                ["message", 0, False, "Hello"],
                ["stdout", 1, False, "out"],
                ["stderr", 2, False, "err"],
            ]
            assert await script.told() == [name, 3, True, value]
            late = await script.told()
        assert [error["code"] for error in late] == ["inferlet_ended", "inferlet_ended"]
        assert late[1]["status"] == 409


async def test_a_receive_that_times_out_a_hundred_times_loses_nothing(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    let numTimeouts = 0;
    const found = [];
    while (found.length < 20) {
      const waits = [instance.recv(0.001), instance.recv(0.003)];
      for (const wait of waits) {
        try {
          found.push((await wait)[1]);
        } catch (error) {
          if (error.code !== "timeout" || !error.retryable) throw error;
          numTimeouts += 1;
        }
      }
      await sleep(0.002);
      if (numTimeouts >= 5 * (found.length + 1)) tell("next");
    }
    tell([numTimeouts, found]);
    instance.detach();
    """
    async with node_script(tmp_path, server, LAUNCH + source) as script:
        inferlet = await launched(script, cluster)
        while (told := await script.told()) == "next":
            inferlet.add(Message(len(inferlet.log), len(inferlet.log)))
    assert told[0] >= 100
    assert told[1] == list(range(20)) or told[1] == list(range(21))


async def test_messages_are_sent_in_order_without_waiting_and_awaited_for_their_positions(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    await hear();
    const value = { number: 0 };
    const sent = Array.from({ length: 100 }, (_, number) => instance.send(Object.assign(value, { number })));
    tell(await Promise.all(sent));
    """
    async with node_script(tmp_path, server, LAUNCH + source) as script:
        inferlet = await launched(script, cluster)
        accept_slowly(inferlet)
        await script.say("go")
        assert await script.told() == list(range(100))
    assert list(inferlet.received.values()) == [{"number": number} for number in range(100)]


async def test_the_result_passes_over_what_was_not_received(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    async with node_script(tmp_path, server, LAUNCH + "tell(await instance.result());") as script:
        (await launched(script, cluster)).add(Message(0, "a"), Completed(1, 7))
        assert await script.told() == 7
    async with node_script(tmp_path, server, LAUNCH + "tell(await failure(instance.result()));") as script:
        (await launched(script, cluster)).add(Failed(0, "Traceback: no"))
        told = await script.told()
    assert told["code"] == "internal"
    assert "Traceback: no" in told["message"]


async def test_an_inferlet_is_left_attached_from_a_position_and_terminated(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    tell([(await instance.recv())[1], (await instance.recv())[1], instance.position]);
    instance.send("on its way");
    await instance.detach();
    tell([await failure(instance.recv()), await failure(instance.send("late"))]);
    const later = await client.attachInstance(instance.id, instance.position);
    tell([(await later.recv())[1], (await later.terminate()).state, (await later.recv())[0].type]);
    tell(await failure(later.recv()));
    """
    async with node_script(tmp_path, server, LAUNCH + source) as script:
        inferlet = await launched(script, cluster)
        inferlet.add(*(Message(position, position) for position in range(3)))
        assert await script.told() == [0, 1, 1]
        left = await script.told()
        assert await script.told() == [2, "terminated", "terminated"]
        over = await script.told()
    assert [error["code"] for error in [*left, over]] == ["closed", "closed", "inferlet_ended"]
    assert list(inferlet.received.values()) == ["on its way"]


async def test_errors_say_what_the_server_says(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    source = """
    const client = new Client(url, { patienceS: 0.3 });
    tell(await failure(client.launchInstance("nothing")));
    tell(await failure(client.attachInstance("nothing")));
    tell(await failure(client.terminateInstance("nothing")));
    tell(await failure(client.uploadProgram("x", "no/name")));
    const instance = await client.launchInstance(await client.uploadProgram("an inferlet"));
    tell(await failure((async () => instance.send("x".repeat((1 << 20) + 1)))()));
    tell(await failure((async () => instance.send({ a: [NaN] }))()));
    tell(await failure((async () => instance.send(new Date()))()));
    tell(await failure(new Client("http://127.0.0.1:9", { patienceS: 0.3 }).listPrograms()));
    """
    expected = [
        ("program_not_found", 404, False, "nothing"),
        ("inferlet_not_found", 404, False, "nothing"),
        ("inferlet_not_found", 404, False, "nothing"),
        ("invalid_request", 400, False, "file"),
        ("too_large", 0, False, "1048577"),
        ("invalid_request", 0, False, "NaN"),
        ("invalid_request", 0, False, "JSON value"),
        ("unavailable", 0, True, "cannot be reached"),
    ]
    async with node_script(tmp_path, server, source) as script:
        for code, status, is_retryable, words in expected:
            told = await script.told()
            assert (told["code"], told["status"], told["retryable"]) == (code, status, is_retryable)
            assert words in told["message"]


async def test_the_key_is_sent_and_another_asked_for_where_it_is_refused(cluster: FakeCluster, tmp_path: Path) -> None:
    source = """
    tell(await failure(new Client(url).listPrograms()));
    tell(await failure(new Client(url, { apiKey: "wrong-key" }).listPrograms()));
    const ada = new Client(url, { apiKey: "key-of-ada" });
    const instance = await ada.launchInstance(await ada.uploadProgram("an inferlet"));
    tell(await failure(new Client(url, { apiKey: "schlüssel-von-bob" }).attachInstance(instance.id)));
    const asked = [];
    const askForKey = async (wasWrong) => (asked.push(wasWrong), asked.length < 2 ? "wrong-key" : "key-of-ada");
    const asking = new Client(url, { askForKey });
    tell([(await asking.listInstances()).length, asked, asking.apiKey]);
    """
    async with serving(build_app(cluster, KEYS)) as url, node_script(tmp_path, url, source) as script:
        told = [await script.told() for _ in range(4)]
    assert [error["code"] for error in told[:3]] == ["unauthorized", "unauthorized", "inferlet_not_found"]
    assert [error["status"] for error in told[:3]] == [401, 401, 404]
    assert told[3] == [1, [False, True], "key-of-ada"]


async def test_connections_that_break_at_ten_random_points_lose_and_repeat_nothing(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    await hear();
    const found = [];
    const sent = [];
    while (found.length < 200) {
      sent.push(instance.send(`message ${found.length}`));
      found.push((await instance.recv(20))[1]);
    }
    await Promise.all(sent);
    tell(found);
    instance.detach();
    """
    async with proxying(server) as (address, proxy), node_script(tmp_path, address, LAUNCH + source) as script:
        inferlet = await launched(script, cluster)
        inferlet.add(*(Message(position, position) for position in range(200)))
        chance = random.Random(7)
        proxy.limits = [chance.randrange(100, 900) for _ in range(10)]
        proxy.cut()
        await script.say("go")
        found = await script.told()
    assert proxy.num_cut == 10
    assert found == list(range(200))
    assert list(inferlet.received.values()) == [f"message {number}" for number in range(200)]


async def test_a_connection_that_is_gone_for_good_is_an_error_not_silence(cluster: FakeCluster, tmp_path: Path) -> None:
    source = """
    const client = new Client(url, { patienceS: 0.5 });
    const instance = await client.launchInstance(await client.uploadProgram("an inferlet"));
    tell(instance.id);
    tell((await instance.recv())[1]);
    await hear();
    tell([await failure(instance.recv()), await failure(instance.recv()), await failure(instance.send("x"))]);
    """
    async with AsyncExitStack() as server:
        url = await server.enter_async_context(serving(build_app(cluster, ApiSettings())))
        async with node_script(tmp_path, url, source) as script:
            (await launched(script, cluster)).add(Message(0, "a"))
            assert await script.told() == "a"
            await server.aclose()
            await script.say("go")
            errors = await script.told()
    assert [(error["code"], error["retryable"]) for error in errors] == [("unavailable", True)] * 3


async def test_an_inferlet_that_is_gone_ends_the_waiting(cluster: FakeCluster, tmp_path: Path) -> None:
    async with AsyncExitStack() as server:
        url = await server.enter_async_context(serving(build_app(cluster, ApiSettings())))
        async with node_script(tmp_path, url, LAUNCH + "tell(await failure(instance.recv()));") as script:
            cluster.launched.pop(await script.told())
            await server.aclose()
            await server.enter_async_context(serving(build_app(cluster, ApiSettings()), int(url.rpartition(":")[2])))
            told = await script.told()
    assert (told["code"], told["status"]) == ("inferlet_not_found", 404)


async def test_closing_the_client_ends_every_connection_and_lets_node_end(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    await hear();
    const waiting = failure(instance.recv());
    instance.send("first");
    instance.send("last");
    await client.close();
    tell([await waiting, await failure(client.listPrograms())]);
    """
    async with node_script(tmp_path, server, LAUNCH + source) as script:
        inferlet = await launched(script, cluster)
        accept_slowly(inferlet)
        await script.say("go")
        assert [error["code"] for error in await script.told()] == ["closed", "closed"]
    assert list(inferlet.received.values()) == ["first", "last"]


async def test_attaching_behind_the_last_event_says_that_there_is_nothing_more(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    const client = new Client(url, { patienceS: 5 });
    const instance = await client.launchInstance(await client.uploadProgram("an inferlet"));
    tell(instance.id);
    tell(await instance.result());
    tell(await failure((await client.attachInstance(instance.id, instance.position)).recv(4)));
    tell(await failure((await client.attachInstance(instance.id, 7)).recv(4)));
    """
    async with node_script(tmp_path, server, source) as script:
        cluster.launched[await script.told()].add(Message(0, "a"), Completed(1, 5))
        assert await script.told() == 5
        behind, beyond = await script.told(), await script.told()
    assert (behind["code"], "has been received" in behind["message"]) == ("inferlet_ended", True)
    assert (beyond["code"], beyond["status"]) == ("invalid_request", 400)
