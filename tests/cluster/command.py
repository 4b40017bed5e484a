"""The ``greenroom`` command as an operator runs it: a process, with a Ray of its own that no other test sees."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from deployments.home import Home
from tests.cluster.deployed import free_port
from tests.cluster.own_ray import own_folder

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody with a home directory, a free port and a place for a Ray; ``run`` runs one command for them."""

    home: Home
    environment: dict[str, str]
    port: int
    ray_port: int

    @property
    def url(self) -> str:
        """Where Greenroom answers once it is up."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def journal(self) -> Path:
        """The file that their sessions are kept in."""
        return self.home.path / "journal.db"

    def run(self, *arguments: str, typed: str = "") -> Result:
        """Run ``greenroom`` with these arguments."""
        return self.execute((sys.executable, "-m", "deployments.cli", *arguments), ROOT, typed)

    def execute(self, command: tuple[str, ...], folder: Path, typed: str = "") -> Result:
        """Run any command, which finds ``greenroom`` and our packages."""
        path = f"{Path(sys.executable).parent}:{self.environment['PATH']}"
        done = subprocess.run(
            command,
            env={**self.environment, "PATH": path, "PYTHONPATH": str(ROOT)},
            cwd=folder,
            input=typed,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def up(self, *arguments: str) -> Result:
        """Run ``greenroom up`` on their ports."""
        ports = ("--port", str(self.port), "--ray-port", str(self.ray_port), "--journal", str(self.journal))
        return self.run("up", *ports, *arguments)

    def processes(self) -> list[psutil.Process]:
        """Every process of their Ray: those that name its directory in their command line or their environment."""
        return [process for process in psutil.process_iter() if self._is_theirs(process)]

    def _is_theirs(self, process: psutil.Process) -> bool:
        directory = self.environment["RAY_TMPDIR"]
        try:
            return directory in " ".join(process.cmdline()) or process.environ().get("RAY_TMPDIR") == directory
        except psutil.Error:
            return False


@contextmanager
def an_operator() -> Iterator[Operator]:
    """A new one; whatever still runs of theirs at the end is killed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GREENROOM_"))}
    with own_folder() as folder:
        environment |= {"RAY_TMPDIR": str(folder), "GREENROOM_HOME": f"{folder}/home"}
        operator = Operator(Home(folder / "home"), environment, free_port(), free_port())
        try:
            yield operator
        finally:
            for process in operator.processes():
                process.kill()
