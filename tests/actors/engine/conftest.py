"""Tiny checkpoints, made once, and engines that run them."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import pytest
import pytest_asyncio
import torch

from actors.engine.adapter_files import AdapterFiles
from actors.engine.choice import has_vllm
from actors.engine.factory import build_engine
from actors.settings import ModelSettings
from tests.actors.engine.adapters import ALL_LAYERS, make_adapter, merge_adapter
from tests.actors.engine.checkpoints import Oracle, make_checkpoint
from tests.actors.engine.driver import Driver, TorchDriver, start_engine

if TYPE_CHECKING:
    from actors.engine.vllm.engine import VllmEngine

AdapterMaker: TypeAlias = Callable[[str], tuple[AdapterFiles, ...]]

VLLM_BLOCK = 32
VLLM_BLOCKS = 24
"""Tokens in a block of vLLM's cache, and how many there are: for three contexts of the tiny models' longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here share an event loop, which vLLM belongs to; the first to need vLLM starts it."""
    for item in items:
        if item.get_closest_marker("vllm") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))
        if item.path.is_relative_to(Path(__file__).parent) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory of a tiny model of an architecture."""
    return cache(lambda architecture: make_checkpoint(architecture, tmp_path_factory.mktemp(architecture)))


@pytest.fixture(scope="session")
def oracle(checkpoint: Callable[[str], Path]) -> Callable[[str], Oracle]:
    """The same model in ``transformers``."""
    return cache(lambda architecture: Oracle(checkpoint(architecture)))


@pytest.fixture(scope="session")
def adapters(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> AdapterMaker:
    """Random adapters of a tiny model, "all" and "few", each for other layers."""

    @cache
    def make(architecture: str) -> tuple[AdapterFiles, ...]:
        folder = tmp_path_factory.mktemp(f"adapters of {architecture}")
        names = {"all": (ALL_LAYERS, 4), "few": (("q_proj", "v_proj", "down_proj"), 3)}
        return tuple(
            AdapterFiles.read(name, make_adapter(checkpoint(architecture), folder / name, targets, rank))
            for name, (targets, rank) in names.items()
        )

    return make


@pytest.fixture(scope="session")
def merged(
    checkpoint: Callable[[str], Path], adapters: AdapterMaker, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str | None], Oracle]:
    """The model with an adapter in its weights, or (None) without one, in ``transformers``."""

    @cache
    def make(architecture: str, name: str | None) -> Oracle:
        base = checkpoint(architecture)
        found = [files.path for files in adapters(architecture) if files.name == name]
        return Oracle(merge_adapter(base, found[0], tmp_path_factory.mktemp("merged")) if found else base)

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def torch_driver(checkpoint: Callable[[str], Path]) -> AsyncIterator[TorchDriver]:
    """A started torch engine with the tiny Llama."""
    engine = await start_engine(checkpoint("llama"))
    yield TorchDriver(engine)
    await engine.stop()


class SharedVllm:
    """One vLLM engine for all tests, since starting one takes ten seconds; started by the first that needs it."""

    def __init__(self, path: Path, adapters: Sequence[AdapterFiles]) -> None:
        block_bytes = VLLM_BLOCK * 2 * 2 * 2 * 32 * 4
        arguments = {"kv_cache_memory_bytes": (VLLM_BLOCKS + 1) * block_bytes, "max_num_batched_tokens": 512}
        paths = {files.name: str(files.path) for files in adapters}
        self._settings = ModelSettings("tiny", str(path), engine="vllm", engine_args=arguments, adapters=paths)
        self._engine: VllmEngine | None = None
        self.stages: list[str] = []

    async def engine(self) -> VllmEngine:
        """The engine, with no contexts."""
        if not has_vllm():
            pytest.skip("vLLM is not installed")
        if self._engine is None:
            with warnings.catch_warnings(action="ignore"):  # those of vLLM's imports
                open_engine, _ = build_engine(self._settings)
                self._engine = cast("VllmEngine", await open_engine(self.stages.append))
        return self._engine

    async def stop(self) -> None:
        """End it."""
        if self._engine is not None:
            await self._engine.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_vllm(checkpoint: Callable[[str], Path], adapters: AdapterMaker) -> AsyncIterator[SharedVllm]:
    """See there."""
    shared = SharedVllm(checkpoint("llama"), adapters("llama"))
    yield shared
    await shared.stop()


@asynccontextmanager
async def driving(shared_vllm: SharedVllm) -> AsyncIterator[Driver]:
    """vLLM, left as it was found."""
    engine = await shared_vllm.engine()
    driver, adapters = Driver(engine, whole_blocks=VLLM_BLOCK, max_context=255), engine.info.adapters
    yield driver
    for name in set(engine.info.adapters) - set(adapters):
        engine.unload_adapter(name)
    for context in list(engine._contexts):
        engine.close(context.context_id)
    await driver.finish(*driver.outputs)
    await driver.until(lambda: engine.capacity().num_free_blocks == VLLM_BLOCKS)


@pytest_asyncio.fixture(loop_scope="session")
async def vllm_driver(shared_vllm: SharedVllm) -> AsyncIterator[Driver]:
    """vLLM with the tiny Llama."""
    async with driving(shared_vllm) as driver:
        yield driver


@pytest_asyncio.fixture(loop_scope="session", params=["torch", pytest.param("vllm", marks=pytest.mark.vllm)])
async def driver(
    request: pytest.FixtureRequest,
    checkpoint: Callable[[str], Path],
    adapters: AdapterMaker,
    shared_vllm: SharedVllm,
) -> AsyncIterator[Driver]:
    """Either engine with the tiny Llama and its adapters: what holds for both is tested on both.

    Where the arithmetic of two engines differs, it is in the last bits. The tiny model's logits lie so far apart that a
    greedy token never depends on them, so tokens are compared to the end and not to the first near-tie.
    """
    if request.param == "vllm":
        async with driving(shared_vllm) as driver:
            yield driver
        return
    engine = await start_engine(checkpoint("llama"), adapters=adapters("llama"))
    yield TorchDriver(engine)
    await engine.stop()
