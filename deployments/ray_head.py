"""A Ray head on this machine: started as background processes of its own, and stopped by their pids."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from deployments.failures import CommandFailed, shortened
from deployments.home import HeadProcess
from deployments.ports import free_ports
from deployments.private import OTHERS, close_to_others, private_temporary_folder
from deployments.serve_environment import SERVE_ENVIRONMENT

DEFAULT_PORT = 6379
AUTH_MODE = "RAY_AUTH_MODE"

_OBJECT_STORE_BYTES = 200_000_000
"""Enough for what Greenroom sends; by default Ray would reserve a third of the memory."""

LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Every process of Ray that reads this takes 127.0.0.1 for the node's address, and listens there only. It is meant for
systems on which Ray does not run on several machines. Without it Ray replaces a loopback address by another one of the
machine, and listens on all of them.
"""

_DEFAULTS = {
    AUTH_MODE: "token",
    "RAY_num_workers_soft_limit": "4",  # idle processes that are kept, for the next actor: about 50 MB each
    "RAY_event_stats": "0",  # Ray's own statistics of each event: a sixth of what an idle actor costs
    "RAY_START_HOOK": "deployments.ray_head.without_client_server",
    "RAY_worker_niceness": "0",  # by default Ray's workers have the lowest priority on the machine
}
"""What the head is started with where the environment does not say otherwise."""

_PORTS = ("ray-client-server", "dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent", "metrics-export")
"""Said, so that the head neither collides with another on this machine nor waits for its agents to choose."""

_RAYLET, _GCS = "raylet", "gcs_server"
_RAYLET_VARIABLE = "RAY_RAYLET_PID"
"""What Ray tells a worker in its environment."""

_SESSION_OPTION = "--session_dir="
_GRACE_S = 10.0
_NOTE = "ray_current_cluster"


class RayDidNotStart(CommandFailed):
    """Ray gave up."""


def start_head(port: int, log: Path, timeout_s: float) -> tuple[HeadProcess, ...]:
    """Start a Ray head that listens on this port, on loopback only; its processes outlive this one.

    Ray's own token authentication is on, as in ``ray.init()``, unless RAY_AUTH_MODE says otherwise. Ray opens its
    folders to everybody (mode 777), so they lie below one that is closed.

    Raises:
        CommandFailed: Ray did not start, twice.
    """
    environment = _environment()
    if environment[AUTH_MODE] == "token" and not has_token():
        _run_ray(["get-auth-token", "--generate"], environment, log, timeout_s)
    arguments = [
        "start",
        "--head",
        f"--port={port}",
        *(f"--{name}-port={free}" for name, free in zip(_PORTS, free_ports(len(_PORTS)), strict=True)),
        f"--temp-dir={_folder()}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        "--include-dashboard=false",
        "--include-log-monitor=false",
        "--no-monitor",
        "--disable-usage-stats",
        "--log-color=false",
    ]
    deadline = time.monotonic() + timeout_s
    try:
        group = _run_ray(arguments, environment, log, timeout_s)
    except RayDidNotStart:
        # On a busy machine Ray's own deadlines are short; by now everything that it imports is in memory.
        group = _run_ray(arguments, environment, log, max(1.0, deadline - time.monotonic()))
    return tuple(_describe(process) for process in _members(group))


def without_client_server(parameters: Any, is_head: bool) -> None:
    """What ``ray start`` calls first: no client needs Ray Client's server, which unpickles what it is sent."""
    parameters.ray_client_server_port = None


def is_alive(processes: Sequence[HeadProcess]) -> bool:
    """Whether the head that was started is alive."""
    needed = [process for process in processes if process.name in (_RAYLET, _GCS)]
    return bool(needed) and all(_find(process) for process in needed)


def lost_parts(processes: Sequence[HeadProcess]) -> list[str]:
    """Names of the processes that a head needs, and which have ended."""
    return [process.name for process in processes if process.name in (_RAYLET, _GCS) and not _find(process)]


def remains(processes: Sequence[HeadProcess]) -> list[psutil.Process]:
    """The live processes of a head, and its workers."""
    return [living for process in processes if (living := _find(process))] + _workers(processes)


def stop_head(processes: Sequence[HeadProcess]) -> None:
    """End a head and everything on it: what does not end when asked is killed. Idempotent; touches no other Ray."""
    families: list[list[psutil.Process]] = [[], [], []]
    for process in processes:
        if living := _find(process):
            families[{_RAYLET: 0, _GCS: 2}.get(process.name, 1)].append(living)
    workers = _workers(processes)
    for family in families:
        _end(family)
    _end(workers, grace_s=0)


def forget_address(address: str) -> None:
    """Remove Ray's note of this machine's cluster, which ``ray.init()`` follows, if it names a head that has ended.

    Ray is not asked where its note is: it reads how to authenticate when it is imported.
    """
    for note in (note_of_cluster(), _folder() / _NOTE):
        try:
            if note.read_text().strip().rpartition(":")[2] == address.rpartition(":")[2]:
                note.unlink()
        except FileNotFoundError:
            continue


def note_of_cluster() -> Path:
    """Where the last ``ray start`` on this machine wrote down its address, unless it was given another folder."""
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / _NOTE


def has_token() -> bool:
    """Whether Ray finds an authentication token."""
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or token_file().is_file()


def token_file() -> Path:
    """Where Ray keeps an authentication token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")


def close_session(processes: Sequence[HeadProcess]) -> None:
    """Close the folder of a head that runs to other users: an earlier version let Ray open it to all."""
    for process in processes:
        if process.name == _RAYLET and (raylet := _find(process)):
            for argument in raylet.cmdline():
                if argument.startswith(_SESSION_OPTION):
                    close_to_others(Path(argument.removeprefix(_SESSION_OPTION)))


def _folder() -> Path:
    return private_temporary_folder() / "ray"


def _environment() -> dict[str, str]:
    return {**_DEFAULTS, **SERVE_ENVIRONMENT, **os.environ, **LOOPBACK_ONLY}


def _run_ray(arguments: Sequence[str], environment: Mapping[str, str], log: Path, timeout_s: float) -> int:
    """Run the ``ray`` command in a process group of its own; returns the group."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=OTHERS,
        )
        try:
            code = process.wait(timeout_s)
        except BaseException as error:
            _end(_members(process.pid), grace_s=0)
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandFailed(f"Ray did not start within {timeout_s:.0f} s; {log} has what it printed") from None
            raise
    if code != 0:
        _end(_members(process.pid), grace_s=0)
        raise RayDidNotStart(f"Ray did not start: {_last_line(log)}; all that it printed is in {log}")
    return process.pid


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return shortened(lines[-1]) if lines else "it printed nothing"


def _members(group: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group:
                members.append(process)
        except ProcessLookupError:
            continue
    return members


def _workers(processes: Sequence[HeadProcess]) -> list[psutil.Process]:
    """Below the raylet; and those that say they were, where it has ended."""
    workers: list[psutil.Process] = []
    for raylet in processes:
        if raylet.name == _RAYLET:
            living = _find(raylet)
            workers += living.children(recursive=True) if living else _orphans(raylet)
    return workers


def _orphans(raylet: HeadProcess) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            is_its = process.environ().get(_RAYLET_VARIABLE) == str(raylet.pid)
            if is_its and process.create_time() >= raylet.created_at:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _describe(process: psutil.Process) -> HeadProcess:
    return HeadProcess(process.pid, process.name(), process.create_time())


def _find(process: HeadProcess) -> psutil.Process | None:
    try:
        living = psutil.Process(process.pid)
        is_same = abs(living.create_time() - process.created_at) < 1 and living.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return living if is_same else None


def _end(processes: Sequence[psutil.Process], grace_s: float = _GRACE_S) -> None:
    for process in processes:
        try:
            process.terminate() if grace_s else process.kill()
        except psutil.NoSuchProcess:
            continue
    for process in psutil.wait_procs(processes, timeout=grace_s or 5)[1]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
