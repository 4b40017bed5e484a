"""Adapters that are loaded while models run: on every actor, over deaths, until they are unloaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from actors.engine.adapter_files import AdapterFiles
from actors.models.adapters import ModelAdapters
from actors.models.messages import LoadedAdapter, LoadedAdapters
from api.cluster import AdapterInfo
from api.errors import InvalidRequest, NameTaken
from tests.actors.fake_engine import FakeEngine, write_adapter
from tests.actors.small_cluster import SmallCluster


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, num_models=2, pool_size=1) as cluster:
        yield cluster


@pytest.fixture
def late(tmp_path: Path) -> Path:
    """The directory of an adapter."""
    return write_adapter(tmp_path / "late")


def having(cluster: SmallCluster, name: str) -> list[bool]:
    """Which engines have an adapter."""
    return [name in engine.info.adapters for engine in cluster.engines]


async def test_all_actors_have_it_over_every_death_until_it_is_unloaded(cluster: SmallCluster, late: Path) -> None:
    await cluster.greenroom.load_adapter(None, "late", str(late))
    assert having(cluster, "late") == [True, True]
    cluster.kill_model(0)
    cluster.restart_directory()
    await cluster.start_model(0)
    assert having(cluster, "late") == [True, True]
    await cluster.models[1].target._report(cluster.models[1].target._loaded)
    assert await cluster.greenroom.adapters(None) == (AdapterInfo("late", str(late), False, 2),)
    assert await cluster.greenroom.unload_adapter(None, "late")
    assert having(cluster, "late") == [False, False]
    cluster.kill_model(0)
    cluster.restart_directory()
    await cluster.start_model(0)
    assert having(cluster, "late") == [False, False]


async def test_what_one_actor_cannot_load_none_keeps(
    cluster: SmallCluster, late: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(files: AdapterFiles) -> None:
        raise InvalidRequest(f"no room for adapter {files.name!r}")

    monkeypatch.setattr(cluster.engines[1], "load_adapter", refuse)
    with pytest.raises(InvalidRequest, match="^no room for adapter 'late'$"):
        await cluster.greenroom.load_adapter(None, "late", str(late))
    assert having(cluster, "late") == [False, False]
    assert await cluster.greenroom.adapters(None) == ()
    monkeypatch.undo()
    await cluster.greenroom.load_adapter(None, "late", str(late))
    assert having(cluster, "late") == [True, True]


async def test_what_is_no_adapter_is_refused(cluster: SmallCluster, late: Path) -> None:
    (late / "adapter_config.json").write_text("[" * 100_000)
    for path, sentence in (
        (late.parent, "is not a PEFT adapter: it has no adapter_config.json"),
        (late.parent / ("a" * 300), "cannot be read: File name too long"),
        (late, "does not describe a LoRA adapter"),
    ):
        with pytest.raises(InvalidRequest, match=f"^adapter 'late': .* {sentence}$"):
            await cluster.greenroom.load_adapter(None, "late", str(path))
    assert await cluster.greenroom.adapters(None) == ()


async def test_an_actor_that_could_not_be_told_hears_of_it_when_it_reports(cluster: SmallCluster, late: Path) -> None:
    await cluster.greenroom.load_adapter(None, "late", str(late))
    cluster.models[1]._died.set()  # for its callers: it goes on, and reports
    await cluster.greenroom.unload_adapter(None, "late")
    async with asyncio.timeout(30):
        while having(cluster, "late") != [False, False]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_one_whose_files_have_changed_is_left_out_by_an_actor_that_starts(
    cluster: SmallCluster, late: Path
) -> None:
    await cluster.greenroom.load_adapter(None, "late", str(late))
    write_adapter(late, b"others")
    cluster.kill_model(0)
    await cluster.start_model(0)
    assert having(cluster, "late") == [False, True]
    with pytest.raises(NameTaken, match="another adapter is loaded as 'late': unload it first"):
        await cluster.greenroom.load_adapter(None, "late", str(late))


async def test_those_of_the_configuration_are_not_unloaded(cluster: SmallCluster, late: Path, tmp_path: Path) -> None:
    settings = cluster.settings
    configured = replace(settings.models[0], adapters={"late": str(late)})
    await cluster.directory.configure(replace(settings, models=(configured,)))
    for model in cluster.models:
        await model.target.reconfigure(configured)
    assert having(cluster, "late") == [True, True]
    assert await cluster.greenroom.adapters(None) == (AdapterInfo("late", str(late), True, 2),)
    with pytest.raises(InvalidRequest, match="adapter 'late' is of the configuration"):
        await cluster.greenroom.unload_adapter(None, "late")
    with pytest.raises(NameTaken, match="the configuration has an adapter 'late'"):
        await cluster.greenroom.load_adapter(None, "late", str(write_adapter(tmp_path / "other")))
    assert having(cluster, "late") == [True, True]


async def test_other_settings_bring_and_take_adapters_or_leave_all_as_it_is(late: Path, tmp_path: Path) -> None:
    engine = FakeEngine(adapters=("old", "stays"))
    old, stays = (str(write_adapter(tmp_path / name)) for name in ("old", "stays"))
    adapters = ModelAdapters(engine, {"old": old, "stays": stays})
    with pytest.raises(InvalidRequest, match="adapter 'missing'"):
        await adapters.configure({"stays": stays, "late": str(late), "missing": str(tmp_path)})
    assert set(engine.info.adapters) == {"old", "stays"}
    await adapters.configure({"stays": stays, "late": str(late)})
    assert set(engine.info.adapters) == {"stays", "late"}


async def test_an_earlier_revision_changes_nothing(late: Path) -> None:
    engine = FakeEngine()
    adapters = ModelAdapters(engine, {})
    loaded = LoadedAdapters(5, (LoadedAdapter("late", str(late)),))
    assert await adapters.take(loaded) == {}
    for revision in (4, 5):
        assert await adapters.take(LoadedAdapters(revision)) == {}
    assert engine.info.adapters == ("late",)
