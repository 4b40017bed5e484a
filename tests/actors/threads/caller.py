"""A caller of agents over HTTP, and what every stream of events must be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from api.http.app import build_app
from api.settings import ApiSettings
from api.threads.blocks import is_within
from tests.actors.small_cluster import SmallCluster
from tests.api.live_server import serving

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    id: str
    name: str
    data: Json


@dataclass(frozen=True, slots=True)
class Caller:
    """A client of one gateway; any number have one cluster."""

    http: httpx.AsyncClient

    async def ask(self, method: str, path: str, body: Json | None = None, status: int = 200, **options: Any) -> Any:
        """The answer's body; its status must be this."""
        response = await self.http.request(method, path, json=body, **options)
        assert response.status_code == status, (response.status_code, response.text)
        return response.json() if response.content else None

    async def prompt(self, text: str, context_id: str | None = None, agent: str = "helper", **fields: Any) -> Json:
        """``prompt``: the whole answer."""
        body = {"prompt": text, **({} if context_id is None else {"context_id": context_id}), **fields}
        found: Json = await self.ask("POST", f"/api/agents/{agent}/prompt", body)
        return found

    async def begin(
        self, text: str, context_id: str | None = None, agent: str = "helper", key: str | None = None, **fields: Any
    ) -> Json:
        """``async_prompt``."""
        body = {"prompt": text, **({} if context_id is None else {"context_id": context_id}), **fields}
        headers = {} if key is None else {"Idempotency-Key": key}
        found: Json = await self.ask("POST", f"/api/agents/{agent}/async_prompt", body, 202, headers=headers)
        return found

    async def stream(self, path: str, last_event_id: str | None = None) -> AsyncIterator[Event]:
        """The events of a stream, to its end; those after one, for a reader that comes back."""
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        async with self.http.stream("GET", path, headers=headers) as response:
            if response.is_error:
                await response.aread()
            response.raise_for_status()
            fields: dict[str, str] = {}
            async for line in response.aiter_lines():
                if line.startswith(":"):
                    continue
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    yield Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
                    fields = {}

    async def events(self, begun: Json) -> list[Event]:
        """Those of a run that was begun, to its end."""
        return [event async for event in self.stream(begun["stream_url"])]

    async def until(self, begun: Json, event_name: str, /, **block: Any) -> Event:
        """The first event of this name with a block that has these fields."""
        async for event in self.stream(begun["stream_url"]):
            if event.name == event_name and block.items() <= event.data.get("block", {}).items():
                return event
        raise AssertionError(f"no {event_name} of {block} came")

    async def wait(self, run_id: str, timeout_s: float = 30.0) -> Json:
        """The run, once it has ended or waits."""
        found: Json = (await self.ask("GET", f"/api/runs/{run_id}/wait?timeout_s={timeout_s}"))["run"]
        return found

    async def blocks(self, thread_id: str, query: str = "") -> list[Json]:
        """Blocks of a thread."""
        found: list[Json] = (await self.ask("GET", f"/api/threads/{thread_id}/blocks?{query}"))["blocks"]
        return found

    async def answer(self, run_id: str, status: int = 202, **answer: Any) -> Any:
        """Answer one ask."""
        return await self.ask("POST", f"/api/runs/{run_id}/answers", {"answers": [answer]}, status)


@asynccontextmanager
async def calling(small: SmallCluster, settings: ApiSettings | None = None, key: str = "") -> AsyncIterator[Caller]:
    """A caller of a gateway of its own."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with serving(build_app(small.greenroom, settings or ApiSettings()), grace_s=0.0) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60, headers=headers) as http:
            yield Caller(http)


def text_of(block: Json) -> str:
    """The text of a block's parts."""
    return "".join(part.get("text", "") for part in block["parts"])


def raw_of(part: Json) -> Any:
    """What the deltas of a part must come to: its text, or the value of its JSON text."""
    return part["json"] if "json" in part else part.get("text", "")


def check(events: Sequence[Event], run_id: str, num_children: int = 0) -> dict[str, Json]:
    """The final blocks by id of the whole stream of a run and of those below it; it must be what every one is."""
    seqs = [event.data["seq"] for event in events if "seq" in event.data]
    assert seqs == sorted(set(seqs)), "seqs grow and are not used twice"
    assert len({event.id for event in events}) == len(events), "no position comes twice"
    ends = [event.data["run"]["id"] for event in events if event.name == "run.ended"]
    assert len(set(ends)) == len(ends) == 1 + num_children, "each run ends once"
    assert events[-1].name == "run.ended"
    assert ends[-1] == run_id, "children end first"
    created: dict[str, Json] = {}
    deltas: dict[tuple[str, int], str] = {}
    final: dict[str, Json] = {}
    for event in events:
        data = event.data
        if event.name == "block.created":
            block = data["block"]
            assert block["seq"] == data["seq"]
            created[block["id"]] = block
            deltas |= {(block["id"], index): part.get("text", "") for index, part in enumerate(block["parts"])}
        elif event.name == "block.delta":
            assert data["block_id"] in created
            assert data["block_id"] not in final
            so_far = deltas.setdefault((data["block_id"], data["part"]), "")
            assert data["offset"] == len(so_far.encode()), "each delta begins where the last one ended"
            deltas[data["block_id"], data["part"]] = so_far + data["text"]
        elif event.name == "block.completed":
            assert data["block"]["id"] in created
            final[data["block"]["id"]] = data["block"]
    assert final.keys() == created.keys(), "no block stays open"
    for block in final.values():
        assert is_within(block["run_id"], run_id) if num_children else block["run_id"] == run_id
        assert block["state"] != "open"
        for index, part in enumerate(block["parts"]):
            if part["type"] != "file":
                shown = deltas.get((block["id"], index), "")
                assert (json.loads(shown) if "json" in part else shown) == raw_of(part)
    return final
