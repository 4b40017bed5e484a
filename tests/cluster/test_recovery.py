"""Kill -9 of every actor on a session's way, in the middle of a stream: what the client sees stays token-exact."""

from __future__ import annotations

import asyncio
import random
import statistics
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.cluster.greenroom import Greenroom
from actors.settings import TopicSettings
from api.cluster import SessionOptions
from api.names import TopicId
from tests.actors.engine.adapters import make_adapter, merge_adapter
from tests.cluster.deployed import MODEL, Deployed
from tests.cluster.native import say
from tests.cluster.three_turns import FIRST, SECOND, THIRD, conversation, open_session, undisturbed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", name="undisturbed")
def _undisturbed() -> list[list[int]]:
    return undisturbed(MODEL)


@pytest.mark.parametrize("num_kills", [3, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["session", "model", "journal", "directory", "gateway"])
def test_kills_in_the_middle_of_streams_change_no_token(
    deployed: Deployed, undisturbed: list[list[int]], what: str, num_kills: int, record_property: Any
) -> None:
    pauses = []
    for _ in range(num_kills):
        kill_after = random.randrange(1, len(undisturbed[1]))
        print(f"kill -9 of the {what} after {kill_after} tokens")  # noqa: T201
        answers = asyncio.run(conversation(deployed, what, kill_after))
        assert [answer.ids for answer in answers] == undisturbed
        pauses.append(answers[1].pause_s)
    p95 = statistics.quantiles(pauses, n=20)[-1]
    record_property("p95_pause_s", round(p95, 2))
    print(f"kill -9 of the {what}: pause median {statistics.median(pauses):.2f} s, p95 {p95:.2f} s")  # noqa: T201


@pytest.mark.parametrize("what", ["session", "model", "journal", "directory", "gateway"])
def test_a_kill_between_turns_changes_no_token(deployed: Deployed, undisturbed: list[list[int]], what: str) -> None:
    async def run() -> list[list[int]]:
        session_id = await open_session(deployed)
        answers: list[list[int]] = []
        for turn in (FIRST, SECOND, THIRD):
            if answers:  # after the last turn the next test would begin before the process is back
                await asyncio.to_thread(deployed.kill, what, session_id)
            answers.append((await say(deployed.url, session_id, {**turn, "turn_id": uuid.uuid4().hex})).ids)
        return answers

    assert asyncio.run(run()) == undisturbed


def test_an_adapter_that_was_loaded_outlives_its_model_actor(deployed: Deployed, tmp_path: Path) -> None:
    adapter = make_adapter(Path(MODEL), tmp_path / "adapter")
    expected = undisturbed(str(merge_adapter(Path(MODEL), adapter, tmp_path / "merged")))
    adapters = f"{deployed.url}/api/models/pocket/adapters"
    httpx.post(adapters, json={"name": "late", "path": str(adapter)}, timeout=60).raise_for_status()
    try:
        answers = asyncio.run(conversation(deployed, "model", kill_after=20, adapter="late"))
    finally:
        httpx.delete(f"{adapters}/late", timeout=60).raise_for_status()
    assert [answer.ids for answer in answers] == expected


def test_directory_broker_and_a_session_that_runs_have_the_latest_settings_over_kills(deployed: Deployed) -> None:
    name = f"latest-{uuid.uuid4().hex}"

    async def scenario(greenroom: Greenroom) -> None:
        first = await greenroom.directory.settings()
        sessions = replace(first.sessions, passivate_after_s=0.5)
        broker = replace(first.broker, topics=(TopicSettings(name, max_messages=2), *first.broker.topics))
        latest = replace(first, sessions=sessions, broker=broker)
        session = await greenroom.open_session(SessionOptions())
        try:
            await greenroom.configure(latest)
            for what in ("directory", "broker"):
                await asyncio.to_thread(deployed.kill, what)
            assert await greenroom.directory.settings() == latest
            for number in range(5):
                await greenroom.broker.publish(TopicId(name), number)
            [topic] = [info for info in await greenroom.broker.topics("") if info.topic.name == name]
            assert (topic.first, topic.end) == (3, 5)
            async with asyncio.timeout(60):
                while await state_of(greenroom, session.session_id) == "active":  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        finally:
            await greenroom.configure(first)

    deployed.run(scenario)


async def state_of(greenroom: Greenroom, session_id: str) -> str:
    [state] = [one.state for one in await greenroom.sessions() if one.session_id == session_id]
    return state
