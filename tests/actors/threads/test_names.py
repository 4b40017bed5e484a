"""How threads are found: by names that are used again after a deletion, by idempotency keys, and not by other ids."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from actors.directory.messages import InferletSeed
from actors.directory.ref import DirectoryRef
from actors.journal.keys import PROMPT_KEY
from actors.pool.ref import Location
from api.errors import ThreadDeleted, ThreadNotFound, TooBusy
from tests.actors.inferlets.programs import launched
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD
from tests.actors.threads.caller import Caller, Json, calling, text_of
from tests.actors.threads.test_promises import called


async def keyed(caller: Caller, key: str, status: int = 202, agent: str = "plain", **body: object) -> Json:
    """What a prompt with this key is answered."""
    headers = {"Idempotency-Key": key}
    found: Json = await caller.ask("POST", f"/api/agents/{agent}/async_prompt", body, status, headers=headers)
    return found


async def test_a_name_that_was_deleted_often_costs_no_more_than_another(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        ids: list[str] = []
        for _ in range(5):
            ids.append((await caller.prompt("say a", "often", "plain"))["thread_id"])
            await caller.ask("DELETE", f"/api/threads/{ids[-1]}", status=204)
        assert len(set(ids)) == 5
        await caller.ask("GET", f"/api/threads/{ids[-1]}", status=410)
        thread_id = (await caller.prompt("say b", "often", "plain"))["thread_id"]
        assert thread_id not in ids
        assert await small.journal.list_items("deleted-thread/") == (ids[-1],)

        read: list[str] = []
        get_item = small.journal.get_item

        async def counted(space: str, name: str) -> bytes | None:
            read.append(space)
            return await get_item(space, name)

        monkeypatch.setattr(small.journal, "get_item", counted)
        assert (await caller.prompt("say c", "often", "plain"))["thread_id"] == thread_id
        assert len(read) == 1


async def test_names_that_an_earlier_release_has_deleted_go_on_from_there(small: SmallCluster) -> None:
    about = json.dumps(["", "plain", "old", None])
    ids = [hashlib.sha256(f"{about}{number}".encode()).hexdigest()[:32] for number in range(4)]
    for thread_id in ids[:3]:
        await small.journal.put_item("deleted-thread/", thread_id, b"")
    async with calling(small) as caller:
        for _ in range(2):
            assert (await caller.prompt("say a", "old", "plain"))["thread_id"] == ids[3]
        await caller.ask("GET", f"/api/threads/{ids[2]}", status=410)
    assert await small.journal.list_items("deleted-thread/") == (ids[2],)


async def secret(caller: Caller) -> tuple[str, int]:
    """A thread of the name "c" in which something was said: its id, and the seq of its last block."""
    first = await caller.prompt("say secret", "c", "plain")
    return first["thread_id"], first["blocks"][-1]["seq"]


async def known(caller: Caller) -> str:
    """What the model of the thread of this name has read."""
    return text_of((await caller.prompt("list", "c", "plain"))["blocks"][-1])


async def test_what_was_deleted_does_not_come_back_with_a_rewind_that_was_cut_short(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_short(*item: object) -> None:
        raise ConnectionError

    async with calling(small) as caller:
        thread_id, seq = await secret(caller)
        with monkeypatch.context() as patched:
            patched.setattr(small.journal, "put_item", cut_short)
            with pytest.raises(ConnectionError):
                await small.greenroom.agents.rewind("plain", "c", seq, "")
        await caller.ask("DELETE", f"/api/threads/{thread_id}", status=204)
        assert await known(caller) == "user: list"


async def test_of_two_rewinds_at_once_the_last_one_has_the_name_and_the_other_never_gets_it(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_launched, is_last = asyncio.Event(), asyncio.Event()
    put_item = small.journal.put_item

    async def late(space: str, name: str, value: bytes) -> None:
        monkeypatch.setattr(small.journal, "put_item", put_item)
        is_launched.set()
        await is_last.wait()
        await put_item(space, name, value)

    async with calling(small) as caller:
        agents = small.greenroom.agents
        thread_id, seq = await secret(caller)
        monkeypatch.setattr(small.journal, "put_item", late)
        last = asyncio.create_task(agents.rewind("plain", "c", seq, ""))
        await is_launched.wait()
        other = await agents.rewind("plain", "c", seq, "")
        is_last.set()
        fork_id = (await last).thread_id
        assert (await agents.find("plain", "c", "")).thread_id == fork_id
        assert await known(caller) == "user: say secret | assistant: secret | user: list"
        await caller.ask("DELETE", f"/api/threads/{fork_id}", status=204)
        assert await known(caller) == "user: list"
        for left in (thread_id, other.thread_id):
            await caller.ask("GET", f"/api/threads/{left}")


@pytest.mark.parametrize("is_launched_first", [True, False])
async def test_what_is_deleted_while_it_is_rewound_does_not_come_back(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch, is_launched_first: bool
) -> None:
    async with calling(small) as caller:
        thread_id, seq = await secret(caller)
        launch = type(small.directory).launch

        async def slow(directory: DirectoryRef, seed: InferletSeed) -> Location:
            launched = await launch(directory, seed) if is_launched_first else None
            await caller.ask("DELETE", f"/api/threads/{thread_id}", status=204)
            return launched or await launch(directory, seed)

        with monkeypatch.context() as patched:
            patched.setattr(type(small.directory), "launch", slow)
            with pytest.raises(ThreadDeleted if is_launched_first else ThreadNotFound):
                await small.greenroom.agents.rewind("plain", "c", seq, "")
        assert (await caller.ask("GET", "/api/threads"))["threads"] == []
        assert await known(caller) == "user: list"


async def test_an_idempotency_key_is_of_an_owner_and_an_agent_whatever_thread_it_was_used_for(
    small: SmallCluster,
) -> None:
    others: list[Json] = [{"context_id": "two"}, {"context_keys": {"a": 1}}, {}]
    async with calling(small) as caller:
        first = await keyed(caller, "k", prompt="say a", context_id="one")
        assert (await keyed(caller, "k", prompt="say a", context_id="one"))["run_id"] == first["run_id"]
        small.restart_directory()
        for other in (*others, {"context_id": first["thread_id"]}):
            refused = await keyed(caller, "k", 409, prompt="say a", **other)
            assert refused["error"]["code"] == "idempotency_conflict"
        assert (await keyed(caller, "k", prompt="say a", agent="quiet", context_id="two"))["run_id"] != first["run_id"]
        assert len(await small.journal.streams(PROMPT_KEY)) == 2
        await caller.ask("DELETE", f"/api/threads/{first['thread_id']}", status=204)
        again = await keyed(caller, "k", prompt="say a", context_id="two")
        assert again["thread_id"] != first["thread_id"]
        await keyed(caller, "k", 409, prompt="say a", context_id="one")


async def test_a_prompt_that_is_refused_leaves_its_idempotency_key_free(small: SmallCluster) -> None:
    refused: list[tuple[int, Json]] = [(409, {"if_busy": "reject"}), (400, {"tool_choice": "nothing"})]
    async with calling(small) as caller:
        held = await caller.begin(called("hold", name="n"), "one")
        for status, body in refused:
            await keyed(caller, "k", status, "helper", prompt="a", context_id="one", **body)
        HELD["n"].set()
        other = await keyed(caller, "k", agent="helper", prompt="say a", context_id="two")
        assert other["thread_id"] != held["thread_id"]


async def test_a_thread_that_is_refused_leaves_its_idempotency_key_free(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(directory: object, seed: object) -> None:
        raise TooBusy("as many as are allowed are there")

    async with calling(small) as caller:
        source = await caller.prompt("say a", "source", "plain")
        path = f"/api/threads/{source['thread_id']}/fork"
        headers = {"Idempotency-Key": "f"}
        with monkeypatch.context() as patched:
            patched.setattr(type(small.directory), "launch", refuse)
            await keyed(caller, "k", 429, prompt="a", context_id="one")
            await caller.ask("POST", path, {"after": 0}, 429, headers=headers)
        assert await small.journal.streams(PROMPT_KEY) == ()
        await keyed(caller, "k", prompt="say a", context_id="two")
        last = (await caller.blocks(source["thread_id"]))[-1]["id"]
        await caller.ask("POST", path, {"after": last}, 201, headers=headers)


async def test_an_idempotency_key_is_forgotten_in_time(small: SmallCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.inferlets.thread_names.KEY_KEPT_S", 0.0)
    async with calling(small) as caller:
        await keyed(caller, "k", prompt="say a", context_id="one")
        async with asyncio.timeout(30):
            while await small.journal.streams(PROMPT_KEY):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await keyed(caller, "k", prompt="say b", context_id="two")


async def test_an_inferlet_that_is_no_thread_is_not_found_as_one(small: SmallCluster) -> None:
    inferlet = await launched(
        small,
        """
        @inferlet
        async def main(args: Args) -> str:
            return await recv()
        """,
    )
    async with calling(small) as caller:
        for method, path in (("GET", ""), ("GET", "/blocks"), ("GET", "/stream"), ("DELETE", "")):
            missing = await caller.ask(method, f"/api/threads/{inferlet.instance_id}{path}", status=404)
            assert missing["error"]["code"] == "thread_not_found"
        assert (await caller.ask("GET", f"/api/inferlets/{inferlet.instance_id}"))["state"] == "running"
