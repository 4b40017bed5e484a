"""Ray nodes as ``ray start`` makes them, several on this machine, each of which can be killed whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from actors.calls.wire import SWITCH
from deployments.ports import free_ports
from deployments.ray_head import LOOPBACK_ONLY
from deployments.serve_environment import SERVE_ENVIRONMENT
from tests.cluster.deployed import RAY_ENVIRONMENT
from tests.cluster.own_ray import NUM_TRIES

ROOT = Path(__file__).parents[2]
_MARK = "GREENROOM_TEST_NODE"
"""A variable in the environment of all processes of a node, which has its name."""

_GCS = "gcs_server"
_PORTS = ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent", "metrics-export")
_TIMEOUT_S = 120.0


class Node:
    """A node, with files of its own below ``folder``. ``kill`` ends it as a power failure does, for itself."""

    def __init__(self, folder: Path, arguments: list[str], environment: Mapping[str, str]) -> None:
        self._name = uuid4().hex[:6]
        self._folder, self._log = folder / self._name, folder / f"{self._name}.log"
        self._arguments = arguments
        self._environment = environment

    def start(self) -> None:
        """Returns when it is one of the cluster's."""
        for _ in range(NUM_TRIES):  # Ray gives itself half a minute, which a busy machine might need for its imports
            ports = zip(_PORTS, free_ports(len(_PORTS)), strict=True)
            command = [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", *self._arguments),
                *(f"--{name}-port={port}" for name, port in ports),
                *("--min-worker-port=0", "--max-worker-port=0", f"--temp-dir={self._folder}"),
                *("--object-store-memory=100000000", "--num-cpus=4", "--disable-usage-stats", "--log-color=false"),
                *("--include-dashboard=false", "--include-log-monitor=false", "--no-monitor"),
            ]
            if self._has_run(command):
                return
            self.kill()
        raise AssertionError(f"Ray did not start: {self._log.read_text()}")

    def _has_run(self, command: list[str]) -> bool:
        """Whether it ended well in time. What it starts keeps the output open, which is therefore no pipe."""
        environment = {**self._environment, _MARK: self._name}
        with self._log.open("w") as log, suppress(subprocess.TimeoutExpired):
            output: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            return not subprocess.run(
                command, env=environment, cwd=ROOT, timeout=_TIMEOUT_S, check=False, **output
            ).returncode
        return False

    def kill(self) -> None:
        """Kill -9 all of it. Idempotent."""
        while living := self.processes():
            for process in living:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(living, timeout=5)

    def kill_gcs(self) -> None:
        """Kill -9 the GCS server."""
        (gcs,) = (process for process in self.processes() if process.name() == _GCS)
        self._gcs = gcs.cmdline(), gcs.environ()
        gcs.kill()

    def start_gcs(self) -> None:
        """Start the GCS server again, as it was started."""
        command, environment = self._gcs
        subprocess.run(["setsid", "--fork", *command], env=environment, stdout=subprocess.DEVNULL, check=True)

    def runs(self, title: str) -> bool:
        """Whether a process of this title, as Ray gives it, is on this node."""
        return any((process.cmdline() or [""])[0].startswith(title) for process in self.processes())

    def processes(self) -> list[psutil.Process]:
        """All that live; titles that Ray gives its workers hide their environment."""
        marked = [process for process in psutil.process_iter() if _mark_of(process) == self._name]
        found = {process.pid: process for process in marked}
        for process in marked:
            with suppress(psutil.NoSuchProcess):
                found |= {child.pid: child for child in process.children(recursive=True)}
        return [process for process in found.values() if _is_alive(process)]


def head(folder: Path, port: int, redis_url: str, password: str, environment: Mapping[str, str]) -> Node:
    """A head at this port, with what its cluster is kept in this Redis."""
    arguments = ["--head", f"--port={port}", f"--redis-password={password}"]
    address = {"RAY_REDIS_ADDRESS": redis_url.removeprefix("redis://")}
    return Node(folder, arguments, {**environment, **address})


def worker(folder: Path, port: int, environment: Mapping[str, str]) -> Node:
    """One more node of the cluster whose head is at this port."""
    return Node(folder, [f"--address=127.0.0.1:{port}"], environment)


def environment_of(folder: Path, **more: str) -> dict[str, str]:
    """For the nodes of a cluster, and for commands to it, which no other Ray of this machine is to notice; nor are its
    nodes to notice that they are one machine.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GREENROOM_"))}
    ours = {"PYTHONPATH": str(ROOT), "GREENROOM_HOME": f"{folder}/home", "RAY_TMPDIR": str(folder)}
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    hook = {"RAY_START_HOOK": "deployments.ray_head.without_client_server", "RAY_gcs_server_port_wait_time_s": "120"}
    waits = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
    return {
        **kept,
        **path,
        **hook,
        **waits,
        **RAY_ENVIRONMENT,
        **SERVE_ENVIRONMENT,
        **LOOPBACK_ONLY,
        SWITCH: "0",
        **ours,
        **more,
    }


def _mark_of(process: psutil.Process) -> str | None:
    with suppress(psutil.Error):
        return process.environ().get(_MARK)
    return None


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
