"""Threads that earlier releases began go on as they would have gone on then, and once more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.actors.recorded.threads import FILE, Engine, go_on, threads_on
from tests.actors.threads.caller import text_of

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


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
async def test_threads_of_an_earlier_release_are_forked_anywhere(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / FILE, tmp_path)
    expected = json.loads((folder / "expected.json").read_text())
    async with threads_on(tmp_path) as (cluster, caller):
        for thread_id, *_ in expected.values():
            blocks = [block for block in await caller.blocks(thread_id) if block["state"] != "open"]
            for block in (blocks[0], blocks[1], blocks[len(blocks) // 2], blocks[-1]):
                path = f"/api/threads/{thread_id}/fork"
                fork = (await caller.ask("POST", path, {"after": block["id"]}, 201))["thread"]["id"]
                before = [text_of(one) for one in await caller.blocks(fork)]
                assert before == [text_of(one) for one in blocks if one["seq"] <= block["seq"]]
                answer = await caller.prompt("say forked", fork, agent="recorded")
                assert text_of(answer["blocks"][-1]) == "forked"
                engine = cluster.engines[0]
                assert isinstance(engine, Engine)
                (_, opening), *earlier = engine.read[-1]
                assert opening == "Help."
                said = [text for role, text in earlier if role in ("user", "assistant") and text in before]
                assert said == [text for text in before if text in said], "the oldest may have left"


def test_every_version_has_its_threads() -> None:
    assert [folder.name for folder in FOLDERS] == ["threads_0"]
