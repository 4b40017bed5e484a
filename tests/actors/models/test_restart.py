"""A model actor that Ray starts again, with the arguments of its first start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.actors.small_cluster import SmallCluster


async def test_it_runs_with_the_settings_that_it_had_last(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path, pool_size=1) as cluster:
        settings = replace(cluster.settings.models[0], orphan_timeout_s=7, aliases=("another",))
        await cluster.models[0].target.reconfigure(settings)
        before = await cluster.directory.reports()
        cluster.kill_model()
        await cluster.start_model(0)
        after = await cluster.directory.reports()
        assert [report.settings for report in after] == [settings]
        assert after[0].incarnation != before[0].incarnation
