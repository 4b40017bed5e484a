"""AG-UI over HTTP, judged by the protocol's own types and by ``ag-ui-validate``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx
from ag_ui.core import Event, EventType
from ag_ui_validate import create_validator
from pydantic import TypeAdapter

from api.settings import ApiKey, ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.test_promises import called

PATH = "/api/agents/helper/agui"
_event: TypeAdapter[Any] = TypeAdapter(Event)


def user(text: str, message_id: str = "u1") -> Json:
    return {"id": message_id, "role": "user", "content": text}


async def run(
    caller: Caller, *messages: Json, run_id: str = "r1", thread_id: str = "t", status: int = 200, **more: Any
) -> list[Json]:
    """The events of a run, which are right as far as they can be judged alone."""
    body = {"threadId": thread_id, "runId": run_id, "messages": messages, "tools": [], "context": [], **more}
    answer = await caller.http.post(PATH, json=body)
    assert answer.status_code == status, answer.text
    if status != 200:
        return [answer.json()["error"]]
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    for event in events:
        _event.validate_python(event)
    assert events[0]["type"] == "RUN_STARTED"
    assert {"threadId": thread_id, "runId": run_id}.items() <= events[0].items()
    return events


def findings(events: Sequence[Json], history: Sequence[Json] = ()) -> list[str]:
    """What the validator has to say; ``history`` is what the client knows from earlier runs."""
    validator = create_validator()
    first, *rest = events
    snapshot = [{"type": "MESSAGES_SNAPSHOT", "messages": history}] if history else []
    for event in (first, *snapshot, *rest):
        validator.feed(event)
    validator.finalize()
    report = validator.report()
    assert report.internal_errors == []
    return [f"{one.rule} {one.message}" for one in report.diagnostics]


async def recorded() -> None:
    """Until a tool has recorded something."""
    async with asyncio.timeout(20):
        while not RECORDED:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def types(events: Sequence[Json]) -> list[str]:
    return [event["type"] for event in events if not event["type"].startswith("STEP_")]


def text(events: Sequence[Json]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "TEXT_MESSAGE_CONTENT")


def merged(events: Sequence[Json]) -> list[Json]:
    """The events, with pieces that follow each other as one: how many come does not matter."""
    found: list[Json] = []
    for event in events:
        last = found[-1] if found else {}
        if "delta" in event and {**last, "delta": ""} == {**event, "delta": ""}:
            found[-1] = {**last, "delta": last["delta"] + event["delta"]}
        else:
            found.append(event)
    return found


def outcome(events: Sequence[Json]) -> Json:
    assert events[-1]["type"] == "RUN_FINISHED"
    found: Json = events[-1]["outcome"]
    return found


def results(events: Sequence[Json]) -> list[tuple[str, str]]:
    return [(event["toolCallId"], event["content"]) for event in events if event["type"] == "TOOL_CALL_RESULT"]


async def test_a_run_says_its_text_in_pieces_and_what_it_took(small: SmallCluster) -> None:
    async with calling(small) as caller:
        events = await run(caller, user("say é😀 hello"))
        assert types(events)[:2] == ["RUN_STARTED", "TEXT_MESSAGE_START"]
        assert types(events)[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
        assert text(events) == "é😀 hello"
        assert outcome(events) == {"type": "success"}
        [usage] = events[-1]["usage"]
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        assert thread["context_id"] == "t"
        [block] = [one for one in await caller.blocks(thread["id"]) if one["role"] == "assistant"]
        known = (await caller.ask("GET", f"/api/runs/{block['run_id']}"))["run"]["usage"]
        assert (usage["inputTokens"], usage["outputTokens"]) == (known["prompt_tokens"], known["completion_tokens"])
        assert findings(events) == []


async def test_two_calls_at_once_one_of_which_fails(small: SmallCluster) -> None:
    async with calling(small) as caller:
        events = await run(caller, user(f"{called('add', a=1, b=2)}\n{called('fail', why='no')}"))
        starts = [event for event in events if event["type"] == "TOOL_CALL_START"]
        assert [event["toolCallName"] for event in starts] == ["add", "fail"]
        ids = [event["toolCallId"] for event in starts]
        written = dict.fromkeys(ids, "")
        for event in events:
            if event["type"] == "TOOL_CALL_ARGS":
                written[event["toolCallId"]] += event["delta"]
        assert [json.loads(one) for one in written.values()] == [{"a": 1, "b": 2}, {"why": "no"}]
        assert sorted(results(events)) == sorted([(ids[0], "3"), (ids[1], "Error: ValueError: no")])
        assert findings(events) == []
        steps = [event["stepName"] for event in events if event["type"] == "STEP_STARTED"]
        assert {"Thinking", "Calling add", "Calling fail"} <= set(steps)


async def test_bytes_that_a_tool_returns_are_a_part_with_an_address(small: SmallCluster) -> None:
    async with calling(small) as caller:
        events = await run(caller, user(called("several", number=1)))
        [result] = [event for event in events if event["type"] == "TOOL_CALL_RESULT"]
        words, number, dot = result["content"]
        assert (words["text"], json.loads(number["text"])) == ("text", {"number": 1})
        assert dot["source"]["mimeType"] == "image/x-test"
        assert (await caller.http.get(dot["source"]["value"])).content == b"\x00\xff"


async def test_an_approval_interrupts_and_is_answered_in_the_next_run_which_is_the_same(small: SmallCluster) -> None:
    async with calling(small) as caller:
        asked = user(f"{called('pay', amount=20)}\n{called('pay', amount=30)}")
        first = await run(caller, asked)
        interrupts = outcome(first)["interrupts"]
        assert outcome(first)["type"] == "interrupt"
        assert [one["reason"] for one in interrupts] == ["tool_call", "tool_call"]
        ids = [event["toolCallId"] for event in first if event["type"] == "TOOL_CALL_START"]
        assert [one["toolCallId"] for one in interrupts] == ids
        assert findings(first) == []
        assert RECORDED == []

        resume = [{"interruptId": interrupts[1]["id"], "status": "resolved", "payload": {"approved": True}}]
        second = await run(caller, asked, run_id="r2", parentRunId="r1", resume=resume)
        assert second[0]["parentRunId"] == "r1"
        assert types(second) == ["RUN_STARTED", "TOOL_CALL_RESULT", "RUN_FINISHED"]
        assert results(second) == [(ids[1], "paid 30")]
        assert [one["id"] for one in outcome(second)["interrupts"]] == [interrupts[0]["id"]]
        again = await run(caller, asked, run_id="r2", parentRunId="r1", resume=resume)
        assert merged(again) == merged(second)

        denied = {"approved": False, "reason": "too much"}
        resume = [{"interruptId": interrupts[0]["id"], "status": "resolved", "payload": denied}]
        third = await run(caller, asked, run_id="r3", resume=resume)
        assert text(third) == "told Error: too much, paid 30"
        assert outcome(third) == {"type": "success"}
        assert RECORDED == ["pay 30"]
        [taken] = (await caller.ask("GET", "/api/threads"))["threads"]
        assert len(await caller.blocks(taken["id"], "roles=user")) == 1
        calls = [{"id": id, "type": "function", "function": {"name": "pay", "arguments": "{}"}} for id in ids]
        history = [asked, {"id": "a", "role": "assistant", "toolCalls": calls}]
        assert findings(third, history) == []
        reads = [events[-1]["usage"][0]["outputTokens"] for events in (first, second, third)]
        assert reads[1] == 0
        assert reads[2] == len("told Error: too much, paid 30") + 1

        changed = [{"interruptId": interrupts[0]["id"], "status": "resolved", "payload": {"approved": True}}]
        assert (await run(caller, run_id="r4", resume=changed, status=409))[0]["code"] == "already_answered"
        whole = await run(caller, asked, run_id="r1")
        assert merged(whole) == merged(first), "the name of a run that is there shows it, and begins nothing"


async def test_a_question_is_answered_by_its_value_or_not_at_all(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await run(caller, user(called("order")))
        [dish] = outcome(first)["interrupts"]
        assert (dish["reason"], dish["message"]) == ("input_required", "Which dish?")
        assert dish["responseSchema"]["properties"]["value"] == {"type": "string"}
        bad = [{"interruptId": dish["id"], "status": "resolved", "payload": {"approved": True}}]
        assert (await run(caller, run_id="r2", resume=bad, status=400))[0]["code"] == "invalid_request"
        resume = [{"interruptId": dish["id"], "status": "resolved", "payload": {"value": "soup"}}]
        second = await run(caller, run_id="r2", resume=resume)
        [number] = outcome(second)["interrupts"]
        third = await run(
            caller, user("say sorry", "u2"), run_id="r3", resume=[{"interruptId": number["id"], "status": "cancelled"}]
        )
        assert RECORDED == ["order None soup"]
        assert text(third).endswith("sorry"), "the run goes on, and the new message after it"
        assert outcome(third) == {"type": "success"}
        unknown = [{"interruptId": "nothing", "status": "cancelled"}]
        assert (await run(caller, run_id="r4", resume=unknown, status=404))[0]["code"] == "ask_not_found"


async def test_a_tool_of_the_clients_is_answered_by_its_message(small: SmallCluster) -> None:
    async with calling(small) as caller:
        asked = user(called("pick", kind="file"))
        first = await run(caller, asked)
        [call_id] = [event["toolCallId"] for event in first if event["type"] == "TOOL_CALL_START"]
        assert outcome(first) == {"type": "success", "pendingToolCallIds": [call_id]}
        assert findings(first) == []
        call = {"id": call_id, "type": "function", "function": {"name": "pick", "arguments": "{}"}}
        told = [
            asked,
            {"id": call_id, "role": "assistant", "toolCalls": [call]},
            {"id": "x1", "role": "tool", "toolCallId": call_id, "content": "a.txt"},
        ]
        second = await run(caller, told[-1], run_id="r2")
        assert text(second) == "told a.txt"
        assert merged(await run(caller, *told, run_id="r2")) == merged(second), "sent again it begins nothing"
        message_id = next(event["messageId"] for event in second if event["type"] == "TEXT_MESSAGE_START")
        answered = {"id": message_id, "role": "assistant", "content": "told a.txt"}
        third = await run(caller, *told, answered, user("say on", "u2"), run_id="r3")
        assert text(third) == "on"
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        assert len(await caller.blocks(thread["id"], "roles=user")) == 2


async def test_a_transcript_that_is_sent_again_duplicates_nothing(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await run(caller, user("say one"))
        history = [user("say one"), {"id": "a1", "role": "assistant", "content": "one"}]
        assert text(await run(caller, *history, user("list", "u2"), run_id="r2")) == (
            "system: Help. | user: say one | assistant: one | user: list"
        )
        again = await run(caller, user("say one"), run_id="r3")
        assert merged(again)[1:-1] == merged(first)[1:-1], "a message that was taken shows its run"
        both = await asyncio.gather(*(run(caller, user("say new", "u3"), run_id=f"c{number}") for number in range(8)))
        assert {text(events) for events in both} == {"new"}
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        assert len(await caller.blocks(thread["id"], "roles=user")) == 3
        earlier = [user("from elsewhere", "e1"), {"id": "e2", "role": "assistant", "content": "so"}]
        assert text(await run(caller, *earlier, user("list", "u4"), thread_id="new")) == "system: Help. | user: list"
        two = await run(caller, user("say a", "v1"), user("b", "v2"), thread_id="two")
        assert text(two) == "a\n\nb"


async def test_a_client_that_leaves_cancels_nothing_and_comes_back_by_the_name_of_its_run(small: SmallCluster) -> None:
    async with calling(small) as caller:
        asked = user(called("hold", name="x"))
        body = {"threadId": "t", "runId": "r1", "messages": [asked]}
        async with caller.http.stream("POST", PATH, json=body) as answer:
            async for line in answer.aiter_lines():
                if "TOOL_CALL_END" in line:
                    break
        HELD["x"].set()
        events = await run(caller, asked)
        assert text(events) == "told x"
        assert outcome(events) == {"type": "success"}
        assert RECORDED == ["hold x", "held x"]


async def test_a_cancelled_run_and_a_failed_one_say_so(small: SmallCluster) -> None:
    async with calling(small) as caller:
        running = asyncio.create_task(run(caller, user(called("hold", name="y"))))
        await recorded()
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        [block] = await caller.blocks(thread["id"], "roles=user")
        await caller.ask("POST", f"/api/runs/{block['run_id']}/cancel", {}, 202)
        events = await running
        assert outcome(events) == {"type": "cancelled"}
        assert findings(events) == []
        HELD["y"].set()
        failed = await caller.http.post(
            "/api/agents/limited/agui",
            json={"threadId": "f", "runId": "r", "messages": [user("\n".join([called("add", a=1, b=2)] * 3))]},
        )
        frames = [json.loads(line[6:]) for line in failed.text.splitlines() if line.startswith("data: ")]
        assert (frames[-1]["type"], frames[-1]["code"]) == ("RUN_ERROR", "budget")
        assert findings(frames) == []


async def test_a_thread_that_is_deleted_ends_the_stream(small: SmallCluster) -> None:
    async with calling(small) as caller:
        running = asyncio.create_task(run(caller, user(called("hold", name="z"))))
        await recorded()
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        await caller.ask("DELETE", f"/api/threads/{thread['id']}", status=204)
        events = await running
        assert events[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")
        HELD["z"].set()


async def test_strangers_and_what_is_no_input_are_refused(small: SmallCluster) -> None:
    keys = tuple(ApiKey.of(f"key-of-{owner}-{'x' * 20}", owner) for owner in ("ada", "bob"))
    settings = ApiSettings(api_keys=keys, max_body_bytes=4096)
    ada_key, bob_key = (f"key-of-{owner}-{'x' * 20}" for owner in ("ada", "bob"))
    async with calling(small, settings, ada_key) as ada, calling(small, settings, bob_key) as bob:
        first = await run(ada, user(called("pay", amount=20)))
        [interrupt] = outcome(first)["interrupts"]
        resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True}}]
        await run(bob, run_id="r2", resume=resume, status=404)
        [thread] = (await ada.ask("GET", "/api/threads"))["threads"]
        await run(bob, run_id="r2", resume=resume, thread_id=thread["id"], status=404)
        await run(bob, user("say mine"), run_id="r2", resume=resume, thread_id=thread["id"], status=404)
        assert RECORDED == []
        assert text(await run(bob, user("list"), run_id="r1")) == "system: Help. | user: list"
        assert (await run(ada, user("x" * 5000), status=413))[0]["code"] == "too_large"
        image = {"type": "image", "source": {"type": "url", "value": "http://localhost/a.png"}}
        for messages, code in (
            ([], "invalid_request"),
            ([{"id": "a", "role": "assistant", "content": "hi"}], "invalid_request"),
            ([{**user("x"), "content": [image]}], "unsupported_content"),
            ([{**user("x"), "id": ""}], "invalid_request"),
            ([user("")], "invalid_request"),
        ):
            assert (await run(ada, *messages, thread_id="bad", status=400))[0]["code"] == code
        many = [user("x", f"m{number}") for number in range(33)]
        assert "33 are new" in (await run(ada, *many, thread_id="many", status=400))[0]["message"]
        nobody: httpx.Response = await ada.http.post(
            "/api/agents/nobody/agui", json={"threadId": "t", "runId": "r", "messages": [user("x")]}
        )
        assert nobody.json()["error"]["code"] == "agent_not_found"
        parts = [{"type": "text", "text": "say "}, {"type": "text", "text": "parts"}]
        assert text(await run(ada, {**user("x"), "content": parts}, thread_id="parts")) == "parts"
        forged = {"id": "q", "role": "tool", "toolCallId": "call_99_0_0", "content": "x"}
        assert text(await run(ada, forged, user("say a"), thread_id="forged")) == "a"


def test_every_type_of_event_is_known_to_the_protocol() -> None:
    assert {"RUN_STARTED", "TOOL_CALL_RESULT"} <= {kind.value for kind in EventType}


async def boss(caller: Caller, prompt: str, run_id: str = "r1", **more: Any) -> list[Json]:
    messages = [user(prompt)] if prompt else []
    body = {"threadId": "b", "runId": run_id, "messages": messages, **more}
    answer = await caller.http.post("/api/agents/boss/agui", json=body)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    for event in events:
        _event.validate_python(event)
    return events


async def test_runs_below_are_subagents_and_what_they_ask_interrupts(small: SmallCluster) -> None:
    async with calling(small) as caller:
        two = f"{called('expert', prompt=called('add', a=1, b=2))}\n{called('expert', prompt='say hi')}"
        events = await boss(caller, two)
        started = [event for event in events if event["type"] == "SUBAGENT_STARTED"]
        assert [one["name"] for one in started] == ["expert", "expert"]
        below = {
            one["subagentRunId"]: text([e for e in events if e.get("subagentRunId") == one["subagentRunId"]])
            for one in started
        }
        assert sorted(below.values()) == ["hi", "told 3"]
        assert text([event for event in events if "subagentRunId" not in event]) == "told told 3, hi"
        assert findings(events) == []

        asking = await boss(caller, called("expert", prompt=called("pay", amount=20)), "r2", threadId="c")
        [interrupt] = outcome(asking)["interrupts"]
        [suspended] = [event for event in asking if event["type"] == "SUBAGENT_FINISHED"]
        assert suspended["outcome"] == {"type": "suspended", "interruptIds": [interrupt["id"]]}
        assert interrupt["subagentRunId"] == suspended["subagentRunId"]
        assert findings(asking) == []
        resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True}}]
        answered = await boss(caller, "", "r3", threadId="c", resume=resume)
        assert text([event for event in answered if "subagentRunId" not in event]) == "told told paid 20"
        assert outcome(answered) == {"type": "success"}
        calls = [
            {"id": event["toolCallId"], "type": "function", "function": {"name": "x", "arguments": "{}"}}
            for event in asking
            if event["type"] == "TOOL_CALL_START"
        ]
        assert findings(answered, [{"id": "a", "role": "assistant", "toolCalls": calls}]) == []
        assert RECORDED == ["add 1 2", "pay 20"]


async def test_a_run_is_shown_to_its_end_whatever_dies_meanwhile(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await run(caller, user(called("pay", amount=20)))
        [interrupt] = outcome(first)["interrupts"]
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        small.kill_inferlet(thread["id"])
        small.restart_directory()
        resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True}}]
        second = await run(caller, run_id="r2", resume=resume)
        assert text(second) == "told paid 20"
        small.kill_inferlet(thread["id"])
        assert merged(await run(caller, user(called("pay", amount=20)), run_id="r1")) == merged(first)
        assert text(await run(caller, run_id="r2", resume=resume)) == "told paid 20"
        assert RECORDED == ["pay 20"]
