"""Clients in folders of their own: an environment of Python or of Node for each, made once for its versions."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.catalogue import OPEN_RESPONSES, SCRIPTS, Client

CACHE = Path(os.environ.get("GREENROOM_CLIENTS") or Path.home() / ".cache" / "greenroom-clients")
"""Where clients are installed unless another folder is named."""

SUITE = "https://github.com/cdreetz/openresponses"
"""Where the sources of the Open Responses suite come from, which is in no registry: anything that git can clone."""

TIMEOUT_S = 900.0


class CannotInstall(Exception):
    """A package, or the suite, cannot be had."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where clients are installed.

    Attributes:
        cache: a folder for each of them is made below it.
        suite: what git clones the Open Responses suite from.
    """

    cache: Path
    suite: str = SUITE

    def install(self, client: Client) -> Path:
        """The client's folder; two processes that want the same wait for each other.

        Raises:
            CannotInstall
        """
        folder = self.cache / client.name
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / "lock"):
            mark, wanted = folder / "installed", _digest(client)
            if not mark.exists() or mark.read_text() != wanted:
                mark.unlink(missing_ok=True)
                self._install_python(client, folder) if client.is_python else self._install_node(client, folder)
                mark.write_text(wanted)
        return folder

    def command(self, client: Client, script: Path) -> tuple[str, ...]:
        """What runs a script of the client, in its folder, once it is installed."""
        folder = self.cache / client.name
        if client.is_python:
            return (str(folder / "venv" / "bin" / "python"), str(script))
        for file in (SCRIPTS / "checks.mjs", script):
            shutil.copy(file, folder)
        return (*client.runner, script.name)

    def _install_python(self, client: Client, folder: Path) -> None:
        _run((sys.executable, "-m", "venv", "--clear", "venv"), folder)
        _run(("venv/bin/python", "-m", "pip", "install", "--quiet", *client.packages), folder)

    def _install_node(self, client: Client, folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(client.script.with_name(name), folder)
        _run(("npm", "ci", "--no-audit", "--no-fund"), folder)
        if client.name == OPEN_RESPONSES:
            shutil.rmtree(folder / "suite", ignore_errors=True)
            _run(("git", "clone", "--quiet", self.suite, "suite"), folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(client: Client) -> str:
    parts = [sys.version, *client.packages]
    if not client.is_python:
        parts.append(client.script.with_name("package-lock.json").read_text())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstall(f"{command[0]}: {error}") from None
    if done.returncode:
        raise CannotInstall(f"{' '.join(command)[:80]}: {(done.stderr or done.stdout).strip()[-300:]}")
