"""What a client's script found, and all of it as a table."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients.catalogue import Client
from tests.clients.installation import CannotInstall, Installation

TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Found:
    """One check; ``failure`` is None where it passed."""

    check: str
    failure: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """Of one client; ``obstacle`` says why it was not run, or not to its end."""

    client: Client
    found: tuple[Found, ...]
    obstacle: str | None = None

    @property
    def failures(self) -> tuple[str, ...]:
        """What failed, each a sentence, but for what is known not to be."""
        known = dict(self.client.cannot)
        failed = [one for one in self.found if one.failure is not None and one.check not in known]
        obstacle = [self.obstacle] if self.obstacle is not None else []
        return (*obstacle, *(f"{one.check}: {one.failure}" for one in failed))

    def row(self) -> str:
        """Of the table."""
        failed = {one.check for one in self.found if one.failure is not None}
        num_passed = len(self.found) - len(failed)
        known = [f"{check}: {why}" for check, why in self.client.cannot if check in failed]
        notes = "; ".join((*self.failures, *known)).replace("|", "\\|").replace("\n", " ")
        versions = ", ".join(package.replace("==", " ") for package in self.client.packages)
        return f"| {self.client.title} | {versions} | {num_passed} of {len(self.found)} | {notes[:600]} |"


def run(client: Client, installation: Installation, url: str, model: str) -> Result:
    """Install the client where it is not, and run its script against the OpenAI API at this URL."""
    try:
        folder = installation.install(client)
    except CannotInstall as error:
        return Result(client, (), f"not run, it cannot be installed here: {error}")
    command = (*installation.command(client, client.script), url, model)
    try:
        done = execute(command, folder)
    except subprocess.TimeoutExpired:
        return Result(client, (), f"no end within {TIMEOUT_S:g} s")
    found = tuple(Found(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith('{"check":'))
    broken = done.returncode != 0 or not found
    return Result(client, found, f"exit {done.returncode}: {done.stderr.strip()[-300:]}" if broken else None)


def execute(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that knows nothing of this process's environment of Python.

    Raises:
        subprocess.TimeoutExpired
    """
    own = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)


def table(results: Sequence[Result]) -> str:
    """In Markdown."""
    head = ["| client | versions | checks passed | |", "|---|---|---|---|"]
    return "\n".join([*head, *(result.row() for result in results)])
