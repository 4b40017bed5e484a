"""What the journal keeps of a thread: little more than what was said, whatever is said."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.inferlets.records import Checkpointed, Delivered, Launched, Logged, Record, Returned, decode
from api.inferlet.context_effects import Generated
from api.inferlet_events import Completed
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD
from tests.actors.threads.caller import calling, text_of
from tests.actors.threads.scripted import Script, ScriptedEngine, obedient
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_promises import called

MAX_JOURNAL_BYTES = 1 << 20
PROMPT = "say ok" + "x" * 4_000


@dataclass
class RoomyEngine(ScriptedEngine):
    """Reads more than a journal may have."""

    max_context: int = 10 * MAX_JOURNAL_BYTES
    script: Script = field(default=lambda messages: obedient(messages)[:3])


async def test_the_pieces_of_an_answer_do_not_repeat_its_prompt(small: SmallCluster) -> None:
    engine = small.engines[0]
    assert isinstance(engine, ScriptedEngine)
    engine.script = lambda messages: "y" * 100
    async with calling(small) as caller:
        answer = await caller.prompt("x" * 6000)
        assert text_of(answer["blocks"][-1]) == "y" * 100
        assert (await caller.prompt("more", answer["thread_id"]))["run"]["usage"]["cached_tokens"] > 6000
    lines = await small.inferlets.recorded(answer["thread_id"])
    assert sum(map(len, lines)) < 200_000


async def test_the_pieces_that_a_program_reads_do_not_repeat_its_prompt(small: SmallCluster) -> None:
    program = await launched(
        small,
        """
        @inferlet
        async def main(args: Args) -> object:
            context = get_auto_model().create_context()
            context.fill_user("say yyy" + "y" * 2000)
            pieces = [piece async for piece in context.generate(stop=max_len(50))]
            before = context.length
            context.fill_user("say more")
            await context.generate(stop=max_len(50))
            return ["".join(pieces), before]
        """,
    )
    end = (await all_events(program))[-1]
    assert isinstance(end, Completed)
    assert end.value == ["y" * 50, len("\1user\nsay yyy\2\1assistant\n") + 2000 + 50]
    decoded = [decode(line) for line in await small.inferlets.recorded(program.instance_id)]
    pieces = [one.result for one in decoded if isinstance(one, Returned) and isinstance(one.result, Generated)]
    assert sum(len(piece.prompt_ids) > 0 for piece in pieces) == 2, "one of each turn"


async def test_a_thread_is_told_more_than_a_journal_may_have(tmp_path: Path) -> None:
    """By prompts that always wait for each other, and by others that come to a thread at rest."""
    small = scripted_cluster(tmp_path, RoomyEngine, max_journal_bytes=MAX_JOURNAL_BYTES)
    async with small as cluster, calling(cluster) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        begun: deque[str] = deque()
        for _ in range(15):
            begun.append((await caller.begin(PROMPT, thread_id))["run_id"])
            if len(begun) > 3:
                assert (await caller.wait(begun.popleft()))["state"] == "succeeded"
        for run_id in begun:
            assert (await caller.wait(run_id))["state"] == "succeeded"
        for _ in range(15):
            assert (await caller.prompt(PROMPT, thread_id))["run"]["state"] == "succeeded"
            body = {"prompt": PROMPT, "tool_choice": "no such tool", "context_id": thread_id}
            await caller.ask("POST", "/api/agents/helper/prompt", body, 400)
        cluster.kill_inferlet(thread_id)
        await caller.prompt("say done", thread_id)
        engine = cluster.engines[0]
        assert isinstance(engine, RoomyEngine)
        said = [("user", PROMPT), ("assistant", "okx")]
        first = [("system", "Help."), ("user", "say one"), ("assistant", "one")]
        assert engine.read[-1] == [*first, *said * 30, ("user", "say done")]


@pytest.mark.parametrize(
    ("num_parts", "times", "sentence"), [(3, 1600, "as much as can be recorded"), (1, 4000, "more than 1 MiB")]
)
async def test_a_run_that_fills_the_journal_ends_and_its_thread_goes_on(
    tmp_path: Path, num_parts: int, times: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a third of it, or with the whole, as one does that is faster than it can be ended."""
    monkeypatch.setattr("actors.inferlets.journal_use.JOURNAL_PARTS", num_parts)
    async with scripted_cluster(tmp_path, max_journal_bytes=MAX_JOURNAL_BYTES) as small, calling(small) as caller:
        thread_id = (await caller.prompt("say one", agent="unlimited"))["thread_id"]
        calls = [called("repeated", text="x" * 50, times=times)] * 5
        run = (await caller.prompt("\n".join([*calls, called("hold", name="a")]), thread_id, agent="unlimited"))["run"]
        assert (run["state"], run["reason"]) == ("failed", "budget")
        assert sentence in run["error"]["message"]
        assert text_of((await caller.prompt("say on", thread_id, agent="unlimited"))["blocks"][-1]) == "on"


async def test_prompts_that_wait_are_what_they_were_after_a_checkpoint_and_a_death(small: SmallCluster) -> None:
    async with calling(small) as caller:
        held = await caller.begin(called("hold", name="a"))
        thread_id = held["thread_id"]
        await caller.until(held, "block.created", kind="status", name=None)
        asked = await caller.begin(called("pay", amount=20), thread_id, labels={"a": "b"})
        cut = await caller.begin("say cut", thread_id, limits={"max_tokens": 1}, metadata={"c": 1})
        dropped = await caller.begin("say dropped", thread_id)
        await caller.ask("POST", f"/api/runs/{dropped['run_id']}/cancel", {}, 202)
        HELD["a"].set()
        ask = (await caller.until(asked, "block.created", kind="ask")).data["block"]["id"]
        small.kill_inferlet(thread_id)
        await caller.answer(asked["run_id"], ask_id=ask, approve=True)
        assert (await caller.wait(asked["run_id"]))["labels"] == {"a": "b"}
        small.kill_inferlet(thread_id)
        run = await caller.wait(cut["run_id"])
        assert (run["reason"], run["prompt"], run["metadata"]) == ("budget", "say cut", {"c": 1})
        last = await caller.prompt("list", thread_id)
        assert text_of(last["blocks"][-1]).endswith(
            "assistant: told paid 20 | user: say cut | assistant: c | user: list"
        )


async def test_metadata_and_what_else_was_asked_of_a_run_are_logged_once_and_known_with_every_state(
    small: SmallCluster,
) -> None:
    metadata = {"of": ["mine"]}
    async with calling(small) as caller:
        held = await caller.begin(called("hold", name="a"))
        thread_id = held["thread_id"]
        await caller.until(held, "block.created", kind="status", name=None)
        begun = await caller.begin("say it", thread_id, limits={"max_tokens": 1}, metadata=metadata)
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/steer", {"prompt": "and more"}, 202)
        small.kill_inferlet(thread_id)
        run = await caller.wait(begun["run_id"])
        assert (run["reason"], run["prompt"], run["metadata"]) == ("budget", "say it\n\nand more", metadata)
        told = [event.data["run"]["metadata"] for event in await caller.events(begun) if "run" in event.data]
        assert told == [metadata] * 4
        logged = logged_of([decode(line) for line in await small.inferlets.recorded(thread_id)], begun["run_id"])
        assert [value["run"]["metadata"] for value in logged] == [metadata, {}, {}, {}]
        assert [value["run"]["prompt"] for value in logged] == ["say it", "say it\n\nand more", "", ""]
        assert [bool(value.get("asked")) for value in logged] == [True, False, False, False]
        last = (await caller.blocks(thread_id))[-1]["id"]
        fork = (await caller.ask("POST", f"/api/threads/{thread_id}/fork", {"after": last}, 201))["thread"]["id"]
        forked = (await caller.ask("GET", f"/api/runs/{begun['run_id'].replace(thread_id, fork)}"))["run"]
        assert (forked["prompt"], forked["metadata"]) == (run["prompt"], metadata)


def logged_of(records: Sequence[Record], run_id: str) -> list[Any]:
    """What was logged of a run."""
    values: list[Any] = [record.value for record in records if isinstance(record, Logged)]
    return [value for value in values if value["log"] == "run" and value["run"]["id"] == run_id]


@pytest.mark.parametrize("dies", [False, True])
async def test_what_a_run_has_repeated_its_calls_for_is_removed_when_the_thread_takes_note_of_it(
    small: SmallCluster, dies: bool
) -> None:
    thread_id = None
    async with calling(small) as caller:
        for number in range(4):
            answer = await caller.prompt(f"say {number}", thread_id)
            assert text_of(answer["blocks"][-1]) == f"{number}"
            thread_id = answer["thread_id"]
            if dies:
                small.kill_inferlet(thread_id)
    found = [decode(line) for line in await small.inferlets.recorded(thread_id or "")]
    last = max(number for number, record in enumerate(found) if isinstance(record, Checkpointed))
    assert {type(record) for record in found[:last]} == {Launched, Delivered, Logged, Checkpointed}
    logged: list[Any] = [record.value for record in found if isinstance(record, Logged)]
    assert [one["position"] for one in logged if one["log"] == "outcome"] == [*range(4)]
