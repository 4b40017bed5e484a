"""An attention sink and a sliding window as a program, in a cache much smaller than what it writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.engine.contract import Hole
from actors.settings import InferletSettings, ModelSettings
from api.inferlet_events import Completed, Failed
from tests.actors.engine.checkpoints import Oracle
from tests.actors.inferlets.programs import capture_prints
from tests.actors.long_pocket import CACHE_TOKENS, ENGINE_ARGS, long_pocket
from tests.actors.small_cluster import SmallCluster

PROGRAM = Path(__file__).parent / "sink.py"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return long_pocket(folder)


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, path: Path) -> AsyncIterator[SmallCluster]:
    model = ModelSettings("long", str(path), engine_args=ENGINE_ARGS, report_interval_s=0.05, poll_interval_s=0.001)
    settings = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40)
    async with SmallCluster(tmp_path, inferlets=settings, model=model, pool_size=0) as cluster:
        yield cluster


async def end(cluster: SmallCluster, *arguments: object) -> Any:
    capture_prints()
    program = await cluster.inferlets.upload_program(PROGRAM.read_text(), PROGRAM.name, "")
    instance = await cluster.inferlets.launch(program, tuple(map(str, arguments)))
    return [event async for event in instance.events()][-1]


@pytest.mark.parametrize("num_tokens", [3 * CACHE_TOKENS, pytest.param(4000, marks=pytest.mark.slow)])
async def test_a_sink_and_a_window_write_more_than_the_cache_holds_as_a_dense_mask_would(
    cluster: SmallCluster, path: Path, num_tokens: int
) -> None:
    ended = await end(cluster, "--tokens", num_tokens)
    assert isinstance(ended, Completed), ended
    found: Any = ended.value
    num_prompt = len(found["ids"]) - num_tokens
    logits = Oracle(path).logits(found["ids"], [Hole(*hole) for hole in found["holes"]])
    assert logits[num_prompt - 1 : -1].argmax(dim=-1).tolist() == found["ids"][num_prompt:]


async def test_without_the_window_the_cache_is_soon_full(cluster: SmallCluster) -> None:
    ended = await end(cluster, "--tokens", 3 * CACHE_TOKENS, "--window", 1_000_000)
    assert isinstance(ended, Failed), ended
    assert "attention cache is full" in ended.error
