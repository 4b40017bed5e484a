"""``GET /api/runs``: the runs of an owner in all threads."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from actors.inferlets.program import AGENT
from actors.journal.contract import IndexEntry
from actors.journal.sqlite import SqliteJournal
from api.settings import ApiKey, ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_promises import called


async def runs(caller: Caller, query: str = "") -> list[Json]:
    return list((await caller.ask("GET", f"/api/runs?{query}"))["runs"])


async def test_runs_of_all_threads_are_listed_by_state_the_newest_first(small: SmallCluster) -> None:
    async with calling(small) as caller:
        long = "say " + "x" * 1000
        done = [(await caller.prompt(long if name == "b" else "say one", name))["run"]["id"] for name in "abc"]
        waiting = (await caller.begin(called("pay", amount=20), "d"))["run_id"]
        await caller.wait(waiting)
        child = (await caller.begin(called("expert", prompt="say it"), "f", "boss"))["run_id"]
        await caller.wait(child)
        running = (await caller.begin(called("hold", name="a"), "e"))["run_id"]
        queued = (await caller.begin("say later", "e"))["run_id"]
        async with asyncio.timeout(30):
            while "hold a" not in RECORDED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        every = [*done, waiting, child, running, queued]
        assert [one["id"] for one in await runs(caller)] == every[::-1]
        for state, expected in (
            ("succeeded", [child, *done[::-1]]),
            ("waiting", [waiting]),
            ("running", [running]),
            ("queued", [queued]),
            ("failed", []),
        ):
            assert [one["id"] for one in await runs(caller, f"state={state}")] == expected
        assert [one["id"] for one in await runs(caller, "agent=boss")] == [child]
        shown = next(one for one in await runs(caller) if one["id"] == done[1])
        whole = (await caller.ask("GET", f"/api/runs/{done[1]}"))["run"]
        assert shown == {**whole, "prompt": long[:500]}
        paged, after = [], ""
        while True:
            page = await caller.ask("GET", f"/api/runs?limit=2{after}")
            paged += [one["id"] for one in page["runs"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert paged == every[::-1]
        for wrong in ("state=odd", "state=queued,running", "after=x", "limit=0", "after=1.5"):
            await caller.ask("GET", f"/api/runs?{wrong}", status=400)
        HELD["a"].set()
        await caller.wait(queued)
        await caller.ask("DELETE", f"/api/threads/{done[0].partition('.')[0]}", status=204)
        left = [one["id"] for one in await runs(caller, "state=succeeded")]
        assert left == [queued, running, child, *done[:0:-1]]


async def test_a_run_is_listed_as_it_is_after_a_death_and_without_its_process(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("hold", name="a"), "t")
        async with asyncio.timeout(30):
            while not RECORDED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        small.kill_inferlet(begun["file"]["id"])
        await caller.wait(begun["run_id"])
        [found] = await runs(caller, "state=failed")
        assert (found["id"], found["reason"]) == (begun["run_id"], "worker_lost")
        assert found == (await caller.ask("GET", f"/api/runs/{begun['run_id']}"))["run"]
        HELD["a"].set()
        waiting = await caller.begin(called("pay", amount=20), "u")
        await caller.wait(waiting["run_id"])
        await rests(small, waiting["file"]["id"])
        small.restart_directory()
        assert [one["id"] for one in await runs(caller, "state=waiting")] == [waiting["run_id"]]
        tenants = [slot.target.tenant for slot in small.slots.values()]
        assert not [one for one in tenants if one and one.id == waiting["file"]["id"]], "no process was begun"


async def test_runs_of_other_owners_are_not_listed(small: SmallCluster) -> None:
    keys = tuple(ApiKey.of(f"key-of-{owner}-{'x' * 20}", owner) for owner in ("ada", "bob"))
    settings = ApiSettings(api_keys=keys)
    ada_key, bob_key = (f"key-of-{owner}-{'x' * 20}" for owner in ("ada", "bob"))
    async with calling(small, settings, ada_key) as ada, calling(small, settings, bob_key) as bob:
        mine = (await ada.prompt("say mine"))["run"]["id"]
        assert [one["id"] for one in await runs(ada)] == [mine]
        assert await runs(bob) == []


async def test_a_page_of_many_runs_takes_no_longer_than_one_of_few(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", "NORMAL")
    await journal.start()
    for owner, count in (("few", 100), ("many", 100_000)):
        acquired = await journal.create(f"inferlet/{owner}", owner, f"{AGENT}a", (), None)
        states = ("succeeded", "waiting")
        entries = [IndexEntry(f"r{n:06}", n, states[n % 1000 == 7], b"x") for n in range(count)]
        await journal.append(acquired.info.key, acquired.info.epoch, 0, (), None, None, entries)

    async def took(owner: str, state: str | None) -> float:
        times = []
        for _ in range(20):
            began_at = time.perf_counter()
            found = await journal.entries(owner, state, (60.5, ""), 20)
            times.append(time.perf_counter() - began_at)
            assert len(found) == (20 if state is None else 1)
        return min(times)

    for state in (None, "waiting"):
        assert await took("many", state) < 10 * await took("few", state)
    assert [one.name for one in await journal.entries("many", "waiting", None, 2)] == ["r099007", "r098007"]
    await journal.delete("inferlet/many")
    assert await journal.entries("many", None, None, 10) == ()
    await journal.stop()
