"""Conversations that an earlier release wrote are as they were then, and go on as they would have gone on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.actors.recorded.conversations import shown
from tests.actors.recorded.record import cluster_on

FOLDER = Path(__file__).parent / "conversations_before_turns_had_edits"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
async def test_a_conversation_of_an_earlier_release_is_as_it_was_and_goes_on(name: str, tmp_path: Path) -> None:
    shutil.copy(FOLDER / "journal.db", tmp_path)
    conversation, responses, expected = EXPECTED[name]
    async with cluster_on(tmp_path) as cluster:
        assert await shown(cluster, conversation, responses) == expected
