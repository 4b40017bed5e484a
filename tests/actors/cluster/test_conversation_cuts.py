"""Conversations are used at random while their session dies at random records: nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.actors.cluster.test_conversations import context, converse
from tests.actors.cluster.test_responses import gateway
from tests.actors.small_cluster import SmallCluster
from tests.api.http.openai.conversations.test_responses import items, respond, session_of_id, texts

NUM_STEPS, DEATHS = 14, 0.12


class Deaths:
    """Kills a session right before, or right after, some of its records are durable.

    Attributes:
        num: how many times.
    """

    def __init__(self, small: SmallCluster, session_id: str, chance: random.Random) -> None:
        self.num = 0
        self._small, self._session_id, self._chance = small, session_id, chance
        self._append = small.journal.append

    async def append(self, key: str, *arguments: Any) -> None:
        """In the place of the journal's."""
        if not key.endswith(self._session_id) or self._chance.random() > DEATHS:
            return await self._append(key, *arguments)
        if self._chance.random() < 0.5:
            await self._append(key, *arguments)
        self.num += 1
        self._small.kill_session(self._session_id)
        await asyncio.Event().wait()


class Use:
    """What is done to a conversation; ``said`` are the texts of users that are to be in it."""

    def __init__(self, conversation: str, gateways: tuple[httpx.AsyncClient, ...], chance: random.Random) -> None:
        self.said = {"zero"}
        self._conversation = conversation
        self._path = f"/v1/conversations/{conversation}/items"
        self._gateways = gateways
        self._chance = chance

    async def step(self, number: int) -> None:
        """Do anything."""
        action = self._chance.choice((self._respond, self._respond, self._queue, self._refuse, self._add, self._delete))
        client = self._chance.choice(self._gateways)
        if self._chance.random() < 0.2:
            first, *_, last = self._gateways
            names = (f"first {number}", f"second {number}", f"third {number}")
            await asyncio.gather(
                self._respond(first, names[0]), self._respond(last, names[1]), self._add(last, names[2])
            )
        else:
            await action(client, f"text {number}")

    def _instructions(self) -> dict[str, str]:
        return self._chance.choice(({}, {"instructions": "Be kind."}, {"instructions": "Be short."}))

    async def _respond(self, client: httpx.AsyncClient, text: str) -> None:
        await respond(client, self._conversation, text, **self._instructions())
        self.said.add(text)

    async def _queue(self, client: httpx.AsyncClient, text: str) -> None:
        body = await respond(client, self._conversation, text, background=True, **self._instructions())
        await client.get(f"/v1/responses/{body['id']}?stream=true")
        assert (await client.get(f"/v1/responses/{body['id']}")).json()["status"] == "incomplete"
        self.said.add(text)

    async def _refuse(self, client: httpx.AsyncClient, text: str) -> None:
        body = {"input": text, "conversation": self._conversation, "instructions": "x" * 11_000}
        assert (await client.post("/v1/responses", json=body)).status_code == 400

    async def _add(self, client: httpx.AsyncClient, text: str) -> None:
        added = {"items": [{"role": "user", "content": text}]}
        assert (await client.post(self._path, json=added)).status_code == 200
        self.said.add(text)

    async def _delete(self, client: httpx.AsyncClient, text: str) -> None:
        if found := await items(client, self._conversation):
            item = self._chance.choice(found)
            assert (await client.delete(f"{self._path}/{item['id']}")).is_success
            self.said -= {*texts([item])}


@pytest.mark.parametrize("seed", [1, 2, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 40))])
async def test_a_session_dies_at_any_record_and_all_that_was_answered_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    async with SmallCluster(tmp_path, pool_size=1) as small, gateway(small) as client, gateway(small) as other:
        conversation = await converse(client, "zero")
        deaths = Deaths(small, session_of_id(conversation), chance)
        use = Use(conversation, (client, other), chance)
        with monkeypatch.context() as patched:
            patched.setattr(small.journal, "append", deaths.append)
            for number in range(NUM_STEPS):
                await use.step(number)
        await respond(client, conversation, "last", instructions="Be last.")
        found = texts(await items(client, conversation))
        assert sorted(text for text in found if not text.startswith("<")) == sorted({*use.said, "last"})
        for is_killed in False, True:
            if is_killed:
                small.kill_session(session_of_id(conversation))
            assert await context(small, conversation) == ["Be last.", *found[:-1]]
            assert texts(await items(other, conversation)) == found
    assert deaths.num, "a session that never dies shows nothing"
