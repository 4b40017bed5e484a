"""Models that leave memory: who waits for them, how often they are started, and what is told of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from actors.directory.messages import Demand
from actors.directory.models import ModelTable
from actors.directory.wakes import Wakes
from actors.settings import ClusterSettings, ModelSettings
from api.errors import ModelNotFound, TooBusy, Unavailable
from tests.actors.directory.test_models import place, report

LAZY = ModelSettings("m", "nowhere", ("alias",), passivate_after_s=60.0, start_timeout_s=5.0)
EAGER = ModelSettings("n", "nowhere")


class Table(ModelTable):
    """With a list of the wakes that have ended."""

    def __init__(self, *models: ModelSettings) -> None:
        self.ended: list[tuple[str, float | None]] = []
        settings = ClusterSettings(models or (LAZY, EAGER), recovery_timeout_s=0.02)
        super().__init__(settings, lambda model, waited_s: self.ended.append((model, waited_s)))


@asynccontextmanager
async def waiting(models: ModelTable, number: int) -> AsyncIterator[list[asyncio.Task[str]]]:
    """So many requests for the model, which have been heard of."""
    tasks = [asyncio.create_task(place(models, f"{index}", "alias")) for index in range(number)]
    async with asyncio.timeout(10):
        assert await models.demand("m", False, 10) == Demand(True)
        yield tasks


async def test_a_passive_model_is_started_for_the_first_request_once_for_all_that_wait() -> None:
    models = Table()
    assert await models.demand("m", False, 0) == Demand(False, 60.0)
    async with waiting(models, 50) as tasks:
        assert not any(task.done() for task in tasks)
        models.report(report("a"))
        assert set(await asyncio.gather(*tasks)) == {"a"}
    [(model, waited_s)] = models.ended
    assert model == "m"
    assert waited_s is not None
    assert 0 < waited_s < 10
    models.report(report("b"))
    assert len(models.ended) == 1, "an actor that nobody waited for"


async def test_one_that_has_to_be_there_is_not_waited_for_longer_than_recovery_takes() -> None:
    models = Table()
    assert await models.demand("n", False, 0) == await models.demand("n", True, 0) == Demand(True)
    with pytest.raises(Unavailable, match="^no actor of model 'n' can answer now$"):
        await asyncio.wait_for(place(models, model="n"), 3)


async def test_requests_give_up_when_a_start_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelTable, "GRACE_S", 0.0)
    models = Table(replace(LAZY, start_timeout_s=0.05))
    with pytest.raises(Unavailable, match="^no actor of model 'm' can answer now$") as failed:
        await asyncio.wait_for(place(models), 5)
    assert failed.value.retry_after_s
    assert await models.demand("m", False, 0) == Demand(False, 60.0), "nobody waits any longer"


async def test_an_unused_model_goes_as_a_whole_and_not_before_a_directory_has_heard_of_it() -> None:
    models = Table()
    assert await models.demand("m", True, 0) == Demand(True, 60.0)
    models.report(replace(report("a"), idle_s=61.0))
    models.report(replace(report("b"), idle_s=59.0))
    assert await models.demand("m", True, 0) == await models.demand("m", False, 0) == Demand(True, 60.0)
    models.report(replace(report("b"), idle_s=60.0))
    assert await models.demand("m", True, 0) == await models.demand("m", False, 0) == Demand(False, 60.0)


async def test_a_request_that_comes_while_the_actor_goes_waits_for_the_next() -> None:
    models = Table()
    models.report(report("a"))
    assert await place(models, "x") == "a"
    models.report(report("a", draining=True))
    assert models.infos()[0].is_passive
    async with waiting(models, 1) as [task]:
        models.report(report("a", draining=True))
        models.report(report("b"))
        assert await task == "b"
    assert not models.infos()[0].is_passive


async def test_a_lost_actor_that_had_been_drained_is_told_from_one_that_died() -> None:
    models = Table()
    for incarnation, is_draining in (("died", False), ("drained", True)):
        models.report(report(incarnation, draining=is_draining))
        models.report(report("next"))
        assert (await models.place(None, "x", lost=incarnation)).has_lost_retired == is_draining
    assert not (await models.place(None, "x")).has_lost_retired


async def test_a_start_that_fails_is_told_to_all_that_wait_and_not_tried_again_at_once() -> None:
    models = Table()
    sentence = "^model 'm' cannot start: no weights$"
    async with waiting(models, 20) as tasks:
        models.start_failed("m", "no weights")
        for task in tasks:
            with pytest.raises(Unavailable, match=sentence):
                await task
    assert models.ended == [("m", None)]
    with pytest.raises(Unavailable, match=sentence):
        await place(models)
    assert await models.demand("m", False, 0) == Demand(False, 60.0)
    info = models.infos()[0]
    assert (info.is_passive, info.problem) == (False, "model 'm' cannot start: no weights")


async def test_the_next_request_after_a_start_that_failed_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wakes, "HOLD_S", 0.0)
    models = Table()
    models.start_failed("m", "no weights")
    async with waiting(models, 1) as [task]:
        models.report(report("a"))
        assert await task == "a"
    info = models.infos()[0]
    assert (info.num_ready, info.problem) == (1, "")


async def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wakes, "MAX_WAITING", 2)
    models = Table()
    async with waiting(models, 2) as tasks:
        with pytest.raises(TooBusy):
            await place(models)
        models.report(report("a"))
        assert await asyncio.gather(*tasks) == ["a", "a"]


async def test_settings_that_change_count_at_once() -> None:
    models = Table()
    asleep = asyncio.create_task(models.demand("m", False, 30))
    await asyncio.sleep(0)
    models.configure(ClusterSettings((replace(LAZY, passivate_after_s=None),)))
    assert await asyncio.wait_for(asleep, 10) == Demand(True)
    models.report(replace(report("a"), idle_s=1000.0))
    awake = asyncio.create_task(models.demand("m", True, 30))
    await asyncio.sleep(0)
    models.configure(ClusterSettings((LAZY,)))
    assert await asyncio.wait_for(awake, 10) == Demand(False, 60.0)


async def test_a_model_that_is_not_configured_stays_as_it_is() -> None:
    models = Table()
    for is_there in (False, True):
        assert (await models.demand("elsewhere", is_there, 0)).is_there is is_there
    with pytest.raises(ModelNotFound):
        await place(models, model="elsewhere")


async def test_a_model_that_has_left_memory_is_found_by_a_name_that_it_got_meanwhile() -> None:
    models = Table()
    models.report(report("a"))
    models.report(report("a", draining=True))
    models.configure(ClusterSettings((replace(LAZY, aliases=("new",)),)))
    assert models.find("new").name == "m"
    assert "new" in models.infos()[0].aliases
