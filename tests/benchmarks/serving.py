"""What each layer costs: the engine alone, the model actor, the session, WebSocket and HTTP through Serve, in one run.

``python -m tests.benchmarks.serving [--engine vllm] [--streams N …] [--tokens N] [--turns N] [--rounds N]``.

Every stream is a conversation: a turn follows the one before it at once, on the context that this one left. Only HTTP,
which keeps none, begins anew with each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import connect

from actors.cluster.greenroom import Greenroom
from actors.engine.contract import Admission, Output, tokens_hash
from actors.engine.factory import build_engine
from actors.models.messages import StartTurn, turn_key
from actors.settings import ModelSettings
from api.cluster import SessionOptions
from api.turns import Sampling, Stop, Tokens, TurnRequest
from deployments.config import embedded_model
from tests.benchmarks.load import Row, Stream, measure
from tests.benchmarks.report import printed, require
from tests.benchmarks.served import Served

LENGTHS = (128, 512, 2000)
ENGINE_ARGS: dict[str, dict[str, Any]] = {
    "torch": {"num_threads": 1, "kv_cache_bytes": 1 << 30},
    "vllm": {"kv_cache_memory_bytes": 1 << 30},
}
PROMPT = 48
VOCABULARY = range(300, 900)


def prompt(index: int, length: int = PROMPT) -> tuple[int, ...]:
    """(length,) ordinary token ids, another sequence for every index."""
    return tuple(random.Random(index).choices(VOCABULARY, k=length))


class Conversation:
    """What a caller without a session knows of its context: its id and its tokens."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.tokens: tuple[int, ...] = ()

    @property
    def hash(self) -> bytes:
        """Of all tokens."""
        return tokens_hash(self.tokens)


class EngineAlone:
    """The engine on this process's event loop, with nothing around it."""

    def __init__(self, settings: ModelSettings, num_tokens: int) -> None:
        self._settings = settings
        self._num_tokens = num_tokens
        self._queues: dict[str, asyncio.Queue[Output]] = {}
        self._conversations: dict[int, Conversation] = {}

    async def start(self) -> None:
        """Load the model and begin to step."""
        open_engine, _ = build_engine(self._settings)
        self._engine = await open_engine()
        self._stepping = asyncio.create_task(self._step())

    async def stop(self) -> None:
        """End it."""
        self._stepping.cancel()
        await self._engine.stop()

    async def stream(self, index: int) -> AsyncIterator[int]:
        """The next turn of one context."""
        turn_id = uuid.uuid4().hex
        queue = self._queues[turn_id] = asyncio.Queue()
        stop = Stop(self._num_tokens, at_eos=False)
        known = self._conversations.setdefault(index, Conversation())
        tokens = prompt(index)
        base = len(known.tokens)
        self._engine.admit(Admission(turn_id, known.id, base, known.hash, tokens, Sampling(), stop, create=not base))
        known.tokens += tokens
        is_over = False
        while not is_over:
            output = await queue.get()
            known.tokens += tuple(output.ids)
            is_over = output.finish is not None
            yield len(output.ids)
        del self._queues[turn_id]

    def reset(self) -> None:
        """End all contexts."""
        for known in self._conversations.values():
            self._engine.close(known.id)
        self._conversations.clear()

    async def _step(self) -> None:
        while True:
            for output in await self._engine.step():
                self._queues[output.turn_id].put_nowait(output)


class Clients:
    """Four ways to the same model of one deployed Greenroom."""

    def __init__(self, url: str, greenroom: Greenroom, num_tokens: int) -> None:
        self._url = url
        self._greenroom = greenroom
        self._num_tokens = num_tokens
        self._conversations: dict[int, Conversation] = {}

    def _request(self, index: int) -> TurnRequest:
        stop = Stop(self._num_tokens, at_eos=False)
        return TurnRequest(uuid.uuid4().hex, (Tokens(prompt(index)),), stop=stop)

    async def model_actor(self, index: int) -> AsyncIterator[int]:
        """The model actor, read through one long poll."""
        known = self._conversations.setdefault(index, Conversation())
        placement = await self._greenroom.directory.place(None, known.id)
        request = self._request(index)
        base = len(known.tokens)
        last_id = known.tokens[-1] if base else None
        await placement.model.start_turn(StartTurn(request, known.id, 1, base, known.hash, last_id))
        known.tokens += prompt(index)
        key = turn_key(known.id, request.turn_id)
        async for frame in self._greenroom.reader.follow(placement.model, key, 0):
            known.tokens += frame.ids
            yield len(frame.ids)

    async def session(self, index: int) -> AsyncIterator[int]:
        """A session over its Python reference; opened outside the measurement."""
        async for frame in await self._sessions[index].begin(self._request(index)):
            yield len(frame.ids)

    async def websocket(self, index: int) -> AsyncIterator[int]:
        """A session over its WebSocket; opened and connected outside the measurement."""
        socket = self._sockets[index]
        request = self._request(index)
        generate = {
            "type": "generate",
            "turn_id": request.turn_id,
            "tokens": prompt(index),
            "max_tokens": self._num_tokens,
            "sampling": {"logit_bias": {"1": -100}},
        }
        await socket.send(json.dumps(generate))
        while True:
            message = json.loads(await socket.recv())
            assert message["type"] != "error", message
            if message["type"] == "tokens":
                yield len(message["ids"])
            if message["type"] == "finished":
                return

    async def http(self, index: int) -> AsyncIterator[int]:
        """One Petals POST: the whole answer at once."""
        data = {"inputs": "word " * 24, "max_new_tokens": self._num_tokens}
        answer = (await self._http.post("/api/v1/generate", data=data)).json()
        assert answer["ok"], answer
        yield self._num_tokens

    async def open(self, num_streams: int) -> list[float]:
        """Sessions and sockets for so many streams; returns how long opening each session took, seconds."""
        self._http = httpx.AsyncClient(base_url=self._url, timeout=120, limits=httpx.Limits(max_connections=64))
        self._sessions, self._sockets, times = [], [], []
        for _ in range(num_streams):
            began = time.perf_counter()
            session = await self._greenroom.open_session(SessionOptions())
            times.append(time.perf_counter() - began)
            self._sessions.append(session)
            address = f"{self._url.replace('http', 'ws')}/api/sessions/{session.session_id}?turns=own"
            self._sockets.append(await connect(address))
        return times

    async def reset(self) -> None:
        """Empty all contexts, so that every measurement begins with the same."""
        await asyncio.gather(*(session.rollback(0) for session in self._sessions))
        for known in self._conversations.values():
            await (await self._greenroom.directory.place(None, known.id)).model.close(known.id)
        self._conversations.clear()

    async def close(self) -> None:
        """Close them all."""
        await asyncio.gather(*(socket.close() for socket in self._sockets))
        await self._http.aclose()
        await self._greenroom.directory.purge()


def never_ending(path: Path, copy: Path) -> Path:
    """The same checkpoint, ended by its beginning-of-text token: every answer is as long as it may be."""
    shutil.copytree(path, copy)
    for name in ("config.json", "generation_config.json"):
        config = json.loads((copy / name).read_text())
        (copy / name).write_text(json.dumps({**config, "eos_token_id": config["bos_token_id"]}))
    tokenizer = json.loads((copy / "tokenizer_config.json").read_text())
    (copy / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "eos_token": tokenizer["bos_token"]}))
    return copy


async def stop_refilling(greenroom: Greenroom) -> None:
    """Start no more session actors: each start is most of a second of a core, and would be measured with the rest."""
    settings = await greenroom.directory.settings()
    await greenroom.directory.configure(replace(settings, sessions=replace(settings.sessions, pool_size=0)))


async def warm_against_refilled(greenroom: Greenroom, length: int, rounds: int) -> tuple[float, float]:
    """Median time to first token (ms) on a context of this length: resident, and freed before."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for index in range(rounds):
        session = await greenroom.open_session(SessionOptions())
        first = TurnRequest(uuid.uuid4().hex, (Tokens(prompt(index, length - 20)),), stop=Stop(2, at_eos=False))
        [_ async for _ in await session.begin(first)]
        for is_warm in (True, False):
            if not is_warm:
                placement = await greenroom.directory.place(None, session.session_id)
                await placement.model.drop(session.session_id)
            began = time.perf_counter()
            turn = TurnRequest(uuid.uuid4().hex, (Tokens(prompt(index, 4)),), stop=Stop(2, at_eos=False))
            async for _ in await session.begin(turn):
                times[is_warm].append(time.perf_counter() - began)
                break
            await session.resume(turn.turn_id, 0)
            [_ async for _ in await session.resume(turn.turn_id, 0)]
        await session.close()
    return statistics.median(times[True]) * 1e3, statistics.median(times[False]) * 1e3


async def benchmark(
    served: Served, settings: ModelSettings, streams: list[int], num_tokens: int, num_turns: int, rounds: int
) -> None:
    """Measure and print."""
    greenroom = await Greenroom.connect()
    clients = Clients(served.url, greenroom, num_tokens)
    alone = EngineAlone(settings, num_tokens)
    await alone.start()
    await stop_refilling(greenroom)
    opening = await clients.open(max(streams))
    ways: dict[str, Stream] = {
        "engine alone": alone.stream,
        "model actor": clients.model_actor,
        "session (Python)": clients.session,
        "WebSocket": clients.websocket,
        "HTTP (Petals)": clients.http,
    }
    for stream in ways.values():
        await measure(stream, max(streams), num_turns)
        await clients.reset()
        alone.reset()
    table = Table("streams", "way", "of engine", "tokens/s", "first token ms", "per token ms", title="Layers")
    console = Console()
    with printed(table, console):
        for num_streams in streams:
            found: dict[str, list[Row]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, stream in ways.items():
                    found[name].append(await measure(stream, num_streams, num_turns))
                    await clients.reset()
                    alone.reset()
            base = found["engine alone"]
            for name, rows in found.items():
                ratio = statistics.median(
                    row.tokens_per_s / of.tokens_per_s for row, of in zip(rows, base, strict=True)
                )
                rate, first, each = (
                    statistics.median(getattr(row, field) for row in rows)
                    for field in ("tokens_per_s", "first_token_ms", "per_token_ms")
                )
                is_streamed = not name.startswith("HTTP")
                table.add_row(
                    str(num_streams),
                    name,
                    f"{ratio:.0%}",
                    f"{rate:.0f}",
                    f"{first:.1f}" if is_streamed else "-",
                    f"{each:.2f}" if is_streamed else "-",
                )
    await alone.stop()
    await clients.close()
    console.print(f"opening a session from the pool: median {statistics.median(opening) * 1e3:.1f} ms")
    contexts = Table("context tokens", "re-filled / warm", "warm ms", "re-filled ms", title="Time to first token")
    with printed(contexts, console):
        for length in LENGTHS:
            warm, refilled = await warm_against_refilled(greenroom, length, rounds + 2)
            contexts.add_row(str(length), f"{refilled / warm:.1f}", f"{warm:.1f}", f"{refilled:.1f}")
    console.print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")


def main() -> None:
    """Deploy, measure, take down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=embedded_model())
    parser.add_argument("--engine", choices=list(ENGINE_ARGS), default="torch")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    require(packages=["vllm"] if arguments.engine == "vllm" else [])
    with tempfile.TemporaryDirectory() as folder:
        path = str(never_ending(Path(arguments.model), Path(folder) / "model"))
        engine, engine_args = arguments.engine, ENGINE_ARGS[arguments.engine]
        settings = ModelSettings("pocket", path, engine=engine, engine_args=engine_args)
        model = {"name": "pocket", "path": path, "engine": engine, "engine_args": engine_args}
        config = {"models": [model], "sessions": {"pool_size": max(arguments.streams)}}
        served = Served(config, Path(folder))
        served.start()
        try:
            served.wait_for_sessions(max(arguments.streams))
            asyncio.run(
                benchmark(served, settings, arguments.streams, arguments.tokens, arguments.turns, arguments.rounds)
            )
        finally:
            served.stop()


if __name__ == "__main__":
    main()
