"""Tiny checkpoints, made once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.actors.engine.checkpoints import Oracle, make_checkpoint
from tests.actors.engine.driver import Driver, start_engine


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


@pytest.fixture
async def driver(checkpoint: Callable[[str], Path]) -> AsyncIterator[Driver]:
    """A started engine with the tiny Llama."""
    engine = await start_engine(checkpoint("llama"))
    yield Driver(engine)
    await engine.stop()
