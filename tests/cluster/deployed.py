"""A whole Greenroom on a real Ray cluster of this machine, whose actors a test can kill by pid."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import ray
from ray import serve

from actors.cluster.greenroom import BROKER, DIRECTORY, JOURNAL, Greenroom
from actors.settings import NAMESPACE
from deployments.app import application
from deployments.config import GreenroomConfig, embedded_model
from deployments.serve_environment import SERVE_ENVIRONMENT
from tests.cluster.own_ray import start_ray

MODEL = os.environ.get("GREENROOM_TEST_MODEL", embedded_model())
"""The model that the cluster tests serve."""

WORKER = "ray::CpuWorker"
"""The title of the processes that vLLM computes in where Ray places them."""

RAY_ENVIRONMENT = {"RAY_worker_niceness": "0", "RAY_event_stats": "0"}
"""As ``greenroom up`` starts Ray."""

Answer = TypeVar("Answer")


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Deployed:
    """Ray, Serve and Greenroom; ``url`` is the gateway's."""

    def __init__(self, config: dict[str, Any], journal: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.fields = {
            "models": [{"name": "pocket", "path": MODEL}],
            "journal": {"path": str(journal)},
            "listen": {"port": port},
            "num_gateways": 1,
            **config,
        }
        self.raylet: int | None = None

    def start(self) -> None:
        """Start everything; returns when a model can answer."""
        for name, value in {**RAY_ENVIRONMENT, **SERVE_ENVIRONMENT}.items():
            os.environ.setdefault(name, value)
        start_ray(num_cpus=4)
        serve.start(proxy_location="Disabled")
        self.deploy()

    def deploy(self, **fields: Any) -> None:
        """Deploy, or deploy anew with other fields of the configuration; returns when a model can answer."""
        config = GreenroomConfig.model_validate({**self.fields, **fields})
        serve.run(application(config), name="greenroom", logging_config={"enable_access_log": False})
        self.wait(lambda: httpx.get(self.url + "/readyz").status_code == 200, 240)

    def stop(self) -> None:
        """End everything."""
        serve.shutdown()
        ray.shutdown()

    def num_ready(self) -> dict[str, int]:
        """Actors that can answer, by their model."""
        models = httpx.get(self.url + "/api/models", timeout=60).raise_for_status().json()["models"]
        return {model["name"]: model["num_ready"] for model in models}

    def run(self, scenario: Callable[[Greenroom], Coroutine[Any, Any, Answer]]) -> Answer:
        """Run a coroutine function with a Greenroom for its event loop."""

        async def main() -> Answer:
            return await scenario(await Greenroom.connect())

        return asyncio.run(main())

    def kill(self, what: str, session_id: str = "") -> None:
        """Kill -9 the process of "session", "inferlet", "model", "worker" (one of vLLM's, of a model that has several),
        "journal", "directory", "broker" or "gateway".
        """
        for pid in self.pids(what, session_id):
            os.kill(pid, signal.SIGKILL)

    def pids(self, what: str, session_id: str = "") -> list[int]:
        """Process ids."""
        if what == "gateway":
            return self.processes("ray::ServeReplica:greenroom:Gateway")
        if what == "model":
            return self.processes("ray::HostedModel")
        if what == "worker":
            return self.processes(WORKER)[:1]
        if what in ("session", "inferlet"):
            return [pid for held, pid in _tenants(f"{what}-") if held == session_id]
        pid = _pid({"journal": JOURNAL, "directory": DIRECTORY, "broker": BROKER}[what])
        return [pid] if pid else []

    def processes(self, title: str) -> list[int]:
        """Of this Ray's processes those that have this title."""
        return processes(title, self.raylet)

    def memory(self, what: str, session_id: str = "") -> int:
        """USS of the processes, bytes."""
        return sum(psutil.Process(pid).memory_full_info().uss for pid in self.pids(what, session_id))

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Until it holds; errors of a server that is down count as no."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if condition():
                    return
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)


def processes(title: str, below: int | None = None) -> list[int]:
    """Processes that Ray has given this title, below this process or another."""
    found = []
    for process in psutil.Process(below).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie is one too
            if (process.cmdline() or [""])[0].startswith(title):
                found.append(process.pid)
    return found


def _names(prefix: str) -> list[str]:
    names = ray.util.list_named_actors(all_namespaces=True)
    return [actor["name"] for actor in names if actor["namespace"] == NAMESPACE and actor["name"].startswith(prefix)]


def _pid(name: str) -> int | None:
    return next(iter(_ask([name], lambda actor: os.getpid())), None)


def _tenants(prefix: str) -> list[tuple[str, int]]:
    """What each actor of a pool holds ("" for nothing), and its process id."""
    return _ask(_names(prefix), lambda slot: (slot.tenant.id if slot.tenant else "", os.getpid()))


def _ask(names: list[str], function: Callable[[Any], Answer]) -> list[Answer]:
    """All of them at once; those that are dead do not answer."""
    asked, answers = [], []
    for name in names:
        with suppress(ValueError):
            asked.append(ray.get_actor(name, namespace=NAMESPACE).__ray_call__.remote(function))
    for call in asked:
        with suppress(ray.exceptions.RayActorError):
            answers.append(ray.get(call, timeout=20))
    return answers
