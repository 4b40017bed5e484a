"""A real PostgreSQL server of the tests' own (Debian's package ``postgresql``)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT
from uuid import uuid4

import pytest

USER = "postgres"
_OPTIONS = "-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=50"


@dataclass(frozen=True)
class Server:
    """Listens on a port of the loopback device."""

    programs: Path
    data: Path
    port: int

    @property
    def pid(self) -> int:
        """Of its first process."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def new_database(self) -> str:
        """The address of one that nobody else uses."""
        name = f"test_{uuid4().hex}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name)
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def make(self) -> None:
        encoding = ("-E", "UTF8", "--locale", "C.UTF-8")
        self._run("initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "--no-sync", *encoding)

    def start(self) -> None:
        options = f"-p {self.port} {_OPTIONS}"
        self._run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.data / "log"), "-o", options, "start")

    def stop(self) -> None:
        """As a crash does."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        user = USER if os.geteuid() == 0 else None  # it does not run for the superuser
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(
            command, user=user, cwd="/", stdout=PIPE, stderr=STDOUT, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout


def free_port() -> int:
    """That nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def programs() -> Path | None:
    """Where they are."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve())
    return found[-1].parent if found else None


@contextmanager
def server() -> Iterator[Server]:
    """Runs meanwhile, with its files in a folder of its own user's."""
    if (where := programs()) is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with tempfile.TemporaryDirectory(prefix="greenroom-postgres-", ignore_cleanup_errors=True) as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        one = Server(where, Path(folder) / "data", free_port())
        one.make()
        one.start()
        try:
            yield one
        finally:
            one.stop()
