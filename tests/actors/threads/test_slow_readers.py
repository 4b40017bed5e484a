"""Readers of a thread's stream that take nothing for long."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from api.http import thread_routes
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import calling
from tests.actors.threads.test_promises import called


async def test_a_reader_that_takes_nothing_is_told_where_to_resume_and_slows_nobody(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        begun = await caller.begin("\n".join([called("repeated", text="x" * 100, times=4000)] * 12), "t", "unlimited")
        await caller.wait(begun["run_id"])
        everything = [(event.id, event.name) for event in await caller.events(begun)]
        monkeypatch.setattr(thread_routes, "MAX_LAG_S", 0.5)
        url = caller.http.base_url
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, (url.host, url.port))
        reader, writer = await asyncio.open_connection(sock=narrow, limit=1024)
        writer.write(
            f"GET {begun['stream_url']} HTTP/1.0\r\nHost: {url.netloc.decode()}\r\nConnection: close\r\n\r\n".encode()
        )
        async with asyncio.timeout(5):
            assert (await caller.prompt("say on", "t", "unlimited"))["run"]["state"] == "succeeded"
        await asyncio.sleep(1)
        text = (await asyncio.wait_for(reader.read(), 30)).decode()
        writer.close()
        told = [block.splitlines() for block in text.split("\r\n\r\n", 1)[1].split("\n\n") if "event: lagged" in block]
        [lines] = told
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        after = json.loads(fields["data"])["after"]
        assert fields["id"] == after
        monkeypatch.undo()
        rest = [(event.id, event.name) async for event in caller.stream(begun["stream_url"], after)]
        assert rest == everything[len(everything) - len(rest) :]
        assert (after, 0 < len(rest) < len(everything)) == (everything[-len(rest) - 1][0], True)
