"""Placement: where a context goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest

from actors.directory.marks import Marks
from actors.directory.models import ModelTable
from actors.engine.contract import Capacity, EngineInfo
from actors.models.messages import StartReport
from actors.models.ref import ModelReport, model_ref
from actors.settings import ClusterSettings, ModelSettings
from api.errors import ModelNotFound, Unavailable
from api.turns import Sampling

INFO = EngineInfo("fake", "none", 100, 10, (0,))


@dataclass(frozen=True)
class Actor:
    """Stands for the handle of an actor; handles to one actor are equal."""

    name: str


def table(*names: str, timeout_s: float = 0.05) -> ModelTable:
    models = tuple(ModelSettings(name, "nowhere", (f"{name}-alias",)) for name in names or ("m",))
    return ModelTable(ClusterSettings(models, recovery_timeout_s=timeout_s))


def report(
    incarnation: str, turns: int = 0, free: int = 10, name: str = "m", actor: str = "", draining: bool = False
) -> ModelReport:
    capacity = Capacity(16, 10, free, 10 - free, 0, turns, 0)
    ref = model_ref(Actor(actor or incarnation))
    settings = ModelSettings(name, "nowhere", (f"{name}-alias",))
    return ModelReport(name, incarnation, ref, settings, INFO, capacity, None, "", False, draining, Sampling())


async def place(models: ModelTable, key: str = "", model: str | None = None, lost: str | None = None) -> str:
    return (await models.place(model, key, lost)).incarnation


async def test_a_new_context_goes_to_the_least_loaded_actor() -> None:
    models = table()
    models.report(report("a", turns=3))
    models.report(report("b", turns=1, free=2))
    models.report(report("c", turns=1, free=8))
    assert await place(models, "x") == "c"


async def test_placements_since_the_last_report_count() -> None:
    models = table()
    models.report(report("a"))
    models.report(report("b"))
    assert {await place(models, "x"), await place(models, "y")} == {"a", "b"}


async def test_a_context_stays_until_its_actor_is_lost() -> None:
    models = table()
    models.report(report("a"))
    assert await place(models, "x") == "a"
    models.report(report("a", turns=50))
    models.report(report("b"))
    assert await place(models, "x") == "a"
    assert await place(models, "x", lost="a") == "b"
    assert await place(models, "x") == "b"


async def test_a_restarted_actor_replaces_its_earlier_self() -> None:
    models = table()
    models.report(report("a", actor="one"))
    models.report(report("b", actor="one"))
    assert [found.incarnation for found in models.reports()] == ["b"]


async def test_a_model_has_the_aliases_that_its_actor_tells() -> None:
    models = table()
    assert models.infos()[0].aliases == ("m-alias",)
    told = report("a")
    models.report(replace(told, settings=replace(told.settings, aliases=("tiny",))))
    assert models.infos()[0].aliases == ("tiny",)
    assert await place(models, model="tiny") == "a"
    with pytest.raises(ModelNotFound):
        await place(models, model="m-alias")


async def test_what_an_actor_ran_with_is_remembered_for_its_restart() -> None:
    models, told, other = table(), report("a", actor="one"), report("b", actor="two")
    told = replace(told, settings=replace(told.settings, orphan_timeout_s=7))
    for one in (told, other):
        models.report(one)
    await place(models, "x", lost="a")
    assert models.settings_of(model_ref(Actor("one"))) == told.settings
    assert models.settings_of(model_ref(Actor("two"))) == other.settings
    assert models.settings_of(model_ref(Actor("three"))) is None


async def test_a_draining_actor_gets_nothing_new() -> None:
    models = table()
    models.report(report("a"))
    assert await place(models, "x") == "a"
    models.report(report("a", draining=True))
    models.report(report("b", turns=9))
    assert await place(models, "x") == "b"


async def test_placing_waits_for_an_actor_and_gives_up_in_time() -> None:
    models = table(timeout_s=5)
    waiting = asyncio.create_task(place(models, "x"))
    await asyncio.sleep(0)
    models.report(report("a"))
    assert await asyncio.wait_for(waiting, 30) == "a"
    with pytest.raises(Unavailable):
        await place(table(timeout_s=0.01), "x")


async def test_models_go_by_name_and_alias_and_the_first_is_the_default() -> None:
    models = table("m", "n")
    models.report(report("a"))
    models.report(report("b", name="n"))
    assert await place(models, model="n-alias") == "b"
    assert await place(models) == "a"
    with pytest.raises(ModelNotFound):
        await place(models, model="nope")
    assert [(info.name, info.num_ready) for info in models.infos()] == [("m", 1), ("n", 1)]


async def test_what_a_model_is_stays_known_while_no_actor_of_it_is_up() -> None:
    models = table("m")
    with pytest.raises(Unavailable, match="^no actor of model 'm' can answer now$"):
        models.infos()[0].known()
    models.report(report("a"))
    known = models.infos()[0].known()
    with pytest.raises(Unavailable):
        await place(models, lost="a")
    assert models.infos()[0].known() == replace(known, num_ready=0)


async def test_an_actor_starts_until_it_has_started() -> None:
    models = table("m", "n")
    first, second = StartReport("m", "a", ("loads",)), StartReport("n", "b", ())
    models.report_start(first)
    models.report_start(second)
    assert models.starts() == (first, second)
    models.report(report("a"))
    assert models.starts() == (second,)
    models.report_start(first)
    assert models.starts() == (second,), "what comes late says nothing"


async def test_an_actor_that_says_no_more_does_not_start_any_longer() -> None:
    models = ModelTable(ClusterSettings((ModelSettings("m", "nowhere"),), model_timeout_s=0.0))
    models.report_start(StartReport("m", "a", ("loads",)))
    await asyncio.sleep(0)
    assert models.starts() == ()


async def test_a_prompt_goes_where_the_longest_beginning_of_it_went_unless_that_is_too_busy() -> None:
    models = table()
    models.report(report("a"))
    models.report(report("b", turns=1))
    first, second = (b"start", b"question"), (b"start", b"question", b"answer", b"more")
    assert (await models.place(None, "", marks=first)).incarnation == "a"
    models.report(report("a", turns=7))
    assert (await models.place(None, "", marks=second)).incarnation == "a"
    assert (await models.place(None, "", marks=(b"other",))).incarnation == "b"
    models.report(report("a", turns=7 + models.MAX_MORE_TURNS))
    models.report(report("b", turns=1))
    assert (await models.place(None, "", marks=second)).incarnation == "b"
    models.report(report("a"))
    assert (await models.place(None, "", marks=(*second, b"still more"))).incarnation == "b"


async def test_a_prompt_whose_actor_is_gone_goes_to_another() -> None:
    models = table()
    models.report(report("a", actor="one"))
    await models.place(None, "", marks=(b"start",))
    models.report(report("b", actor="one"))
    assert (await models.place(None, "", marks=(b"start",))).incarnation == "b"


def test_the_marks_that_were_not_used_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.directory.marks.MAX_MARKS", 2)
    marks = Marks()
    marks.put([b"1", b"2"], "a")
    marks.put([b"1", b"3"], "b")
    assert [marks.place([mark]) for mark in (b"1", b"2", b"3")] == ["b", None, "b"]
