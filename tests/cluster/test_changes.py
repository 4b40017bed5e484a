"""Changes to a Greenroom that serves: what is taken in place disturbs no stream, and what restarts loses no token."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from ray import serve

from deployments.serve_environment import SERVE_ENVIRONMENT
from tests.actors.long_pocket import long_pocket
from tests.cluster.command import ROOT, Result
from tests.cluster.deployed import RAY_ENVIRONMENT, free_port
from tests.cluster.own_ray import start_ray
from tests.cluster.steady import Stream, percentile, steady_streams, turns_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

ADA, BOB = "key-of-ada", "key-of-bob"
NUM_STREAMS = 16
KEYS = {"api_keys": [{"key": ADA, "owner": "ada"}], "owner_share": 1.0}
POCKET: dict[str, Any] = {"name": "pocket"}


class Site:
    """A Ray of this process's own, and the configuration that is deployed there."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._file = folder / "greenroom.yaml"
        self._environment = os.environ | {"GREENROOM_HOME": str(folder), "RAY_AUTH_MODE": "disabled"}
        self._fields: dict[str, Any] = {
            "listen": {"port": port},
            "journal": {"path": str(folder / "journal.db")},
            "models": [POCKET],
            "api": KEYS,
            "sessions": {"pool_size": NUM_STREAMS},
            "num_gateways": 2,
        }

    async def deploy(self, **fields: Any) -> list[str]:
        """Change these; what is told before it happens."""
        self._write(fields)
        planned = await asyncio.to_thread(self.run, "deploy", "--dry-run", str(self._file))
        done = await self.try_to_deploy()
        assert (planned.err, done.err, planned.code, done.code) == ("", "", 0, 0)
        told = [line for line in planned.out.splitlines() if line.startswith(("Gateway: ", "Model ", "Nothing"))]
        assert all(line in done.out.splitlines() for line in told)
        return told

    async def try_to_deploy(self, **fields: Any) -> Result:
        """Change these."""
        self._write(fields)
        return await asyncio.to_thread(self.run, "deploy", str(self._file))

    def _write(self, fields: dict[str, Any]) -> None:
        self._fields |= fields
        self._file.write_text(json.dumps(self._fields))

    def run(self, *arguments: str) -> Result:
        """A command of ``greenroom``, which leaves the processors to the streams."""
        environment = self._environment | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        command = ("nice", "-n", "19", sys.executable, "-m", "deployments.cli", *arguments)
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=400)
        return Result(done.returncode, done.stdout, done.stderr)

    def get(self, path: str, key: str = ADA) -> httpx.Response:
        """With a key."""
        return httpx.get(self.url + path, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def post(self, path: str, body: bytes) -> httpx.Response:
        """With a key."""
        return httpx.post(self.url + path, content=body, headers={"Authorization": f"Bearer {ADA}"}, timeout=60)

    def models(self) -> dict[str, Any]:
        """By name."""
        return {model["name"]: model for model in self.get("/api/models").raise_for_status().json()["models"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    for name, value in {**RAY_ENVIRONMENT, **SERVE_ENVIRONMENT}.items():
        os.environ.setdefault(name, value)
    start_ray(num_cpus=4)
    site = Site(tmp_path_factory.mktemp("site"))
    asyncio.run(site.deploy())
    yield site
    serve.shutdown()
    ray.shutdown()


def check_undisturbed(
    streams: list[Stream], before: tuple[float, float], during: tuple[float, float], what: str
) -> None:
    """No socket has closed, no token is another, and no pause is twice as long as there were before."""
    assert sum(stream.num_closed for stream in streams) == 0
    assert len({tuple(answer.ids) for stream in streams for answer in stream.answers}) == 1
    usual, found = ([wait for stream in streams for wait in stream.waits(*time_of)] for time_of in (before, during))
    shown = [
        f"{percentile(waits, 0.5):.0f}, {percentile(waits, 0.99):.0f}, {1000 * max(waits):.0f}"
        for waits in (usual, found)
    ]
    print(f"\n{what}: ms between messages, median, p99, longest: before {shown[0]}; during {shown[1]}")  # noqa: T201
    assert percentile(found, 0.99) < 2 * percentile(usual, 0.99)


async def beside_streams(site: Site, what: str, **fields: Any) -> list[str]:
    """Deploy under 16 streams; what is told of it."""
    async with steady_streams(site.url, NUM_STREAMS, key=ADA) as streams:
        began = time.monotonic()
        await turns_of(streams, 3)
        deploying = time.monotonic()
        told = await site.deploy(**fields)
        deployed = time.monotonic()
        await turns_of(streams, 1)
    check_undisturbed(streams, (began, deploying), (deploying, deployed), what)
    return told


async def test_the_same_again_changes_nothing(site: Site) -> None:
    assert await site.deploy() == ["Nothing changes"]


async def test_a_key_a_limit_an_alias_and_more_actors_disturb_no_stream(site: Site) -> None:
    keys = {**KEYS, "api_keys": [*KEYS["api_keys"], {"key": BOB, "owner": "bob"}]}  # type: ignore[misc]
    assert site.get("/api/sessions", BOB).status_code == 401
    assert await beside_streams(site, "a key", api=keys) == ["Gateway: takes api.api_keys in place"]
    assert site.get("/api/sessions", BOB).status_code == 200

    assert await beside_streams(site, "a limit", api={**keys, "max_body_bytes": 2048}) == [
        "Gateway: takes api.max_body_bytes in place"
    ]
    assert site.post("/api/sessions", b" " * 4096).status_code == 413

    named = {**POCKET, "aliases": ["tiny"]}
    assert await beside_streams(site, "an alias", models=[named]) == [
        "Gateway: takes models in place",
        "Model pocket: takes aliases in place",
    ]
    assert site.models()["pocket"]["aliases"] == ["tiny"]

    assert await beside_streams(site, "num_replicas", models=[{**named, "num_replicas": 2}]) == [
        "Model pocket: num_replicas: 1 → 2"
    ]
    assert site.models()["pocket"]["num_ready"] == 2
    await site.deploy(models=[POCKET], api=KEYS)
    assert site.get("/api/sessions", BOB).status_code == 401


async def test_a_second_model_disturbs_no_stream_of_the_first(site: Site) -> None:
    assert await beside_streams(site, "a model", models=[POCKET, {"name": "second"}]) == [
        "Gateway: takes models in place",
        "Model second: is added",
    ]
    assert site.models()["second"]["num_ready"] == 1
    gateway, second = await beside_streams(site, "a model that goes", models=[POCKET])
    assert second.startswith("Model second: is removed")
    assert set(site.models()) == {"pocket"}


async def test_only_the_turns_of_a_changed_model_pause_and_all_go_on(site: Site, tmp_path: Path) -> None:
    long = {"name": "long", "path": str(long_pocket(tmp_path)), "drain_timeout_s": 1}
    await site.deploy(models=[POCKET, long])
    async with (
        steady_streams(site.url, NUM_STREAMS // 2, key=ADA) as others,
        steady_streams(site.url, NUM_STREAMS // 2, "long", ADA, max_tokens=1000) as streams,
    ):
        began = time.monotonic()
        await turns_of(others, 3)
        deploying = time.monotonic()
        (told,) = await site.deploy(models=[POCKET, {**long, "engine_args": {"max_running": 48}}])
        deployed = time.monotonic()
        await turns_of(streams, 1)
    assert told.startswith("Model long: restarts (engine_args): one actor after another")
    check_undisturbed(others, (began, deploying), (deploying, deployed), "another model that restarts")
    answers = [answer for stream in streams for answer in stream.answers]
    assert len({tuple(answer.ids) for answer in answers}) == 1
    pauses = sorted(max(stream.waits(deploying, deployed), default=0.0) for stream in streams)
    print(f"pauses of its own turns: {pauses[len(pauses) // 2]:.1f} s in the median, {pauses[-1]:.1f} s")  # noqa: T201
    assert pauses[-1] > 1
    await site.deploy(models=[POCKET])


async def test_a_model_that_cannot_load_is_told_of_and_leaves_what_runs(site: Site, tmp_path: Path) -> None:
    directory = long_pocket(tmp_path)
    (directory / "tokenizer.json").unlink()
    (directory / "tokenizer.json").write_text("{}")
    async with steady_streams(site.url, 4, key=ADA) as streams:
        result = await site.try_to_deploy(models=[POCKET, {"name": "broken", "path": str(directory)}])
        await turns_of(streams, 1)
    assert result.code == 1
    assert result.err.startswith("greenroom: model 'broken' cannot start: ")
    assert result.err.count("\n") == 1
    assert sum(stream.num_closed for stream in streams) == 0
    assert {name: model["num_ready"] for name, model in site.models().items()} == {"pocket": 1, "broken": 0}
    assert site.run("status").err == result.err
    await site.deploy(models=[POCKET])
    assert site.run("status").code == 0


async def test_gateways_that_go_hand_their_clients_over(site: Site) -> None:
    servers = {"mcp": {"files": {"command": ["true"]}}}
    async with steady_streams(site.url, NUM_STREAMS, key=ADA) as streams:
        (told,) = await site.deploy(agents=servers)
        await turns_of(streams, 2)
    assert told.startswith("Gateway: restarts (mcp_servers)")
    assert len({tuple(answer.ids) for stream in streams for answer in stream.answers}) == 1
    assert sum(stream.num_closed for stream in streams) >= 1
    print(f"longest pause: {max(max(w for _, w in a.waits) for s in streams for a in s.answers):.2f} s")  # noqa: T201
