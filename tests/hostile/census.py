"""What the processes of a Greenroom hold: descriptors, threads, asyncio tasks, memory."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import psutil
import ray

from actors.settings import NAMESPACE
from tests.cluster.deployed import Deployed
from tests.hostile.tasks import num_tasks

SLACK = {"descriptors": 6, "threads": 6, "tasks": 6}
"""What comes and goes by itself: connections between processes, timers, Ray's own threads."""
OURS = ("ray::Hosted", "ray::ServeReplica:greenroom")
LASTING = (
    "ray::HostedModel",
    "ray::HostedJournal",
    "ray::HostedDirectory",
    "ray::HostedBroker",
    "ray::ServeReplica:greenroom",
)
"""Titles of processes that do not come and go."""
PER_PROCESS = 3
"""Descriptors that each of our other processes costs one: connections, which last as long as it does."""


@dataclass(frozen=True)
class Held:
    """What one process holds; memory in bytes."""

    title: str
    descriptors: int
    threads: int
    memory: int


@dataclass(frozen=True)
class Census:
    """Of all processes by pid, and the tasks of actors by name."""

    processes: dict[int, Held]
    tasks: dict[str, int]

    @classmethod
    def take(cls, deployed: Deployed) -> Census:
        """Count everything now."""
        found = {}
        for process in psutil.Process(deployed.raylet).children(recursive=True):
            with suppress(psutil.Error):
                title = (process.cmdline() or [""])[0]
                if not title.startswith(OURS):
                    continue
                memory = process.memory_full_info().uss
                found[process.pid] = Held(title, process.num_fds(), process.num_threads(), memory)
        return cls(found, _tasks())

    def faults(self, before: Census, memory_share: float) -> list[str]:
        """What has grown since, or is gone that should have lasted."""
        found = []
        num_new = max(0, len(self.processes) - len(before.processes))
        slack = {**SLACK, "descriptors": SLACK["descriptors"] + PER_PROCESS * num_new}
        for pid, old in before.processes.items():
            new = self.processes.get(pid)
            if new is None:
                found += [f"{old.title} ({pid}) is gone"] if old.title.startswith(LASTING) else []
                continue
            for what in ("descriptors", "threads"):
                if getattr(new, what) > getattr(old, what) + slack[what]:
                    found.append(f"{new.title}: {getattr(old, what)} {what}, then {getattr(new, what)}")
            if new.memory > old.memory * (1 + memory_share):
                found.append(f"{new.title}: {old.memory >> 20} MB, then {new.memory >> 20} MB")
        for name, count in self.tasks.items():
            if name in before.tasks and count > before.tasks[name] + SLACK["tasks"]:
                found.append(f"{name}: {before.tasks[name]} tasks, then {count}")
        return found


def _tasks() -> dict[str, int]:
    """Tasks of the event loops of named actors: ours, and Serve's replicas, which the gateway is one of."""
    names = [(actor["name"], actor["namespace"]) for actor in ray.util.list_named_actors(all_namespaces=True)]
    calls = {}
    for name, namespace in names:
        if namespace == NAMESPACE or "Gateway" in name:
            with suppress(ValueError):
                calls[name] = ray.get_actor(name, namespace=namespace).__ray_call__.remote(num_tasks)
    found = {}
    for name, call in calls.items():
        with suppress(ray.exceptions.RayError):
            found[name] = ray.get(call, timeout=20)
    return found
