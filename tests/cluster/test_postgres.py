"""A Greenroom whose journal is a real PostgreSQL server, which dies too: token-exact, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from actors.cluster.greenroom import Greenroom
from api.names import TopicId
from api.topics import TopicMessage
from tests import postgres
from tests.cluster.deployed import MODEL, Deployed
from tests.cluster.native import Answer, say
from tests.cluster.three_turns import FIRST, SECOND, THIRD, conversation, open_session, undisturbed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

AWAY_S = 2.0
NEWS, WORK = TopicId("durable/news"), TopicId("durable/work")


class OnPostgres(Deployed):
    """Whose database can be killed."""

    def __init__(self, server: postgres.Server) -> None:
        self.database = server.new_database()
        durable = {"pattern": "durable/*", "is_durable": True}
        config = {
            "journal": {"url": self.database},
            "sessions": {"pool_size": 1},
            "inferlets": {"pool_size": 0},
            "broker": {"topics": [durable], "queues": [durable]},
        }
        super().__init__(config, Path())
        self._server = server

    def pids(self, what: str, session_id: str = "") -> list[int]:
        return [self._server.pid] if what == "database" else super().pids(what, session_id)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as one:
        yield one


@pytest.fixture(scope="module")
def on_postgres(server: postgres.Server) -> Iterator[OnPostgres]:
    deployed = OnPostgres(server)
    deployed.start()
    yield deployed
    deployed.stop()


@pytest.mark.parametrize("what", ["database", "journal", "session"])
def test_a_kill_in_the_middle_of_a_stream_changes_no_token(
    on_postgres: OnPostgres, server: postgres.Server, what: str
) -> None:
    """The database is away for a while."""
    expected, pid = undisturbed(MODEL), server.pid

    def restart() -> None:
        psutil.Process(pid).wait()
        time.sleep(AWAY_S)
        server.start()

    async def run() -> list[Answer]:
        restarting = asyncio.create_task(asyncio.to_thread(restart)) if what == "database" else None
        answers = await conversation(on_postgres, what, len(expected[1]) // 2)
        if restarting:
            await restarting
        return answers

    assert [answer.ids for answer in asyncio.run(run())] == expected


def test_all_of_it_comes_back_on_a_new_cluster(on_postgres: OnPostgres) -> None:
    expected = undisturbed(MODEL)

    async def begin() -> str:
        session_id = await open_session(on_postgres)
        for turn in (FIRST, SECOND):
            await say(on_postgres.url, session_id, {**turn, "turn_id": uuid.uuid4().hex})
        return session_id

    async def publish(greenroom: Greenroom) -> None:
        await greenroom.topics.publish(NEWS, "kept")
        await greenroom.topics.push(WORK, "to do")

    async def read(greenroom: Greenroom) -> list[object]:
        async with await greenroom.topics.subscribe(NEWS) as news:
            told = await news.recv(10)
        assert isinstance(told, TopicMessage)
        return [told.value, (await greenroom.topics.pull(WORK, 10)).value]

    session_id = asyncio.run(begin())
    on_postgres.run(publish)
    on_postgres.stop()
    on_postgres.start()
    answer = asyncio.run(say(on_postgres.url, session_id, {**THIRD, "turn_id": uuid.uuid4().hex}))
    assert answer.ids == expected[2]
    assert on_postgres.run(read) == ["kept", "to do"]
