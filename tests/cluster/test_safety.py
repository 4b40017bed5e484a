"""Requests and deaths that once took a model down, on a whole Greenroom: none of them harms anything but itself."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from actors.contexts.deaths import Deaths
from tests.cluster.deployed import Deployed
from tests.cluster.native import Answer, say
from tests.cluster.three_turns import FIRST, open_session

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

EXTREME: list[dict[str, Any]] = [
    {"temperature": 1.0, "presence_penalty": 1e308, "seed": 1},
    {"temperature": 1.0, "repetition_penalty": 1e-45, "seed": 1},
    {"temperature": 1.0, "top_k": 2**63},
    {"logit_bias": {"5": 1e39}, "num_logprobs": 2},
]
WITHIN: list[dict[str, Any]] = [
    {"temperature": 100.0, "presence_penalty": 2, "frequency_penalty": -2, "repetition_penalty": 0.01, "seed": 1},
    {"temperature": 1e-45, "top_k": 2**31 - 1, "top_p": 0, "min_p": 1, "repetition_penalty": 100, "seed": 1},
    {"temperature": 1.0, "logit_bias": {"5": 100, "6": -100}, "num_logprobs": 20, "seed": 2**64 - 1},
]


@pytest.fixture
def models(deployed: Deployed) -> Iterator[None]:
    """The same model actors run afterwards."""
    before = deployed.pids("model")
    yield
    assert deployed.pids("model") == before


async def outcome(url: str, session_id: str, turn: dict[str, Any]) -> dict[str, Any]:
    """The last message about a turn; every message is JSON, with finite numbers."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    async with asyncio.timeout(60), connect(f"{url.replace('http', 'ws')}/api/sessions/{session_id}") as socket:
        await socket.send(json.dumps({"type": "generate", "turn_id": uuid.uuid4().hex, **turn}))
        while True:
            message: dict[str, Any] = json.loads(await socket.recv(), parse_constant=refuse)
            if message["type"] in ("finished", "error"):
                return message


@pytest.mark.usefixtures("models")
def test_extreme_numbers_are_refused_or_served_and_the_model_lives(deployed: Deployed) -> None:
    async def run() -> None:
        session_id = await open_session(deployed)
        beside = asyncio.create_task(say(deployed.url, session_id, {**FIRST, "turn_id": "beside"}))
        for sampling in EXTREME:
            message = await outcome(deployed.url, await open_session(deployed), {"text": "hi", "sampling": sampling})
            assert (message["type"], message["code"]) == ("error", "invalid_request"), sampling
        for sampling in WITHIN:
            turn = {"text": "hi", "max_tokens": 6, "sampling": sampling}
            assert (await outcome(deployed.url, session_id, turn))["type"] == "finished", sampling
        assert (await beside).reason is not None

    asyncio.run(run())
    form = {"inputs": "Hello", "max_new_tokens": "4", "do_sample": "1", "repetition_penalty": "1e-45"}
    response = httpx.post(f"{deployed.url}/api/v1/generate", data=form, timeout=60)
    assert response.headers["x-greenroom-error"] == "invalid_request"
    assert "repetition_penalty must be a number" in response.json()["traceback"]
    assert httpx.post(f"{deployed.url}/api/v1/generate", data=form | {"repetition_penalty": "1"}).json()["ok"]


def test_a_turn_that_was_running_in_two_kills_of_its_model_fails_and_its_session_goes_on(deployed: Deployed) -> None:
    endless = {"tokens": list(range(300, 310)), "max_tokens": 1500, "sampling": {"logit_bias": {"1": -100}}}

    async def killed_twice(session_id: str, turn: dict[str, Any]) -> bool:
        """Whether the turn was still running at the second kill."""
        answer = Answer()
        saying = asyncio.create_task(say(deployed.url, session_id, turn, answer))
        for _ in range(2):
            num_before = len(answer.ids)
            async with asyncio.timeout(60):
                while len(answer.ids) <= num_before and not saying.done():  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            await asyncio.to_thread(deployed.kill, "model")
        [ended] = await asyncio.gather(saying, return_exceptions=True)
        return isinstance(ended, AssertionError) and Deaths.SENTENCE in str(ended)

    async def run() -> None:
        for attempt in range(5):  # on a busy machine a turn might end before its model actor is found and killed
            session_id, turn = await open_session(deployed), {**endless, "turn_id": f"twice-{attempt}"}
            if await killed_twice(session_id, turn):
                break
        message = await outcome(deployed.url, session_id, turn)
        assert (message["code"], message["retryable"]) == ("internal", False)
        assert (await say(deployed.url, session_id, {**FIRST, "turn_id": "next"})).reason is not None

    asyncio.run(run())
