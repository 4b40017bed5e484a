"""Servers of one model that can be measured side by side: ours, on either engine, and its peers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
from typing_extensions import override
from websockets.asyncio.client import ClientConnection, connect

from actors.engine.vllm.settings import ENVIRONMENT, ENVIRONMENT_ON_A_CPU, ON_A_CPU
from tests.benchmarks.served import Served
from tests.cluster.deployed import free_port

KV_CACHE_BYTES = 256 << 20
ARGUMENTS: dict[str, Any] = {**ON_A_CPU, "kv_cache_memory_bytes": KV_CACHE_BYTES}
"""Of vLLM, wherever it runs."""

START_TIMEOUT_S = 240.0


class Conversation(Protocol):
    """One user's, turn after turn."""

    def say(self, tokens: list[int], num_tokens: int) -> AsyncIterator[int]:
        """Extend it by ``tokens``, and yield how many tokens came, each time some came."""
        ...


class SessionConversation:
    """With a session of ours, over its WebSocket: only the new tokens are sent."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def say(self, tokens: list[int], num_tokens: int) -> AsyncIterator[int]:
        """See ``Conversation``."""
        turn = {"type": "generate", "turn_id": uuid.uuid4().hex, "tokens": tokens, "max_tokens": num_tokens}
        await self._socket.send(json.dumps(turn))
        while (message := json.loads(await self._socket.recv()))["type"] != "finished":
            assert message["type"] != "error", message
            if message["type"] == "tokens":
                yield len(message["ids"])


class CompletionConversation:
    """With an OpenAI endpoint: all tokens so far are sent."""

    def __init__(self, client: httpx.AsyncClient, model: str) -> None:
        self._client = client
        self._model = model
        self._tokens: list[int] = []

    async def say(self, tokens: list[int], num_tokens: int) -> AsyncIterator[int]:
        """See ``Conversation``."""
        self._tokens += tokens
        body = {
            "model": self._model,
            "prompt": self._tokens,
            "max_tokens": num_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "return_token_ids": True,
        }
        made: list[int] = []
        async with self._client.stream("POST", "/v1/completions", json=body) as response:
            assert response.status_code == httpx.codes.OK, await response.aread()
            async for line in response.aiter_lines():
                ids = _ids(line)
                if ids:
                    made += ids
                    yield len(ids)
        self._tokens = [*self._tokens, *made]


def _ids(line: str) -> list[int]:
    if not line.startswith("data: {"):
        return []
    choices = json.loads(line.removeprefix("data: ")).get("choices") or [{}]
    return list(choices[0].get("token_ids") or ())


class Ours:
    """A whole Greenroom, as ``greenroom up`` starts it."""

    MODEL = "model"

    def __init__(self, model: Path, engine: str) -> None:
        arguments = {"kv_cache_memory_bytes": KV_CACHE_BYTES} if engine == "vllm" else {"num_threads": 1}
        self._models = [{"name": self.MODEL, "path": str(model), "engine": engine, "engine_args": arguments}]

    @contextlib.asynccontextmanager
    async def conversations(self, number: int) -> AsyncIterator[list[Conversation]]:
        """So many of them."""
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client, contextlib.AsyncExitStack() as stack:
            sockets = []
            for _ in range(number):
                session = (await client.post("/api/sessions", json={})).raise_for_status().json()["id"]
                stack.push_async_callback(client.delete, f"/api/sessions/{session}")
                address = f"{self._url.replace('http', 'ws')}/api/sessions/{session}"
                sockets.append(await stack.enter_async_context(connect(address)))
            yield [SessionConversation(socket) for socket in sockets]

    def processes(self) -> list[psutil.Process]:
        """All that it takes."""
        return self._deployed.all_processes()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While it runs."""
        with tempfile.TemporaryDirectory() as folder:
            self._deployed = Served({"models": self._models, "sessions": {"pool_size": 0}}, Path(folder))
            self._deployed.start()
            self._url = self._deployed.url
            try:
                yield
            finally:
                self._deployed.stop()


class OursResent(Ours):
    """The same through its OpenAI endpoint: all tokens so far are sent, as to the others."""

    @override
    @contextlib.asynccontextmanager
    async def conversations(self, number: int) -> AsyncIterator[list[Conversation]]:
        async with completions(self._url, str(self._models[0]["name"]), number) as found:
            yield found


@contextlib.asynccontextmanager
async def completions(url: str, model: str, number: int) -> AsyncIterator[list[Conversation]]:
    """So many conversations with an OpenAI endpoint."""
    limits = httpx.Limits(max_connections=number)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        yield [CompletionConversation(client, model) for _ in range(number)]


class Completions:
    """A server with an OpenAI endpoint, started as a command."""

    def __init__(self, model: Path, command: list[str]) -> None:
        self._model = str(model)
        self._port = free_port()
        self._command = [sys.executable, *command, "--model", self._model, "--port", str(self._port)]

    @contextlib.asynccontextmanager
    async def conversations(self, number: int) -> AsyncIterator[list[Conversation]]:
        """So many of them."""
        async with completions(self._url, self._model, number) as found:
            yield found

    def processes(self) -> list[psutil.Process]:
        """All that it takes: those below this one."""
        return psutil.Process().children(recursive=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While it runs."""
        environment = {**os.environ, **ENVIRONMENT, **ENVIRONMENT_ON_A_CPU, "OMP_NUM_THREADS": "1"}
        with tempfile.TemporaryFile() as log:
            server = subprocess.Popen(self._command, env=environment, stdout=log, stderr=log)
            try:
                self._wait(server, log)
                yield
            finally:
                server.terminate()
                server.wait(30)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _wait(self, server: subprocess.Popen[bytes], log: Any) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and server.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(self._url + "/v1/models", timeout=5).status_code == httpx.codes.OK:
                    return
            time.sleep(0.5)
        log.seek(0)
        raise RuntimeError(f"{self._command} does not answer: {log.read()[-3000:].decode(errors='replace')}")


def contenders(model: Path) -> dict[str, Ours | Completions]:
    """By name; the first is what the others are compared with."""
    flags = [part for name, value in ARGUMENTS.items() for part in _flag(name, value)]
    return {
        "vllm serve": Completions(model, ["-m", "vllm.entrypoints.openai.api_server", *flags]),
        "ours on vllm": Ours(model, "vllm"),
        "ours on vllm, re-sent": OursResent(model, "vllm"),
        "ours on torch": Ours(model, "torch"),
        "ray.serve.llm": Completions(model, ["-m", "tests.benchmarks.ray_serve_llm"]),
    }


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    return [flag] if value is True else [flag, str(value)]


async def settle() -> None:
    """Let a server that has just started come to rest."""
    await asyncio.sleep(2)
