"""Journals that earlier releases wrote open, and what is in them goes on as it would have gone on then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.actors.recorded.record import FILES, cluster_on, finish, go_on

FOLDERS = sorted(Path(__file__).parent.glob("format_*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
async def test_suspended_inferlets_and_sessions_of_an_earlier_release_go_on(folder: Path, tmp_path: Path) -> None:
    for file in FILES:
        shutil.copy(folder / file, tmp_path)
    expected = json.loads((folder / "expected.json").read_text())
    async with cluster_on(tmp_path) as cluster:
        for name, (instance_id, result) in expected["inferlets"].items():
            assert await finish(cluster, instance_id) == result, name
        for name, (session_id, result) in expected["sessions"].items():
            assert await go_on(cluster, session_id) == result, name


def test_every_format_has_its_journals() -> None:
    assert [folder.name for folder in FOLDERS] == ["format_0"]
