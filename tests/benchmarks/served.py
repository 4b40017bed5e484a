"""A Greenroom as ``greenroom up`` starts it, for one benchmark."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
from ray import serve

from deployments.home import Record
from deployments.ray_connection import connect
from deployments.ray_head import AUTH_MODE, forget_address, start_head, stop_head
from tests.cluster.deployed import Deployed, free_port


class Served(Deployed):
    """On a Ray head of its own with the command's settings: no dashboard, no log monitor, no statistics of events."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        super().__init__(config, folder / "journal.db")
        self._log = folder / "ray.log"

    def start(self) -> None:
        """Start everything; returns when a model can answer."""
        port = free_port()
        self._head = start_head(port, self._log, timeout_s=120)
        self._address = f"127.0.0.1:{port}"
        self.raylet = next(process.pid for process in self._head if process.name == "raylet")
        connect(Record(self._address, os.environ.get(AUTH_MODE, "token")))
        serve.start(proxy_location="Disabled")
        self.deploy()

    def all_processes(self) -> list[psutil.Process]:
        """Of Ray's head, and all below them."""
        heads = [psutil.Process(process.pid) for process in self._head]
        children = (child for head in heads for child in head.children(recursive=True))
        return list({process.pid: process for process in (*heads, *children)}.values())

    def wait_for_sessions(self, count: int) -> None:
        """Until the pool has started so many session actors."""
        self.wait(lambda: len(self.processes("ray::HostedSession")) >= count, 300)

    def stop(self) -> None:
        """End everything."""
        super().stop()
        stop_head(self._head)
        forget_address(self._address)
