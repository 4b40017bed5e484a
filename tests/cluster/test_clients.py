"""Clients that others wrote, and examples, at a real Serve; the dearer ones run by ``python -m tests.clients``."""

from __future__ import annotations

import pytest

from tests.clients.catalogue import CLIENTS, EXAMPLES
from tests.clients.installation import CACHE, Installation
from tests.clients.results import execute, run
from tests.cluster.deployed import Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

INSTALLATION = Installation(CACHE)
"""Installed here where it is not yet, which takes a registry and a minute."""


@pytest.mark.parametrize("name", ["openai_python", "openai_node", "ai_sdk", "langchain"])
def test_a_client_finds_what_it_should(name: str, deployed: Deployed) -> None:
    result = run(CLIENTS[name], INSTALLATION, f"{deployed.url}/v1", "pocket")
    assert result.failures == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai_python", ("Ada",)),
        ("ai_sdk", ("weather: It is sunny in",)),
        ("langchain", ("get_weather: It is sunny in", "city=", "days=")),
    ],
)
def test_an_example_prints_what_it_promises(name: str, said: tuple[str, ...], deployed: Deployed) -> None:
    folder = INSTALLATION.install(CLIENTS[name])
    done = execute((*INSTALLATION.command(CLIENTS[name], EXAMPLES[name]), f"{deployed.url}/v1"), folder)
    assert done.returncode == 0, done.stderr
    assert [text for text in said if text not in done.stdout] == []


def test_every_example_is_short_and_run() -> None:
    files = {file.name for file in next(iter(EXAMPLES.values())).parent.iterdir() if file.is_file()}
    assert files == {file.name for file in EXAMPLES.values()}
    assert [file.name for file in EXAMPLES.values() if len(file.read_text().splitlines()) >= 40] == []
