"""Clients that others wrote, and examples, on the embedded model, over everything but Ray; all of them, and over Ray,
run by ``python -m tests.clients``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from actors.settings import InferletSettings, ModelSettings
from api.http.app import build_app
from api.settings import ApiSettings
from deployments.config import embedded_model
from tests.actors.small_cluster import SmallCluster
from tests.api.live_server import serving
from tests.clients.catalogue import CLIENTS, EXAMPLES
from tests.clients.installation import CACHE, Installation
from tests.clients.results import execute, run

pytestmark = [pytest.mark.timeout(900)]
in_one_loop = pytest.mark.asyncio(loop_scope="module")

INSTALLATION = Installation(CACHE)
"""Installed here where it is not yet, which takes a registry and a minute."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    model = ModelSettings("pocket", embedded_model(), report_interval_s=0.05, poll_interval_s=0.001)
    inferlets, folder = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40), tmp_path_factory.mktemp("journal")
    async with SmallCluster(folder, inferlets=inferlets, model=model, pool_size=1) as cluster:
        async with serving(build_app(cluster.greenroom, ApiSettings())) as base_url:
            yield f"{base_url}/v1"


@in_one_loop
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("openai_python", ("Ada",)),
        ("ai_sdk", ("weather: It is sunny in",)),
        ("langchain", ("get_weather: It is sunny in", "city=", "days=")),
    ],
)
async def test_an_example_prints_what_it_promises(name: str, said: tuple[str, ...], url: str) -> None:
    folder = await asyncio.to_thread(INSTALLATION.install, CLIENTS[name])
    command = (*INSTALLATION.command(CLIENTS[name], EXAMPLES[name]), url)
    done = await asyncio.to_thread(execute, command, folder)
    assert done.returncode == 0, done.stderr
    assert [text for text in said if text not in done.stdout] == []


@in_one_loop
@pytest.mark.parametrize("name", ["openai_python", "openai_node", "ai_sdk", "langchain"])
async def test_a_client_finds_what_it_should(name: str, url: str) -> None:
    result = await asyncio.to_thread(run, CLIENTS[name], INSTALLATION, url, "pocket")
    assert result.failures == ()


def test_every_example_is_short_and_run() -> None:
    files = {file.name for file in next(iter(EXAMPLES.values())).parent.iterdir() if file.is_file()}
    assert files == {file.name for file in EXAMPLES.values()}
    assert [file.name for file in EXAMPLES.values() if len(file.read_text().splitlines()) >= 40] == []
