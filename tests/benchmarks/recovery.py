"""How long a session, a program and a thread with a long past take to come back, and what they need.

``python -m tests.benchmarks.recovery [--turns N] [--timers N] [--messages N] [--runs N] [--postgres]``

Each is made once, in a journal of its own, and recovered in a process of its own: ``read`` is the time until its
records are here, ``back`` that until it can go on, ``core`` that of a processor then, ``memory`` what the process has
more. No Ray is started. With ``--postgres`` also from a copy in a PostgreSQL server (Debian's package) that it starts.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from actors.directory.messages import SessionSeed
from actors.inferlets.digest import FORMAT
from actors.inferlets.instance import Instance
from actors.inferlets.journal_lines import JournalLines
from actors.inferlets.ports import InferletParts, Surroundings
from actors.inferlets.records import Launched, Woken, encode
from actors.journal.contract import Journal
from actors.journal.copies import copy
from actors.journal.keys import INFERLET, SESSION, journal_key, parse_journal_key
from actors.journal.stores import store_of
from actors.models.messages import TurnOutput
from actors.sessions.records import TurnEnded, TurnStarted
from actors.sessions.stream import SessionRecords
from actors.settings import InferletSettings, JournalSettings
from api.cluster import Retention
from api.inferlet_events import Message as Sent
from api.turns import Finish, Message, Sampling, Stop, TurnRequest
from tests import postgres
from tests.actors.inferlets.programs import HEAD
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.benchmarks.report import printed

ANY_MEMORY = 1 << 40
SLEEPER = f"""{HEAD}
@inferlet
async def main(args):
    for _ in range(NUM):
        await asyncio.sleep(0.001)
    await recv()
"""
COUNTER = Path(__file__).parents[1] / "programs" / "counter.py"


@asynccontextmanager
async def opened(settings: JournalSettings) -> AsyncIterator[Journal]:
    """The journal of a place."""
    store = store_of(settings)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


def journal_in(folder: Path) -> JournalSettings:
    """Fast, since it is made to be read."""
    return JournalSettings(str(folder / "journal.db"), "NORMAL")


async def make_session(folder: Path, num_turns: int) -> None:
    """Of turns of 20 tokens and 32 made from them."""
    chance = random.Random(1)
    async with opened(journal_in(folder)) as journal:
        seed = SessionSeed("session", "", "pocket", Retention(), 1 << 40, None)
        records = await SessionRecords.open(journal, "session", seed)
        for number in range(num_turns):
            turn_id, ids = f"{chance.getrandbits(128):032x}", tuple(chance.choices(range(32_000), k=52))
            said = (Message("user", f"What is the weather like in town number {number}?"),)
            request = TurnRequest(turn_id, said, Sampling(seed=number), Stop(32), max_context=1 << 30)
            await records.write(TurnStarted(request))
            output = TurnOutput(ids[20:], tuple(f"word{id % 1000} " for id in ids[20:]), (), Finish("length"))
            await records.write(TurnEnded(turn_id, ids[:20], output, 100, round(time.time(), 3)))


async def make_sleeper(folder: Path, num_timers: int) -> None:
    """A program that has slept so often."""
    launched = Launched("p" * 64, SLEEPER.replace("NUM", str(num_timers)), "p.py", (), "sleeper", None, FORMAT)
    lines, key, end = JournalLines(), journal_key(INFERLET, "sleeper"), 1
    async with opened(journal_in(folder)) as journal:
        await journal.create(key, "", "p", [encode(launched)], None)
        for first in range(1, num_timers + 1, 1000):
            woken = [Woken(one, 0, round(0.0012 * one, 6)) for one in range(first, min(first + 1000, num_timers + 1))]
            written = lines.take(end, woken)
            await journal.append(key, 1, end, written.lines, None, drops=written.drops)
            end += len(written.lines)


async def make_counter(folder: Path, num_messages: int) -> None:
    """The gallery's, which was sent so many messages, and continued as new after every hundred."""
    settings = InferletSettings(pool_size=0, memory_limit_bytes=ANY_MEMORY)
    async with SmallCluster(folder, inferlets=settings, pool_size=0) as cluster:
        program = await cluster.inferlets.upload_program(COUNTER.read_text(), "counter.py")
        counter = await cluster.inferlets.launch(program)
        events = counter.events()
        for first in range(0, num_messages, 100):
            await asyncio.gather(*(counter.send(number) for number in range(first, first + 100)))
            while not isinstance(event := await anext(events), Sent) or event.value != first + 100:
                pass


async def make_thread(folder: Path, num_runs: int) -> None:
    """With an agent that has answered so many prompts."""
    async with scripted_cluster(folder) as cluster:
        agent = cluster.greenroom.agent("helper")
        for number in range(num_runs):
            await (await agent.async_prompt(f"say prompt {number}", context_id="thread")).task.wait()


class Alone:
    """Stands for all that a program that waits for its clients does not use."""

    async def models(self) -> tuple[()]:
        return ()


async def recover(settings: JournalSettings) -> tuple[int, int, float, float, float, float]:
    """Of the one stream of a journal: records, bytes, seconds to read, to recover, of a processor, and MB of memory."""
    async with opened(settings) as journal:
        keys = [parse_journal_key(one.key) for one in await journal.streams()]
        [(kind, one_id)] = [one for one in keys if one[0] in (SESSION, INFERLET)]
        key = journal_key(kind, one_id)
        process = psutil.Process()
        before, began = process.memory_info().rss, time.perf_counter()
        lines = await journal.records(key)
        read_s, size = time.perf_counter() - began, (len(lines), sum(map(len, lines)))
        del lines
        began, core_s = time.perf_counter(), time.process_time()
        open_it = activated(journal, one_id) if kind == INFERLET else SessionRecords.open(journal, one_id, None)
        kept: Any = await open_it
        recovered_s, core_s = time.perf_counter() - began, time.process_time() - core_s
        memory = (process.memory_info().rss - before) / 1e6
        if kind == INFERLET:
            await kept.stop()
        return *size, read_s, recovered_s, core_s, memory


async def activated(journal: Journal, instance_id: str) -> Instance:
    """An inferlet, once it has done again what it did and waits for its clients."""
    alone: Any = Alone()
    settings = InferletSettings(memory_limit_bytes=ANY_MEMORY)
    parts = InferletParts(alone, Surroundings(journal, alone, alone, None), settings, 60.0, lambda: None)
    instance = await Instance.open(parts, instance_id, None)
    while not (instance._run and instance._run.waits_for_clients_only):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return instance


def recovered(settings: JournalSettings) -> tuple[int, int, float, float, float, float]:
    """In this process."""
    return asyncio.run(recover(settings))


Make = Callable[[Path, int], Coroutine[Any, Any, None]]


def main() -> None:
    """Make, recover, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--timers", type=int, default=1_000_000)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--postgres", action="store_true")
    arguments = parser.parse_args()
    cases: list[tuple[str, Make, int]] = [
        ("turns of a session", make_session, arguments.turns),
        ("timers of a program", make_sleeper, arguments.timers),
        ("messages, continued", make_counter, arguments.messages),
        ("runs of a thread", make_thread, arguments.runs),
    ]
    titles = ("what", "number", "journal", "records", "MB", "read s", "back s", "core s", "memory MB")
    with printed(Table(*titles, title="Recovery"), Console()) as table, postgres_if(arguments.postgres) as server:
        for what, make, number in cases:
            if not number:
                continue
            with tempfile.TemporaryDirectory() as folder:
                asyncio.run(make(Path(folder), number))
                places = {"SQLite": replace(journal_in(Path(folder)), synchronous="FULL")}
                if server is not None:
                    places["PostgreSQL"] = JournalSettings(url=server.new_database())
                    asyncio.run(copy(places["SQLite"], places["PostgreSQL"], is_source_in_use=False))
                for name, place in places.items():
                    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                        num, size, *rest = pool.submit(recovered, place).result()
                    numbers = (f"{number:,}", name, f"{num:,}", f"{size / 1e6:.1f}", *(f"{one:.2f}" for one in rest))
                    table.add_row(what, *numbers)


def postgres_if(is_asked_for: bool) -> Any:
    """A server, if one is asked for."""
    return postgres.server() if is_asked_for else nullcontext(None)


if __name__ == "__main__":
    main()
