"""Bringing Greenroom up: each step, and how to undo it when a later one fails."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace

from actors.settings import ClusterSettings
from deployments.checkpoint import read_checkpoint
from deployments.checks import (
    check_adapters,
    check_engines,
    check_exposure,
    check_journal,
    check_memory,
    check_port,
    check_resources,
)
from deployments.console import Steps
from deployments.failures import CommandFailed
from deployments.fall import end_remains, take_down
from deployments.home import Home, Record
from deployments.plan import Plan, local_url
from deployments.ports import free_ports, is_free
from deployments.ray_connection import connect, find_cluster
from deployments.ray_head import AUTH_MODE, DEFAULT_PORT, close_session, start_head, stop_head


class Rise:
    """One bringing up, by ``deadline`` (of ``time.monotonic``)."""

    def __init__(self, plan: Plan, home: Home, steps: Steps, deadline: float, without_keys: bool = False) -> None:
        self._plan = plan
        self._home = home
        self._steps = steps
        self._deadline = deadline
        self._without_keys = without_keys
        self._record: Record | None = None
        self._has_started_ray = False
        self._has_deployed = False
        self._found_at = ""

    @property
    def url(self) -> str:
        """Where it answers; until that is known, where it does on this machine."""
        return self._found_at or local_url(self._plan.host, self._plan.port)

    def run(self, ray_port: int | None, is_dry: bool = False) -> None:
        """Everything; returns when a model can answer.

        Args:
            ray_port: start Ray there, even where another runs; None takes the one that runs.
            is_dry: check, tell what would change on the Ray cluster that runs, and change nothing.

        Raises:
            CommandFailed: with the reason.
        """
        self._plan = replace(self._plan, config=self._plan.config.pinned())
        for model in self._plan.config.models:
            read_checkpoint(model)
        check_adapters(self._plan.config.models)
        end_remains(self._home, lambda sentence: self._steps.say("Ray", sentence))
        record = self._find(ray_port)
        mode = record.auth_mode if record else os.environ.get(AUTH_MODE, "token")
        check_exposure(self._plan, mode, self._without_keys)
        if record is None:
            self._check_machine()
            record = self._start_ray(ray_port)
        close_session(record.processes)
        self._record = record
        ray = connect(record)
        state = f"{'started' if self._has_started_ray else 'runs'}, version {ray.__version__} at {record.address}"
        self._steps.done("Ray", state)
        check_resources(self._plan.config, ray.cluster_resources())
        nodes = [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
        self._deploy(record, nodes, is_dry)

    def undo(self) -> None:
        """Leave nothing that was not there before."""
        if self._record and self._has_started_ray:
            stop_head(self._record.processes)
            self._home.forget()
        elif self._has_deployed:
            take_down(self._home, keep_sessions=False, say=lambda sentence: None)

    def _find(self, ray_port: int | None) -> Record | None:
        record = find_cluster(self._home)
        if ray_port and record and not record.address.endswith(f":{ray_port}"):
            return None
        return record

    def _check_machine(self) -> None:
        check_port(self._plan.host, self._plan.port)
        check_engines(self._plan.config.models)
        check_memory(self._plan.config.models)
        check_journal(self._plan.config.journal)

    def _start_ray(self, ray_port: int | None) -> Record:
        port = ray_port or (DEFAULT_PORT if is_free("", DEFAULT_PORT) else free_ports(1)[0])
        check_port("", port, option="--ray-port")
        self._steps.say("Ray", "starting")
        processes = start_head(port, self._home.ray_log, self._time_left_s())
        mode = os.environ.get(AUTH_MODE, "token")
        self._record = Record(f"127.0.0.1:{port}", mode, processes=processes)
        self._has_started_ray = True
        self._home.write(self._record)
        return self._record

    def _deploy(self, record: Record, nodes: list[str], is_dry: bool) -> None:
        from actors.cluster.greenroom import check_shards  # takes seconds, as these do
        from deployments import serving
        from deployments.attached import running_settings
        from deployments.listening import proxy_address, runs_serve
        from deployments.rollout import Rollout

        runs, is_update, proxies = runs_serve(), serving.is_deployed(), proxy_address()
        running = asyncio.run(running_settings()) if is_update else None
        listens_at = proxies or (running.listens_at if running else None)
        if listens_at:
            self._listen_at(*listens_at, is_update)
        if running:
            asyncio.run(check_shards(self._plan.config.broker.num_shards))
            self._check_update(running, is_local=len(nodes) == 1)
            self._steps.say("Greenroom", f"runs already at {self.url}/, its sessions stay")
            for sentence in serving.changes(self._plan, is_proxied=proxies is not None):
                self._steps.tell(sentence)
        elif len(nodes) == 1 and not self._has_started_ray:
            self._check_local(has_port=listens_at is not None)
        if is_dry:
            return
        started_serve = not runs or record.started_serve
        record = replace(record, url=self.url, started_serve=started_serve)
        self._home.write(record)
        self._has_deployed = not is_update
        serving.deploy(self._plan, is_proxied=proxies is not None)
        is_anywhere = proxies is None and not self._plan.config.gateways_need_head
        urls = [self.url, *(local_url(node, self._plan.port) for node in nodes if is_anywhere)]
        self._found_at = asyncio.run(Rollout(self._plan.config, urls, self._steps, self._deadline).follow())
        self._home.write(replace(record, url=self.url))
        if is_update:
            self._steps.done("Greenroom", "updated")

    def _check_update(self, running: ClusterSettings, is_local: bool) -> None:
        names = {model.name for model in running.models}
        if is_local:
            check_memory([model for model in self._plan.config.models if model.name not in names])
        if not self._plan.config.journal.is_at(running.journal):
            self._steps.tell(f"Journal: stays {running.journal.place}; for another one run `greenroom down` first")

    def _check_local(self, has_port: bool) -> None:
        if not has_port:
            check_port(self._plan.host, self._plan.port)
        check_engines(self._plan.config.models)
        check_memory(self._plan.config.models)
        check_journal(self._plan.config.journal)

    def _listen_at(self, host: str, port: int, is_update: bool) -> None:
        """It listens there already, and stays there."""
        asked = [f"{name} {getattr(self._plan, name)}" for name in ("host", "port") if name in self._plan.asks_for]
        there = {f"host {host}", f"port {port}"}
        if others := [name for name in asked if name not in there]:
            who = "Greenroom runs already" if is_update else "Serve runs already on this Ray cluster"
            way = "end it first with `greenroom down`, or " if is_update else ""
            raise CommandFailed(
                f"{who} and listens on host {host}, port {port}, not {', '.join(others)}: {way}leave that out"
            )
        self._plan = self._plan.at(host, port)

    def _time_left_s(self) -> float:
        return max(1.0, self._deadline - time.monotonic())
