"""When threads that nobody uses are deleted."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from actors.inferlets.lifetime import MAX_WAIT_S, Lifetime
from actors.inferlets.records import Ended, Launched, Logged, Restarted
from actors.journal.keys import INFERLET, journal_key
from actors.settings import InferletSettings
from api.http.openai.agents import chat
from tests.actors.threads.caller import Caller, calling
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_promises import called

DAY_S = 86_400.0
SETTINGS = InferletSettings(idle_timeout_s=7 * DAY_S, keep_ended_s=DAY_S)


def launched(idle_timeout_s: float | None = None) -> Launched:
    return Launched("agent:a", None, "", (), "", None, idle_timeout_s=idle_timeout_s)


def run(state: str) -> Logged:
    return Logged(1, "", {"log": "run", "run": {"id": "t.r1", "state": state}})


def ask(log: str, expires_at: float | None) -> Logged:
    return Logged(1, "", {"log": log, "block": {"id": "t.b1", "kind": "ask", "ask": {"expires_at": expires_at}}})


@pytest.mark.parametrize(
    ("records", "wakes_at", "expected"),
    [
        ([launched()], None, 7 * DAY_S),
        ([launched(60.0)], None, 60.0),
        ([launched(60.0), run("running")], None, 7 * DAY_S),
        ([launched(60.0), run("running"), run("succeeded")], None, 60.0),
        ([launched(60.0), run("running"), Restarted("worker_lost", "")], None, 60.0),
        ([launched(60.0), run("queued"), Restarted("worker_lost", "")], None, 7 * DAY_S),
        ([launched(60.0), run("waiting"), ask("created", None)], None, 7 * DAY_S),
        ([launched(), run("waiting"), ask("created", 8 * DAY_S)], None, 15 * DAY_S),
        ([launched(), run("waiting"), ask("created", 8 * DAY_S), ask("completed", 8 * DAY_S)], None, 7 * DAY_S),
        ([launched(), run("waiting"), ask("created", None)], None, MAX_WAIT_S),
        ([launched(), run("waiting"), ask("created", None), ask("completed", None)], None, 7 * DAY_S),
        ([launched()], 9 * DAY_S, 16 * DAY_S),
        ([launched()], 900 * DAY_S, MAX_WAIT_S + 7 * DAY_S),
        ([launched(), ask("created", None), Ended("failed")], 9 * DAY_S, DAY_S),
    ],
)
def test_what_waits_is_kept_until_it_goes_on(records: list[Any], wakes_at: float | None, expected: float) -> None:
    lifetime = Lifetime(SETTINGS)
    lifetime.take(records)
    assert lifetime.expires_at(0.0, wakes_at) == expected


def test_without_an_idle_timeout_only_those_with_one_of_their_own_go() -> None:
    for record, expected in ((launched(), None), (launched(60.0), 60.0)):
        lifetime = Lifetime(InferletSettings(idle_timeout_s=None))
        lifetime.take([record])
        assert lifetime.expires_at(0.0) == expected


async def test_the_thread_of_a_chat_goes_after_its_answer_and_not_while_it_waits_for_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "KEPT_S", 1.0)
    async with scripted_cluster(tmp_path, passivate_after_s=0.05) as small, calling(small) as caller:
        call = (await _chat(caller, called("pick")))["message"]["tool_calls"][0]
        for _ in range(2):
            assert (await _chat(caller, "say hello"))["message"]["content"] == "hello"
        await caller.prompt("say kept", "kept")
        assert len((await caller.ask("GET", "/api/threads"))["threads"]) == 4
        await _until_gone(caller, 2)
        result = {"role": "tool", "tool_call_id": call["id"], "content": "a.txt"}
        assert (await _chat(caller, "x", result))["message"]["content"] == "told a.txt"
        await _until_gone(caller, 1)
        [left] = (await caller.ask("GET", "/api/threads"))["threads"]
        assert left["context_id"] == "kept"


async def test_a_thread_whose_ask_waits_outlives_its_idle_timeout(tmp_path: Path) -> None:
    async with scripted_cluster(tmp_path, passivate_after_s=0.05, idle_timeout_s=0.5) as small:
        async with calling(small) as caller:
            timed = await caller.begin(called("patient"), "timed", "hurried")
            endless = await caller.begin(called("pay", amount=20), "endless", "hurried")
            for begun in (timed, endless):
                await caller.wait(begun["run_id"])
            await caller.prompt("say hello", "idle")
            await _until_gone(caller, 2)
            for begun, earliest_s in ((timed, 60.0), (endless, MAX_WAIT_S - 60.0)):
                info = await small.journal.info(journal_key(INFERLET, begun["file"]["id"]))
                assert info is not None
                assert info.expires_at is not None
                assert info.expires_at > time.time() + earliest_s - 10
            small.restart_directory()
            await asyncio.sleep(0.6)
            [block] = await caller.blocks(endless["file"]["id"], "kinds=ask")
            await caller.answer(endless["run_id"], ask_id=block["id"], approve=True)
            assert (await caller.wait(endless["run_id"]))["state"] == "succeeded"


async def _chat(caller: Caller, text: str, *more: Any) -> Any:
    messages = [{"role": "user", "content": text}, *more]
    answer = await caller.ask("POST", "/v1/chat/completions", {"model": "agent/helper", "messages": messages})
    return answer["choices"][0]


async def _until_gone(caller: Caller, num_left: int) -> None:
    """Wait until this number of threads is left."""
    async with asyncio.timeout(30):
        while len((await caller.ask("GET", "/api/threads"))["threads"]) > num_left:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
