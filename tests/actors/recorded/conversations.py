"""Write a journal of this release's conversations, with what they are, and what goes on from them:
``python -m tests.actors.recorded.conversations FOLDER``.

The folder gets ``journal.db`` as a killed cluster leaves it, and ``expected.json``.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from api.settings import OpenAISettings
from api.turns import messages_in
from tests.actors.cluster.test_responses import gateway
from tests.actors.recorded.record import cluster_on
from tests.actors.small_cluster import SmallCluster

Body = dict[str, Any]

FOR_EVER = OpenAISettings(retention_days=36_500)
KIND, SHORT = {"instructions": "Be kind."}, {"instructions": "Be short."}


class Conversations:
    """What is asked of a gateway, over HTTP alone: earlier releases did it in the same way."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def make(self, *words: str) -> str:
        """The id of a new conversation with these messages."""
        made: str = (await self._post("/v1/conversations", items=_said(words)))["id"]
        return made

    async def add(self, conversation: str, *words: str) -> list[str]:
        """The ids of messages that are added."""
        added = await self._post(f"/v1/conversations/{conversation}/items", items=_said(words))
        return [item["id"] for item in added["data"]]

    async def respond(self, text: str, **fields: Any) -> str:
        """The id of a response of three tokens."""
        made: str = (await self._post("/v1/responses", input=text, max_output_tokens=3, **fields))["id"]
        return made

    async def items(self, conversation: str) -> list[Body]:
        """All items, the oldest first."""
        return list((await self._get(f"/v1/conversations/{conversation}/items?order=asc&limit=100"))["data"])

    async def read(self, response_id: str) -> Body:
        """A response, once it has ended."""
        await self._client.get(f"/v1/responses/{response_id}?stream=true")
        return await self._get(f"/v1/responses/{response_id}")

    async def delete(self, path: str) -> None:
        """Delete something."""
        assert (await self._client.delete(path)).status_code == 200

    async def fork(self, conversation: str) -> str:
        """The id of a conversation that begins as this one."""
        return f"conv_{(await self._post(f'/api/sessions/{conversation}/fork'))['id']}"

    async def is_refused(self, conversation: str, **fields: Any) -> None:
        """A response cannot be."""
        body = {"input": "refused", "conversation": conversation, **fields}
        assert (await self._client.post("/v1/responses", json=body)).status_code == 400

    async def _post(self, path: str, **fields: Any) -> Body:
        return _body(await self._client.post(path, json=fields))

    async def _get(self, path: str) -> Body:
        return _body(await self._client.get(path))


def _said(words: tuple[str, ...]) -> list[Body]:
    return [{"role": "user", "content": word} for word in words]


def _body(answer: httpx.Response) -> Body:
    assert answer.is_success, answer.text
    body: Body = answer.json()
    return body


async def converse(small: SmallCluster) -> dict[str, tuple[str, list[str]]]:
    """Of conversations of every kind their ids and those of their responses, by name; the last two are at work."""
    async with gateway(small, FOR_EVER) as client:
        with_client = Conversations(client)
        told = await with_client.make("zero", "secret")
        told_by = [await with_client.respond("one", conversation=told, **KIND)]
        secret = (await with_client.items(told))[1]["id"]
        await with_client.delete(f"/v1/conversations/{told}/items/{secret}")
        told_by.append(await with_client.respond("two", conversation=told, **SHORT))
        told_by.append(await with_client.respond("three", conversation=told, **SHORT))
        await with_client.add(told, "added")
        fork = await with_client.fork(told)
        deleting = await with_client.make("zero")
        deleted = await with_client.respond("one", conversation=deleting)
        for item_id in await with_client.add(deleting, "first", "second"):
            await with_client.delete(f"/v1/conversations/{deleting}/items/{item_id}")
        refused = await with_client.make("zero")
        refused_by = [await with_client.respond("one", conversation=refused, **KIND)]
        await with_client.is_refused(refused, instructions="x" * 11_000)
        chain = [await with_client.respond("one", **KIND)]
        chain.append(await with_client.respond("two", previous_response_id=chain[0], **KIND))
        chained = f"conv_{chain[0].removeprefix('resp_')[:32]}"
        chain.append(await with_client.respond("three", conversation=chained, **SHORT))
        await with_client.delete(f"/v1/responses/{chain[1]}")
        del chain[1]
        small.engines[0].hold.clear()
        waiting = await with_client.make("zero")
        at_work = [
            await with_client.respond(text, conversation=waiting, background=True, **KIND) for text in ("one", "two")
        ]
        anew = await with_client.make("zero")
        begun = [await with_client.respond("one", conversation=anew, background=True)]
    return {
        "told": (told, told_by),
        "fork": (fork, []),
        "deleting": (deleting, [deleted]),
        "refused": (refused, refused_by),
        "chained": (chained, chain),
        "waiting": (waiting, at_work),
        "anew": (anew, begun),
    }


async def shown(small: SmallCluster, conversation: str, responses: list[str]) -> Body:
    """What there is of a conversation, and what it goes on with: in its context, and in a new one."""
    async with gateway(small, FOR_EVER) as client:
        with_client = Conversations(client)
        read = [await with_client.read(response_id) for response_id in responses]
        before = await with_client.items(conversation)
        after: list[list[str]] = []
        for instructions in KIND, SHORT:
            await with_client.respond("next", conversation=conversation, **instructions)
            after.append(await _context(small, conversation))
        texts = [item["content"][0]["text"] for item in await with_client.items(conversation)]
    listed = {session.session_id: session.title for session in await small.greenroom.sessions()}
    title = listed[conversation.removeprefix("conv_")]
    return {"responses": _timeless(read), "items": before, "contexts": after, "texts": texts, "title": title}


async def _context(small: SmallCluster, conversation: str) -> list[str]:
    described = await (await small.greenroom.session(conversation.removeprefix("conv_"))).describe()
    asked = [[message.content for message in messages_in(turn.prompt)] + [turn.text] for turn in described.turns]
    return [text for texts in asked for text in texts]


def _timeless(responses: list[Body]) -> list[Body]:
    """Without the time when those ended that were at work."""
    return [body | {"completed_at": None} for body in responses]


async def record(folder: Path) -> None:
    """Write the two files into a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        async with cluster_on(Path(scratch)) as cluster:
            ids = await converse(cluster)
            with sqlite3.connect(Path(scratch) / "journal.db") as source:
                with sqlite3.connect(folder / "journal.db") as target:
                    source.backup(target)
            cluster.engines[0].hold.set()
    with tempfile.TemporaryDirectory() as copy:
        shutil.copy(folder / "journal.db", copy)
        async with cluster_on(Path(copy)) as cluster:
            expected = {name: [*known, await shown(cluster, *known)] for name, known in ids.items()}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    asyncio.run(record(target))
