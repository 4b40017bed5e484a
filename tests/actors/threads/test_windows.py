"""Threads whose model cannot read all that was said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.actors.threads.caller import calling, text_of
from tests.actors.threads.scripted import ScriptedEngine
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_promises import called


@dataclass
class NarrowEngine(ScriptedEngine):
    """Reads and says little."""

    max_context: int = 1200


async def test_a_prompt_that_the_model_cannot_read_makes_it_forget_nothing(tmp_path: Path) -> None:
    async with scripted_cluster(tmp_path, NarrowEngine) as small, calling(small) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        await caller.prompt("say two", thread_id)
        for is_killed in (False, True):
            failed = (await caller.prompt("say " + "x" * 1300, thread_id))["run"]
            assert (failed["state"], failed["error"]["code"]) == ("failed", "length_exceeded")
            if is_killed:
                small.kill_inferlet(thread_id)
            listed = text_of((await caller.prompt("list", thread_id, limits={"max_tokens": 100}))["blocks"][-1])
            assert listed.startswith("system: Help. | user: say one | assistant: one | user: say two | assistant: two")
        unread = await caller.prompt(called("repeated", text="y", times=2000), thread_id)
        assert unread["run"]["error"]["code"] == "length_exceeded"
        listed = text_of((await caller.prompt("list", thread_id, limits={"max_tokens": 100}))["blocks"][-1])
        assert listed.startswith("system: Help. | user: say one")


async def test_the_oldest_turns_leave_for_an_answer_that_would_not_fit(tmp_path: Path) -> None:
    async with scripted_cluster(tmp_path, NarrowEngine) as small, calling(small) as caller:
        thread_id = (await caller.prompt("say " + "a" * 300))["thread_id"]
        for letter in "bcd":
            answer = await caller.prompt("say " + letter * 300, thread_id)
            assert answer["run"]["state"] == "succeeded"
            assert text_of(answer["blocks"][-1]) == letter * 300
        statuses = await caller.blocks(thread_id, "kinds=status")
        assert [text_of(block) for block in statuses if block["name"] == "window"]
