"""The JavaScript client in Node: a script of the test's own, which tells in JSON what it finds."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

HEAD = """
import { Client, GreenroomError, resultOf } from "./client.mjs";
const url = process.argv[2];
const tell = (value) => console.log(JSON.stringify(value ?? null));
const heard = (async function* () {
  for await (const chunk of process.stdin) {
    for (const line of String(chunk).split("\\n")) if (line) yield JSON.parse(line);
  }
})();
const hear = async () => (await heard.next()).value;
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
const failure = async (promise) => {
  try {
    return { unexpected: (await promise) ?? null };
  } catch (error) {
    if (!(error instanceof GreenroomError)) throw error;
    return { code: error.code, status: error.status, retryable: error.retryable, message: error.message };
  }
};
"""


class NodeScript:
    """One running script."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def told(self) -> Any:
        """The next value that it ``tell``s.

        Raises:
            AssertionError: it has ended instead.
        """
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            await self.ended()
            raise AssertionError("the script ended without telling what was asked")
        return json.loads(line)

    async def say(self, value: Any) -> None:
        """Something for its ``hear``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        await self._process.stdin.drain()

    async def ended(self) -> None:
        """Wait until it has ended by itself, well."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
        said = (await self._process.stderr.read()).decode()
        assert await self._process.wait() == 0, said

    def kill(self) -> None:
        """End it, where it has not ended."""
        if self._process.returncode is None:
            self._process.kill()


@asynccontextmanager
async def node_script(
    folder: Path, url: str, source: str, *, client_url: str | None = None
) -> AsyncIterator[NodeScript]:
    """The script, with ``Client`` as its server serves it; at the end it must have ended by itself, without an error.

    Besides it has ``url``, ``tell(value)``, ``hear()``, ``sleep(seconds)`` and ``failure(promise)``, what a promise
    was rejected with. ``client_url`` is where the client comes from, ``url`` where that is not given.
    """
    node = await asyncio.to_thread(node_path)
    async with httpx.AsyncClient() as http:
        client = await http.get(f"{client_url or url}/client.js")
    (folder / "client.mjs").write_bytes(client.content)
    script = folder / "script.mjs"
    script.write_text(HEAD + source)
    command = (node, "--experimental-websocket", "--no-warnings", str(script), url)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, limit=1 << 24)
    running = NodeScript(process)
    try:
        yield running
        await asyncio.wait_for(running.ended(), 30)
    finally:
        running.kill()
        await process.wait()


def node_path() -> str:
    """Where Node is. Without one the test fails: what was not run has not been shown."""
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout if node else ""
    found = re.match(r"v(\d+)", version)
    if node is None or found is None or int(found[1]) < 20:
        pytest.fail(f"the JavaScript client is tested in Node 20 or newer (package nodejs); found {version or 'none'}")
    return node
