"""A response is read in pieces by OpenAI's own client: its stream is cut at random, and parts of the cluster die."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from api.http.app import build_app
from api.settings import ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.api.http.openai.responses.oracle import check_event
from tests.api.live_server import serving

NUM_CUTS, NUM_TOKENS = 20, 400
ENDS = ("response.completed", "response.incomplete", "response.failed")


class Gateways:
    """One at a time, with a client of its own; ``replace`` cuts off all that it serves."""

    def __init__(self, small: SmallCluster) -> None:
        self._small = small
        self._stack = AsyncExitStack()
        self.client: AsyncOpenAI

    async def replace(self) -> None:
        """End the gateway and start another one elsewhere."""
        await self._stack.aclose()
        app = build_app(self._small.greenroom, ApiSettings())
        url = await self._stack.enter_async_context(serving(app, grace_s=0.0))
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=60)
        self.client = await self._stack.enter_async_context(client)

    async def stop(self) -> None:
        """End it."""
        await self._stack.aclose()


@asynccontextmanager
async def gateways(small: SmallCluster) -> AsyncIterator[Gateways]:
    gateways = Gateways(small)
    await gateways.replace()
    try:
        yield gateways
    finally:
        await gateways.stop()


class Reader:
    """What one reader has of a response so far.

    Attributes:
        last: the number of the last event that it has.
        text: of all deltas.
        end: the response in the last event; None before.
    """

    def __init__(self, response_id: str) -> None:
        self.response_id = response_id
        self.last = -1
        self.text = ""
        self.end: dict[str, Any] | None = None

    async def read(self, client: AsyncOpenAI, num_events: int) -> None:
        """Go on after the last event, and leave after ``num_events`` more."""
        stream = await client.responses.retrieve(self.response_id, stream=True, starting_after=self.last)
        async with stream:
            async for event in stream:
                self._take(event.to_dict())
                num_events -= 1
                if not num_events:
                    return

    def _take(self, event: dict[str, Any]) -> None:
        check_event(event)
        assert event["sequence_number"] > self.last
        self.last = event["sequence_number"]
        self.text += event["delta"] if event["type"] == "response.output_text.delta" else ""
        self.end = event["response"] if event["type"] in ENDS else None


async def die(what: str, small: SmallCluster, session_id: str) -> None:
    """Kill -9 a part of the cluster, and start what does not come back by itself."""
    match what:
        case "session":
            small.kill_session(session_id)
        case "model":
            small.kill_model()
            await small.start_model(0)
        case "directory":
            small.restart_directory()


async def undisturbed(client: AsyncOpenAI) -> str:
    """The text of the same response, read in one go."""
    response = await client.responses.create(model="fake", input="Tell me.", max_output_tokens=NUM_TOKENS)
    return str(response.output_text)


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 20))])
async def test_twenty_random_cuts_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    async with SmallCluster(tmp_path, pool_size=1) as small, gateways(small) as at:
        expected = await undisturbed(at.client)
        response = await at.client.responses.create(
            model="fake", input="Tell me.", max_output_tokens=NUM_TOKENS, background=True
        )
        reader, model_dies_at = Reader(response.id), draw.randrange(NUM_CUTS)
        for number in range(NUM_CUTS):
            await reader.read(at.client, draw.randrange(1, 16))
            if draw.random() < 0.4:
                await at.replace()
            if number == model_dies_at:  # a turn that is in a second one's death is not started again
                await die("model", small, response.id[5:37])
            elif draw.random() < 0.4:
                await die(draw.choice(["session", "directory"]), small, response.id[5:37])
            assert reader.text == expected[: len(reader.text)], (seed, number)
        await reader.read(at.client, 0)
        found = await at.client.responses.retrieve(response.id)
    assert (reader.text, found.output_text) == (expected, expected)
    assert reader.end is not None
    assert (reader.end["status"], reader.end["usage"]["output_tokens"]) == ("incomplete", NUM_TOKENS)
    assert reader.end["output"] == found.to_dict()["output"]
