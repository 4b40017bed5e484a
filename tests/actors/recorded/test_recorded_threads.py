"""Threads that earlier releases began go on as they would have gone on then, and once more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.actors.recorded.threads import FILE, go_on, threads_on

FOLDERS = sorted(Path(__file__).parent.glob("threads_*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
async def test_threads_of_an_earlier_release_go_on(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / FILE, tmp_path)
    expected = json.loads((folder / "expected.json").read_text())
    async with threads_on(tmp_path) as (cluster, caller):
        for name, (thread_id, run_id, result) in expected.items():
            assert await go_on(cluster, caller, thread_id, run_id) == result, name
            cluster.kill_inferlet(thread_id)
            again = await go_on(cluster, caller, thread_id, run_id)
            assert again["states"][run_id] == result["states"][run_id]
            opening, *earlier, said, asked = again["read"]
            assert (opening, said, asked) == (["system", "Help."], ["assistant", "last"], ["user", "say last"])
            assert earlier == result["read"][-len(earlier) :], "the oldest have left"


def test_every_version_has_its_threads() -> None:
    assert [folder.name for folder in FOLDERS] == ["threads_0"]
