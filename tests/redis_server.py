"""A real Redis of the tests' own (Debian's package ``redis-server``), which keeps nothing on disk."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from tests.cluster.deployed import free_port

_START_S = 10.0


@contextmanager
def redis_server(password: str = "") -> Iterator[str]:
    """Its URL, while it runs; with a password only who has it gets in."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([*command, "--requirepass", password], stdout=subprocess.DEVNULL)
    try:
        url = f"redis://127.0.0.1:{port}"
        _wait(url, password)
        yield url
    finally:
        server.terminate()
        server.wait()


def _wait(url: str, password: str) -> None:
    deadline = time.monotonic() + _START_S
    with redis.Redis.from_url(url, password=password or None) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "Redis did not start"
                time.sleep(0.05)
