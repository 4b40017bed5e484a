"""Runs of one thread and of many: cancelled, queued, steered, limited, and told apart."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from api.errors import TooBusy
from api.settings import ApiKey, ApiSettings
from api.threads.commands import Prompt, sent
from api.tools import Tool
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller, Json, calling, check, text_of
from tests.actors.threads.scripted import ScriptedEngine, obedient
from tests.actors.threads.test_promises import ADD, called


async def cancelled(caller: Caller, run_id: str, mode: str = "keep") -> Json:
    """The run, which is cancelled twice."""
    for _ in range(2):
        await caller.ask("POST", f"/api/runs/{run_id}/cancel", {"mode": mode}, 202)
    run: Json = await caller.wait(run_id)
    assert (run["state"], run["reason"]) == ("cancelled", "rollback" if mode == "rollback" else "user")
    return run


async def test_a_run_is_cancelled_in_a_tool_while_queued_and_right_after_its_prompt(small: SmallCluster) -> None:
    async with calling(small) as caller:
        busy = await caller.begin(called("hold", name="a"))
        thread_id = busy["thread_id"]
        await caller.until(busy, "block.created", kind="status", role="system", name=None)
        queued = await caller.begin("say queued", thread_id)
        assert queued["task"]["state"] == "queued"
        await cancelled(caller, queued["run_id"])
        assert check(await caller.events(queued), queued["run_id"]) == {}
        await cancelled(caller, busy["run_id"])
        final = check(await caller.events(busy), busy["run_id"])
        assert {block["state"] for block in final.values()} == {"complete"}
        at_once = await caller.begin("say " + "long " * 1000, thread_id)
        await cancelled(caller, at_once["run_id"])
        check(await caller.events(at_once), at_once["run_id"])
        assert text_of((await caller.prompt("say on", thread_id))["blocks"][0]) == "on"


async def test_a_model_that_speaks_stops_within_a_step_and_what_it_said_is_kept(small: SmallCluster) -> None:
    engine = small.engines[0]
    assert isinstance(engine, ScriptedEngine)
    endless = "long " * 800
    engine.script = lambda messages: endless if messages[-1] == ("user", "go on") else obedient(messages)
    async with calling(small) as caller:
        begun = await caller.begin("go on")
        async for event in caller.stream(begun["stream_url"]):
            if event.name == "block.delta":
                break
        await cancelled(caller, begun["run_id"])
        final = check(await caller.events(begun), begun["run_id"])
        [said] = [block for block in final.values() if (block["kind"], block["role"]) == ("message", "assistant")]
        text = text_of(said)
        assert said["state"] == "cancelled"
        assert text
        assert endless.startswith(text)
        assert len(text) < len(endless)
        listed = text_of((await caller.prompt("list", begun["thread_id"]))["blocks"][0])
        assert listed == f"system: Help. | user: go on | assistant: {text} | user: list"


async def test_answers_that_are_cancelled_anywhere_are_read_to_their_ends(small: SmallCluster) -> None:
    engine = small.engines[0]
    assert isinstance(engine, ScriptedEngine)
    engine.script = lambda messages: "long " * 800 if messages[-1] == ("user", "go on") else obedient(messages)
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, found: unhandled.append(found))
    async with calling(small) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        for number in range(10):
            begun = await caller.begin("go on", thread_id)
            async for event in caller.stream(begun["stream_url"]):
                if event.name == "block.delta" and event.data["offset"] >= number:
                    break
            await cancelled(caller, begun["run_id"])
            assert text_of((await caller.prompt("say on", thread_id))["blocks"][0]) == "on"
    gc.collect()
    assert unhandled == []


async def test_cancel_of_an_ended_run_changes_nothing(small: SmallCluster) -> None:
    async with calling(small) as caller:
        run = (await caller.prompt("say done"))["run"]
        again = (await caller.ask("POST", f"/api/runs/{run['id']}/cancel", {"mode": "rollback"}, 202))["run"]
        assert again == run == (await caller.ask("GET", f"/api/tasks/{run['id']}"))["run"]


async def test_a_run_that_is_rolled_back_leaves_the_transcript_and_what_the_model_knows(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await caller.prompt("say one")
        thread_id = first["thread_id"]
        busy = await caller.begin(f"{ADD}\n{called('hold', name='b')}", thread_id)
        await caller.until(busy, "block.created", kind="status", role="system", name=None)
        await cancelled(caller, busy["run_id"], "rollback")
        listed = await caller.prompt("list", thread_id)
        expected = "system: Help. | user: say one | assistant: one | user: list"
        assert text_of(listed["blocks"][0]) == expected
        texts = [text_of(block) for block in await caller.blocks(thread_id)]
        assert texts == ["say one", "one", "list", expected]
        rolled_back = await caller.blocks(thread_id, f"run_id={busy['run_id']}&kinds=message,tool_call")
        assert len(rolled_back) == 3
        assert all(block["rolled_back"] for block in rolled_back)


async def test_a_busy_thread_queues_refuses_interrupts_or_is_steered_as_the_prompt_says(small: SmallCluster) -> None:
    async with calling(small) as caller:
        busy = await caller.begin(called("hold", name="c"))
        thread_id = busy["thread_id"]
        await caller.until(busy, "block.created", kind="status", role="system", name=None)
        body = {"prompt": "say no", "context_id": thread_id, "if_busy": "reject"}
        refused = await caller.ask("POST", "/api/agents/helper/prompt", body, 409)
        assert refused["error"]["code"] == "thread_busy"
        assert busy["run_id"] in refused["error"]["message"]
        steered = await caller.begin("say steered", thread_id, if_busy="steer")
        assert steered["run_id"] == busy["run_id"]
        queued = [await caller.begin(f"say queued {number}", thread_id) for number in range(2)]
        HELD["c"].set()
        for one in queued:
            await caller.wait(one["run_id"])
        texts = [text_of(block) for block in await caller.blocks(thread_id)]
        assert texts[1:] == ["say steered", "steered", "say queued 0", "queued 0", "say queued 1", "queued 1"]
        ended = await caller.ask("POST", f"/api/runs/{busy['run_id']}/steer", {"prompt": "say more"}, 409)
        assert ended["error"]["code"] == "run_ended"

        held = await caller.begin(called("hold", name="d"), thread_id)
        await caller.until(held, "block.created", kind="status", role="system", name=None)
        waiting = await caller.begin("say never", thread_id)
        answer = await caller.prompt("say instead", thread_id, if_busy="interrupt")
        assert text_of(answer["blocks"][0]) == "instead"
        for one in (held, waiting):
            run = await caller.wait(one["run_id"])
            assert (run["state"], run["reason"]) == ("cancelled", "interrupted")


@pytest.mark.parametrize(
    "more",
    [
        {"history": (("user", "x" * 1200),)},
        {"tools": (Tool("other", "x" * 1200),)},
        {"metadata": {"its": ["x" * 1200]}},
        {"labels": {f"label{number}": "x" * 200 for number in range(6)}},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_all_that_waits_with_its_run_is_counted(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.setattr("api.agents.program.MAX_QUEUED_CHARS", 2000)
    thread = await small.greenroom.agents.open("helper", "c", "")
    held = (await thread.prompt(Prompt(called("hold", name="waits")))).run
    waiting = (await thread.prompt(replace(Prompt("say a"), **more))).run
    with pytest.raises(TooBusy):
        await thread.prompt(replace(Prompt("say b"), **more))
    with pytest.raises(TooBusy):
        await thread.steer(waiting.id, "x" * 1200)
    last = (await thread.prompt(Prompt("say c"))).run
    await thread.steer(held.id, "x" * 1200)
    HELD["waits"].set()
    assert [(await thread.wait(run.id, 60)).state for run in (held, waiting, last)] == ["succeeded"] * 3


async def test_what_waits_counts_the_same_after_a_death(small: SmallCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, border = Prompt("say x", "queue"), Prompt("say y", "queue")
    most = sum(len(json.dumps(sent(prompt), ensure_ascii=False)) for prompt in (waiting, border)) - 1
    monkeypatch.setattr("api.agents.program.MAX_QUEUED_CHARS", most)
    thread = await small.greenroom.agents.open("helper", "c", "")
    runs = [(await thread.prompt(Prompt(called("hold_safely", name="a")))).run]
    await until(lambda: "hold a" in RECORDED)
    monkeypatch.setattr("api.agents.program.MAX_QUEUED_CHARS", 10 * most)
    runs += [(await thread.prompt(prompt)).run for prompt in (Prompt(called("hold_safely", name="b")), waiting)]
    monkeypatch.setattr("api.agents.program.MAX_QUEUED_CHARS", most)
    HELD["a"].set()
    await until(lambda: "hold b" in RECORDED)
    with suppress(TooBusy):
        runs.append((await thread.prompt(border)).run)
    small.kill_inferlet(thread.thread_id)
    HELD["b"].set()
    assert [(await thread.wait(run.id, 60)).state for run in runs] == ["succeeded"] * len(runs)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_prompt_for_a_run_of_its_own_joins_none(small: SmallCluster) -> None:
    async with calling(small) as caller:
        busy = await caller.begin(called("hold", name="c"), agent="steered")
        thread_id = busy["thread_id"]
        await caller.until(busy, "block.created", kind="status", role="system", name=None)
        for own in ({"limits": {"max_tokens": 3}}, {"tool_choice": "none"}, {"metadata": {"a": 1}}):
            body = {"prompt": "say no", "context_id": thread_id, "if_busy": "steer", **own}
            refused = await caller.ask("POST", "/api/agents/steered/prompt", body, 409)
            assert refused["error"]["code"] == "thread_busy"
            assert next(iter(own)) in refused["error"]["message"]
        cut = await caller.begin("say own", thread_id, "steered", limits={"max_tokens": 3})
        assert cut["run_id"] != busy["run_id"]
        joined = await caller.begin("say joined", thread_id, "steered", labels={"a": "b"})
        assert joined["run_id"] == busy["run_id"]
        HELD["c"].set()
        assert (await caller.wait(cut["run_id"]))["reason"] == "budget"
        texts = [text_of(block) for block in await caller.blocks(thread_id)]
        assert texts[1:] == ["say joined", "joined", "say own", "own"]


async def test_what_a_run_was_steered_with_is_said_at_once_and_known_however_the_run_ends(small: SmallCluster) -> None:
    async with calling(small) as caller:
        busy = await caller.begin(called("hold", name="c"))
        thread_id = busy["thread_id"]
        await caller.until(busy, "block.created", kind="status", role="system", name=None)
        await caller.ask("POST", f"/api/runs/{busy['run_id']}/steer", {"prompt": "say steered"}, 202)
        queued = await caller.begin("say queued", thread_id)
        await caller.ask("POST", f"/api/runs/{queued['run_id']}/steer", {"prompt": "and more"}, 202)
        texts = [text_of(block) for block in await caller.blocks(thread_id)]
        assert texts == [called("hold", name="c"), "say steered"]
        assert (await caller.ask("GET", f"/api/runs/{queued['run_id']}"))["run"]["prompt"] == "say queued\n\nand more"
        for text in ("x" * 1_000_000, "y" * 100_000):
            steer = caller.http.post(f"/api/runs/{queued['run_id']}/steer", json={"prompt": text})
            assert (await steer).status_code == (202 if text[0] == "x" else 429)
        await cancelled(caller, queued["run_id"])
        await cancelled(caller, busy["run_id"])
        listed = text_of((await caller.prompt("list", thread_id))["blocks"][0])
        assert "user: say steered" in listed


async def test_a_request_that_is_repeated_with_its_key_begins_one_run(small: SmallCluster) -> None:
    async with calling(small) as caller, calling(small) as other:
        begun = await asyncio.gather(*(one.begin("say once", key="k") for one in (caller, other) * 4))
        assert len({one["run_id"] for one in begun}) == 1
        assert len({one["thread_id"] for one in begun}) == 1
        headers = {"Idempotency-Key": "k"}
        path = "/api/agents/helper/async_prompt"
        conflict = await caller.ask("POST", path, {"prompt": "say twice"}, 409, headers=headers)
        assert conflict["error"]["code"] == "idempotency_conflict"
        await caller.wait(begun[0]["run_id"])
        assert len(await caller.blocks(begun[0]["thread_id"])) == 2


async def test_thirty_first_prompts_with_one_name_make_one_thread(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await asyncio.gather(*(caller.begin(f"say {number}", "one name") for number in range(30)))
        assert len({one["thread_id"] for one in begun}) == 1
        await asyncio.gather(*(caller.wait(one["run_id"]) for one in begun))
        texts = [text_of(block) for block in await caller.blocks(begun[0]["thread_id"])]
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
        assert sorted(pairs) == sorted((f"say {number}", str(number)) for number in range(30))
        [thread] = (await caller.ask("GET", "/api/threads?agent=helper"))["threads"]
        assert (thread["id"], thread["context_id"]) == (begun[0]["thread_id"], "one name")


async def test_keys_name_a_thread_in_any_order(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await caller.prompt("say 1", context_keys={"user": "ada", "room": 3})
        again = await caller.prompt("say 2", context_keys={"room": 3, "user": "ada"})
        other = await caller.prompt("say 3", context_keys={"room": "3", "user": "ada"})
        nameless = [await caller.prompt("say 4") for _ in range(2)]
        by_id = await caller.prompt("say 5", nameless[0]["context_id"])
        assert first["thread_id"] == again["thread_id"] != other["thread_id"]
        assert nameless[0]["thread_id"] != nameless[1]["thread_id"]
        assert by_id["thread_id"] == nameless[0]["thread_id"]


async def test_many_runs_of_many_threads_never_mix(small: SmallCluster) -> None:
    async with calling(small) as caller:

        async def talk(name: str) -> list[str]:
            runs = [await caller.begin(f"say {name} {number}", name, agent="plain") for number in range(4)]
            for run in runs:
                assert (await caller.wait(run["run_id"]))["state"] == "succeeded"
            return [text_of(block) for block in await caller.blocks(runs[0]["thread_id"])]

        names = [f"thread-{number}" for number in range(50)]
        for name, texts in zip(names, await asyncio.gather(*map(talk, names)), strict=True):
            assert texts == [text for number in range(4) for text in (f"say {name} {number}", f"{name} {number}")]


async def test_a_run_that_reaches_a_limit_fails_and_the_next_one_works(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin("\n".join([ADD] * 3), agent="limited")
        final = check(await caller.events(begun), begun["run_id"])
        run = await caller.wait(begun["run_id"])
        assert (run["state"], run["reason"]) == ("failed", "budget")
        results = [block for block in final.values() if block["kind"] == "tool_result"]
        errors = {block["call_id"]: (block["error"] or {}).get("code") for block in results}
        assert [errors[call_id] for call_id in sorted(errors)] == [None, None, "not_executed"]
        assert RECORDED == ["add 1 2"] * 2
        thread_id = begun["thread_id"]
        twice = await caller.prompt("\n".join([called("once")] * 2), thread_id, agent="limited")
        assert (twice["run"]["reason"], RECORDED.count("once")) == ("budget", 1)
        long = await caller.prompt("say " + "x" * 1000, thread_id, agent="limited")
        assert (long["run"]["reason"], len(text_of(long["blocks"][0]))) == ("budget", 400)
        lower = await caller.prompt("say 12345", thread_id, agent="limited", limits={"max_tokens": 3})
        assert (lower["run"]["reason"], text_of(lower["blocks"][0])) == ("budget", "123")
        assert text_of((await caller.prompt("say on", thread_id, agent="limited"))["blocks"][0]) == "on"


async def test_the_time_of_a_run_ends_it(small: SmallCluster) -> None:
    async with calling(small) as caller:
        late = await caller.begin(called("hold", name="e"), limits={"timeout_s": 0.3})
        check(await caller.events(late), late["run_id"])
        run = await caller.wait(late["run_id"])
        assert (run["state"], run["reason"]) == ("failed", "timeout")


async def test_the_model_is_told_what_a_tool_raised_and_that_one_took_too_long(small: SmallCluster) -> None:
    async with calling(small) as caller:
        answer = await caller.prompt(f"{called('fail', why='no luck')}\n{called('slow')}\n{called('add', a='x')}")
        told = text_of(answer["blocks"][-1])
        assert told.startswith("told Error: ValueError: no luck, Error: slow took longer than 0.05 s, Error: a: ")


async def test_the_model_is_told_that_a_tool_is_not_there_and_goes_on(small: SmallCluster) -> None:
    async with calling(small) as caller:
        answer = await caller.prompt(f"{called('nothing')}\n{ADD}")
        assert (answer["run"]["state"], text_of(answer["blocks"][-1])) == (
            "succeeded",
            "told Error: there is no tool 'nothing', 3",
        )
        results = await caller.blocks(answer["thread_id"], "kinds=tool_result")
        assert [(block["name"], block["error"] and block["error"]["code"]) for block in results] == [
            ("nothing", "unknown_tool"),
            ("add", None),
        ]
        limited = await caller.prompt("\n".join([called("nothing")] * 3), agent="limited")
        assert (limited["run"]["reason"], limited["run"]["error"]["code"]) == ("budget", "max_actions")


async def test_several_values_of_a_call_are_parts_and_files_are_read_as_what_they_are_and_nothing_else(
    small: SmallCluster,
) -> None:
    async with calling(small) as caller:
        answer = await caller.prompt(called("several", number=3))
        [result] = await caller.blocks(answer["thread_id"], "kinds=tool_result")
        assert [part["type"] for part in result["parts"]] == ["text", "json", "file"]
        assert result["parts"][1]["json"] == {"number": 3}
        raw = await caller.http.get(result["parts"][2]["url"])
        assert (raw.content, raw.headers["content-type"]) == (b"\x00\xff", "image/x-test")
        assert raw.headers["content-disposition"] == "attachment"


async def test_the_bytes_of_a_block_that_is_open_are_what_they_are_when_it_is_complete(small: SmallCluster) -> None:
    expected = [
        (200, b"\x00\xff", "image/x-test"),
        (200, "é".encode(), "text/plain; charset=utf-8"),
        (200, b'{"more": 1}', "application/json"),
        (400, None, "application/json"),
    ]
    async with calling(small) as caller:
        begun = await caller.begin(called("draw", name="f"))
        created = await caller.until(begun, "block.created", kind="tool_result")
        raw = f"/api/blocks/{created.data['block']['id']}/raw?part="

        async def read(part: int) -> tuple[int, bytes | None, str]:
            answer = await caller.http.get(f"{raw}{part}")
            return answer.status_code, answer.content if answer.is_success else None, answer.headers["content-type"]

        while_open = [asyncio.create_task(read(part)) for part in range(4)]
        async with caller.http.stream("GET", f"{raw}1") as growing:
            assert await anext(growing.aiter_raw()) == "é".encode(), "it comes while the block is open"
            HELD["f"].set()
        assert await asyncio.gather(*while_open) == expected
        await caller.wait(begun["run_id"])
        assert [await read(part) for part in range(4)] == expected


async def test_the_bytes_of_an_ask_are_its_question(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("pay", amount=20))
        await caller.wait(begun["run_id"])
        [ask] = await caller.blocks(begun["thread_id"], "kinds=ask")
        raw = await caller.http.get(f"/api/blocks/{ask['id']}/raw")
        assert (raw.text, raw.headers["content-type"]) == (text_of(ask), "text/plain; charset=utf-8")


async def test_statuses_can_be_turned_off(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(ADD, agent="quiet")
        final = check(await caller.events(begun), begun["run_id"])
        assert {block["kind"] for block in final.values()} == {"message", "tool_call", "tool_result"}


async def test_the_second_step_of_a_run_computes_its_new_tokens_only(small: SmallCluster) -> None:
    async with calling(small) as caller:
        run = (await caller.prompt(ADD, agent="quiet"))["run"]
        usage = run["usage"]
        read = small.engines[0].read  # type: ignore[attr-defined]
        assert (usage["model_calls"], usage["tool_calls"], len(read)) == (2, 1, 2)
        first = len(f"\1user\n{ADD}\2\1assistant\n")
        called_in = usage["completion_tokens"] - len("told 3\0")
        new = len("\1tool\n3\2\1assistant\n")
        assert usage["prompt_tokens"] == first + first + called_in + new
        assert usage["cached_tokens"] >= first + called_in - 1


async def test_a_thread_is_its_owners_and_is_gone_when_it_is_deleted(small: SmallCluster) -> None:
    keys = tuple(ApiKey.of(f"key-of-{owner}-{'x' * 20}", owner) for owner in ("ada", "bob"))
    settings = ApiSettings(api_keys=keys)
    ada_key, bob_key = (f"key-of-{owner}-{'x' * 20}" for owner in ("ada", "bob"))
    async with calling(small, settings, ada_key) as ada, calling(small, settings, bob_key) as bob:
        answer = await ada.prompt("say secret", "shared name")
        thread_id, run_id, block_id = answer["thread_id"], answer["run"]["id"], answer["blocks"][0]["id"]
        for path in (
            f"/api/threads/{thread_id}",
            f"/api/threads/{thread_id}/blocks",
            f"/api/threads/{thread_id}/stream",
            f"/api/runs/{run_id}",
            f"/api/runs/{run_id}/wait",
            f"/api/blocks/{block_id}",
            f"/api/blocks/{block_id}/raw",
        ):
            await bob.ask("GET", path, status=404)
        await bob.ask("POST", f"/api/runs/{run_id}/cancel", {}, 404)
        await bob.ask("DELETE", f"/api/threads/{thread_id}", status=404)
        assert (await bob.ask("GET", "/api/threads"))["threads"] == []
        assert (await bob.prompt("say other", "shared name"))["thread_id"] != thread_id

        await ada.ask("DELETE", f"/api/files/{thread_id}", status=204)
        gone = await ada.ask("GET", f"/api/threads/{thread_id}", status=410)
        assert gone["error"]["code"] == "thread_deleted"
        assert (await ada.ask("GET", f"/api/runs/{run_id}", status=404))["error"]["code"] == "run_not_found"
        assert (await ada.ask("GET", f"/api/blocks/{block_id}", status=404))["error"]["code"] == "block_not_found"
        anew = await ada.prompt("list", "shared name")
        assert anew["thread_id"] != thread_id
        assert text_of(anew["blocks"][0]) == "system: Help. | user: list"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "a", "context_id": "a", "context_keys": {"a": 1}}, "context"),
        ({"prompt": "a", "context_id": ""}, "context_id"),
        ({"prompt": "a", "if_busy": "explode"}, "if_busy"),
        ({"prompt": "a", "tool_choice": "nothing"}, "tool_choice"),
        ({"prompt": "a", "limits": {"max_tokens": 0}}, "limits"),
        ({"prompt": "a", "labels": {"a": 1}}, "labels"),
        ({"prompt": "a", "unknown": 1}, "unknown"),
    ],
)
async def test_a_prompt_that_is_none_is_refused(small: SmallCluster, body: Json, field: str) -> None:
    async with calling(small) as caller:
        answer = await caller.ask("POST", "/api/agents/helper/prompt", body, 400)
        assert answer["error"]["code"] == "invalid_request"
        assert field in answer["error"]["message"]


async def test_half_a_character_is_no_prompt(small: SmallCluster) -> None:
    async with calling(small) as caller:
        answer = await caller.http.post("/api/agents/helper/prompt", content=b'{"prompt": "\\ud800"}')
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


async def test_what_is_not_there_is_said_to_be_not_there(small: SmallCluster) -> None:
    async with calling(small) as caller:
        nothing = await caller.ask("POST", "/api/agents/nobody/prompt", {"prompt": "a"}, 404)
        assert nothing["error"]["code"] == "agent_not_found"
        for path, code in (
            ("threads/x", "thread_not_found"),
            ("runs/x", "run_not_found"),
            ("runs/x.r1", "run_not_found"),
            ("blocks/x.b1", "block_not_found"),
        ):
            assert (await caller.ask("GET", f"/api/{path}", status=404))["error"]["code"] == code
        thread_id = (await caller.prompt("say a"))["thread_id"]
        for path in ("blocks?kinds=nothing", "blocks?limit=0", "stream?after=x", "stream?deltas=maybe"):
            await caller.ask("GET", f"/api/threads/{thread_id}/{path}", status=400)
        await caller.ask("GET", f"/api/threads/{thread_id}/stream?run_id={thread_id}.r9", status=404)


SOURCE = """
from api.agents import Agent, tool

@tool
def shout(text: str) -> str:
    return text.upper()

loud = Agent(name="loud", tools=[shout])
soft = Agent(name="soft")
"""


async def test_agents_are_uploaded_and_are_their_owners(small: SmallCluster) -> None:
    async with calling(small) as caller:
        uploaded = await caller.ask("POST", "/api/agents", {"source": SOURCE, "file": "mine.py"}, 201)
        assert [agent["name"] for agent in uploaded["agents"]] == ["loud", "soft"]
        answer = await caller.prompt(called("shout", text="hey"), agent="loud")
        assert text_of(answer["blocks"][-1]) == "told HEY"
        listed = (await caller.ask("GET", "/api/agents"))["agents"]
        assert {"name": "loud", "source": "mine.py"} in listed
        assert {"name": "helper", "source": "tests.actors.threads.agents:helper"} in listed
        for source, status in (
            ("x = 1", 400),
            ("(", 400),
            ("Agent(name=f())", 400),
            ('Agent(name="helper")', 409),
        ):
            await caller.ask("POST", "/api/agents", {"source": source}, status)
        many = "".join(f'Agent(name="a{number}")\n' for number in range(65))
        refused = await caller.ask("POST", "/api/agents", {"source": many}, 400)
        assert "has 65 agents" in refused["error"]["message"]
        await caller.ask("DELETE", "/api/agents/loud", status=204)
        for name, code in (("loud", 404), ("helper", 409)):
            await caller.ask("DELETE", f"/api/agents/{name}", status=code)
        await caller.ask("POST", "/api/agents/loud/prompt", {"prompt": "a"}, 404)
        again = await caller.prompt(called("shout", text="on"), answer["thread_id"], agent="loud")
        assert text_of(again["blocks"][-1]) == "told ON"
        assert (await caller.ask("GET", "/api/agents"))["agents"][-1] == {"name": "soft", "source": "mine.py"}
