"""Write the journals of this release, with what goes on from them: ``python -m tests.actors.recorded.record FOLDER``.

The folder gets ``journal.db`` and ``topics.db`` as a killed cluster leaves them, and ``expected.json``: for each
program what it returned after it was sent ``MESSAGE``, for each session the tokens that it came to.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

from actors.engine.contract import Feature
from actors.settings import InferletSettings, QueueSettings, TopicSettings
from api.cluster import Retention, SessionOptions
from api.constraints import Choice
from api.inferlet_events import Completed
from api.turns import Message, Sampling, Stop, Text, Tokens, TurnRequest
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.recorded.programs import CHILD, PROGRAMS
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker

MESSAGE = "go on"
FOR_EVER_S = 1e9
FILES = ("journal.db", "topics.db")


@asynccontextmanager
async def cluster_on(folder: Path) -> AsyncIterator[SmallCluster]:
    """A cluster on the journals of a folder, in which nothing expires."""
    inferlets = InferletSettings(
        pool_size=0, memory_limit_bytes=1 << 40, idle_timeout_s=None, keep_ended_s=FOR_EVER_S, passivate_after_s=0.1
    )
    topics = (TopicSettings("*", retention_s=FOR_EVER_S, is_durable=True),)
    queues = (QueueSettings("*", lease_s=FOR_EVER_S, is_durable=True),)
    async with SmallBroker(folder, topics=topics, queues=queues) as broker:
        small = SmallCluster(
            folder,
            inferlets=inferlets,
            topics=broker.ref(),
            features=frozenset(get_args(Feature)),
            pool_size=0,
            idle_timeout_s=None,
            passivate_after_s=0.1,
        )
        async with small as cluster:
            yield cluster


async def launch_all(cluster: SmallCluster) -> dict[str, str]:
    """The ids of one inferlet for each program, each suspended in its last ``recv``, by name."""
    ids = {}
    child = await launched(cluster, CHILD)
    await child.terminate()
    program = (await child.describe()).summary.program
    for name, source in PROGRAMS.items():
        inferlet = await launched(cluster, source.replace("CHILD", program), "--name", name)
        ids[name] = inferlet.instance_id
        if name == "talk":
            await inferlet.send(b"first")
    return ids


async def finish(cluster: SmallCluster, instance_id: str) -> Any:
    """What an inferlet returns after it was sent ``MESSAGE``."""
    inferlet = await cluster.inferlets.inferlet(instance_id)
    await inferlet.send(MESSAGE)
    end = (await all_events(inferlet))[-1]
    assert isinstance(end, Completed), end
    return end.value


async def open_sessions(cluster: SmallCluster) -> dict[str, str]:
    """The ids of sessions with ended turns of every kind, by name; ``running`` is in the middle of one."""
    plain = await cluster.greenroom.open_session(SessionOptions())
    sampling = Sampling(0.7, 5, 0.9, 0.1, 1.1, 0.5, 0.25, ((7, 1.5),), 42, 2)
    stop = Stop(4, False, ((1, 2),), ("<x>",), ("<y>",), 2)
    parts = (Message("user", "hello"), Text("text"), Tokens((7, 8)))
    for number, request in enumerate(
        (
            TurnRequest("a", parts, stop=Stop(3)),
            TurnRequest("b", (Text("b"),), sampling, stop, 5_000, False, tuple(range(1, 1000))),
            TurnRequest("c", (Text("c"),), stop=Stop(2), constraint=Choice(("x", "y"))),
            TurnRequest("d", (Text("d"),), distribution=3),
        )
    ):
        async for _ in await plain.begin(request):
            pass
        if number == 1:
            await plain.rollback(10)
    adapted = await cluster.greenroom.open_session(SessionOptions(adapter="pirate", retention=Retention("drop")))
    async for _ in await adapted.begin(TurnRequest("a", (Text("arr"),), stop=Stop(3))):
        pass
    fork = await plain.fork()
    running = await cluster.greenroom.open_session(SessionOptions())
    stream = await running.begin(TurnRequest("a", (Text("run"),), stop=Stop(300)))
    await anext(aiter(stream))
    return {
        "plain": plain.session_id,
        "fork": fork.session_id,
        "adapted": adapted.session_id,
        "running": running.session_id,
    }


async def go_on(cluster: SmallCluster, session_id: str) -> dict[str, Any]:
    """What a session holds after one more turn, and what that turn said."""
    session = await cluster.greenroom.session(session_id)
    text = [frame.text async for frame in await session.begin(TurnRequest("next", (Text("n"),), stop=Stop(5)))]
    described = await session.describe()
    return {"text": "".join(text), "turns": [turn.turn_id for turn in described.turns], "length": described.length}


async def record(folder: Path) -> None:
    """Write the three files into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        async with cluster_on(Path(scratch)) as cluster:
            ids = await launch_all(cluster)
            await asyncio.sleep(1.0)  # until all have come to their last recv, and have been passivated
            sessions = await open_sessions(cluster)
            for file in FILES:
                with sqlite3.connect(Path(scratch) / file) as source, sqlite3.connect(folder / file) as target:
                    source.backup(target)
        with tempfile.TemporaryDirectory() as copy:
            for file in FILES:
                shutil.copy(folder / file, copy)
            async with cluster_on(Path(copy)) as cluster:
                inferlets = {name: [id, await finish(cluster, id)] for name, id in ids.items()}
                turns = {name: [id, await go_on(cluster, id)] for name, id in sessions.items()}
    expected = {"inferlets": inferlets, "sessions": turns}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    asyncio.run(record(target))
