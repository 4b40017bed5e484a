"""The thread that steps: how far it runs ahead, when it waits, how it ends."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.engine.contract import Output
from actors.engine.torch.loader import LoadedModel, load_model
from actors.engine.torch.settings import TorchSettings
from actors.engine.torch.step_thread import StepThread
from api.errors import Unavailable
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import Driver, prompt, start_engine

DEADLINE_S = 30.0


class Work:
    """Steps that a test hands out; notes how many were made."""

    def __init__(self, num_steps: int) -> None:
        self.num_left = num_steps
        self.made: queue.Queue[int] = queue.Queue()

    def advance(self) -> list[Output] | None:
        """The next step, numbered backwards."""
        if not self.num_left:
            return None
        self.num_left -= 1
        self.made.put(self.num_left)
        return [Output(str(self.num_left))]


async def test_it_runs_ahead_so_far_and_no_further() -> None:
    work = Work(10)
    thread = StepThread(work.advance, steps_ahead=3)
    thread.start()
    thread.wake()
    assert [await asyncio.to_thread(work.made.get, timeout=DEADLINE_S) for _ in range(3)] == [9, 8, 7]
    assert work.num_left == 7
    assert [output.turn_id for output in await thread.next()] == ["9"]
    assert await asyncio.to_thread(work.made.get, timeout=DEADLINE_S) == 6
    await thread.stop()


async def test_it_waits_until_there_is_something_to_do() -> None:
    work = Work(0)
    thread = StepThread(work.advance, steps_ahead=0)
    thread.start()
    thread.wake()
    step = asyncio.create_task(thread.next())
    await asyncio.sleep(0)
    work.num_left = 1
    thread.wake()
    assert await asyncio.wait_for(step, DEADLINE_S)
    await thread.stop()


async def test_what_ends_it_is_raised_by_every_later_call() -> None:
    def advance() -> None:
        raise ZeroDivisionError

    thread = StepThread(advance, steps_ahead=0)
    thread.start()
    thread.wake()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(thread.next(), DEADLINE_S)
    await thread.stop()


async def test_a_call_that_waits_when_it_is_stopped_is_told() -> None:
    thread = StepThread(lambda: None, steps_ahead=0)
    thread.start()
    step = asyncio.create_task(thread.next())
    await asyncio.sleep(0)
    await thread.stop()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(step, DEADLINE_S)


async def test_calls_while_it_runs_ahead_keep_the_invariants_and_the_tokens(checkpoint: Callable[[str], Path]) -> None:
    path = checkpoint("llama")
    engine, chance = await start_engine(path, steps_ahead=8, kv_cache_bytes=None), random.Random(3)
    driver, oracle = Driver(engine), Oracle(path)
    for index in range(6):
        driver.begin(f"c{index}", prompt(5 + index), num_tokens=30)
        for _ in range(chance.randrange(4)):
            await driver.step()
        engine.refill("c0")
    driver.begin("gone", prompt(9), num_tokens=200)
    await driver.step()
    engine.cancel("gone")
    await driver.finish(*(f"c{index}" for index in range(6)), "gone")
    assert driver.finish_of("gone").reason == "cancelled"
    for index in range(6):
        assert driver.output_ids(f"c{index}") == oracle.greedy(prompt(5 + index), 30)
    await engine.stop()


async def test_the_thread_that_loads_the_model_ends(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaders: list[threading.Thread] = []

    def load_and_tell(settings: TorchSettings) -> LoadedModel:
        loaders.append(threading.current_thread())
        return load_model(settings)

    monkeypatch.setattr("actors.engine.torch.engine.load_model", load_and_tell)
    engine = await start_engine(checkpoint("llama"))
    (loader,) = loaders
    await asyncio.to_thread(loader.join, DEADLINE_S)
    assert not loader.is_alive()
    await engine.stop()
