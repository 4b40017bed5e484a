"""The AI SDK's UI message stream over HTTP; the SDK itself reads it in ``tests.clients``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.inferlets.thread_ref import ThreadRef
from api.settings import ApiKey, ApiSettings
from api.threads.blocks import Block
from api.threads.contract import BlockQuery
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_agui import recorded
from tests.actors.threads.test_promises import called

PATH = "/api/agents/helper/ui"


def user(text: str, message_id: str = "u1") -> Json:
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def answered(message_id: str, **part: Any) -> Json:
    return {"id": message_id, "role": "assistant", "parts": [{"type": "step-start"}, {"type": "tool-x", **part}]}


def chunks_of(text: str) -> list[Json]:
    """The chunks of a whole stream."""
    *events, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events if not event.startswith(":")]
    assert chunks[0]["type"] == "start"
    assert [chunk["type"] for chunk in chunks].count("start-step") == [chunk["type"] for chunk in chunks].count(
        "finish-step"
    )
    return chunks


async def chat(caller: Caller, *messages: Json, chat_id: str = "c", status: int = 200, **more: Any) -> list[Json]:
    body = {"id": chat_id, "messages": messages, "trigger": "submit-message", **more}
    answer = await caller.http.post(PATH, json=body)
    assert answer.status_code == status, answer.text
    if status != 200:
        return [answer.json()["error"]]
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    return chunks_of(answer.text)


def said(chunks: Sequence[Json]) -> str:
    return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")


def only(chunks: Sequence[Json], kind: str) -> list[Json]:
    return [chunk for chunk in chunks if chunk["type"] == kind]


async def test_text_calls_and_results_are_parts_of_one_message(small: SmallCluster) -> None:
    async with calling(small) as caller:
        chunks = await chat(caller, user(f"{called('add', a=1, b=2)}\n{called('fail', why='no')}"))
        add, fail = only(chunks, "tool-input-available")
        assert (add["toolName"], add["input"], fail["input"]) == ("add", {"a": 1, "b": 2}, {"why": "no"})
        typed = "".join(
            chunk["inputTextDelta"]
            for chunk in only(chunks, "tool-input-delta")
            if chunk["toolCallId"] == add["toolCallId"]
        )
        assert json.loads(typed) == add["input"]
        assert only(chunks, "tool-output-available") == [
            {"type": "tool-output-available", "toolCallId": add["toolCallId"], "output": 3}
        ]
        [error] = only(chunks, "tool-output-error")
        assert (error["toolCallId"], error["errorText"]) == (fail["toolCallId"], "ValueError: no")
        assert said(chunks) == "told 3, Error: ValueError: no"
        assert len(only(chunks, "start-step")) == 2
        assert chunks[-1] == {"type": "finish", "finishReason": "stop"}
        assert "Calling add" in [chunk["data"]["text"] for chunk in only(chunks, "data-status")]
        assert all(chunk["transient"] for chunk in only(chunks, "data-status"))
        several = only(await chat(caller, user(called("several", number=1), "u2")), "tool-output-available")
        [[words, number, dot]] = [chunk["output"] for chunk in several]
        assert (words, number, dot["mediaType"]) == ("text", {"number": 1}, "image/x-test")
        assert (await caller.http.get(dot["url"])).content == b"\x00\xff"


async def test_approvals_are_answered_in_the_message_that_asks_and_go_on_in_it(small: SmallCluster) -> None:
    async with calling(small) as caller:
        asked = user(f"{called('pay', amount=20)}\n{called('pay', amount=30)}")
        first = await chat(caller, asked)
        message_id = first[0]["messageId"]
        requests = only(first, "tool-approval-request")
        assert len(requests) == 2
        assert first[-1] == {"type": "finish", "finishReason": "tool-calls"}

        def responded(request: Json, approved: bool) -> Json:
            approval = {"id": request["approvalId"], "approved": approved, "reason": "because"}
            return {
                "type": "tool-pay",
                "toolCallId": request["toolCallId"],
                "state": "approval-responded",
                "approval": approval,
            }

        parts = [responded(requests[0], False), responded(requests[1], True)]
        answer = {"id": message_id, "role": "assistant", "parts": parts}
        second = await chat(caller, asked, answer)
        assert second[0]["messageId"] == message_id
        assert [chunk["toolCallId"] for chunk in only(second, "tool-output-denied")] == [requests[0]["toolCallId"]]
        assert only(second, "tool-output-available")[0]["output"] == "paid 30"
        assert said(second) == "told Error: because, paid 30"
        assert only(second, "tool-input-start") == [], "what the client has is not said again"
        assert said(await chat(caller, asked, answer)) == said(second), "sent again it begins nothing"
        assert RECORDED == ["pay 30"]
        whole = await chat(caller, asked)
        assert only(whole, "tool-approval-request") == requests
        assert said(whole) == said(second)
        changed = {"id": message_id, "role": "assistant", "parts": [responded(requests[0], True)]}
        assert (await chat(caller, asked, changed, status=409))[0]["code"] == "already_answered"


async def test_a_tool_of_the_clients_and_a_question(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await chat(caller, user(called("pick", kind="file")))
        [call] = only(first, "tool-input-available")
        output = answered(
            first[0]["messageId"], toolCallId=call["toolCallId"], state="output-available", output={"path": "a"}
        )
        assert said(await chat(caller, output)) == 'told {"path": "a"}'
        refused = await chat(caller, user(called("pick"), "u2"))
        [call] = only(refused, "tool-input-available")
        error = answered(
            refused[0]["messageId"], toolCallId=call["toolCallId"], state="output-error", errorText="no file"
        )
        assert said(await chat(caller, error)) == "told Error: no file"

        asking = await chat(caller, user(called("order"), "u3"))
        [dish] = only(asking, "data-ask")
        assert (dish["data"]["question"], dish["data"]["state"]) == ("Which dish?", "open")
        await caller.answer(dish["data"]["run_id"], ask_id=dish["id"], value="soup")
        again = only(await chat(caller, user(called("order"), "u3")), "data-ask")
        assert [one["data"]["value"] for one in again if one["id"] == dish["id"]] == [None, "soup"]
        assert again[-1]["data"]["question"] == "How many?"


async def test_the_result_of_a_tool_that_has_asked_is_no_answer_to_what_it_asked(small: SmallCluster) -> None:
    async with calling(small) as caller:
        prompt = f"{called('order')}\n{called('pick')}"
        first = await chat(caller, user(prompt))
        order, pick = only(first, "tool-input-available")
        run_id = first[0]["messageId"]
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        answers = {"Which dish?": "soup", "How many?": 2}
        async with asyncio.timeout(20):
            while answers:
                for ask in await caller.blocks(thread["id"], "kinds=ask"):
                    if ask["ask"].get("question") in answers:
                        await caller.answer(run_id, ask_id=ask["id"], value=answers.pop(ask["ask"]["question"]))
        parts = [
            {"type": "tool-order", "toolCallId": order["toolCallId"], "state": "output-available", "output": "2 soup"},
            {"type": "tool-pick", "toolCallId": pick["toolCallId"], "state": "output-available", "output": "a"},
        ]
        answer = {"id": run_id, "role": "assistant", "parts": parts}
        told = said(await chat(caller, user(prompt), answer))
        assert told.startswith("told 2 soup for ")
        assert said(await chat(caller, user(prompt), answer)) == told, "sent again it is the same"


async def test_who_leaves_comes_back_to_the_message_from_its_start(small: SmallCluster) -> None:
    async with calling(small) as caller:
        nothing = await caller.http.get(f"{PATH}/c/stream")
        assert (nothing.status_code, nothing.content) == (204, b"")
        body = {"id": "c", "messages": [user(called("hold", name="x"))]}
        async with caller.http.stream("POST", PATH, json=body) as answer:
            async for line in answer.aiter_lines():
                if "tool-input-available" in line:
                    break
        await recorded()
        resuming = asyncio.create_task(caller.http.get(f"{PATH}/c/stream"))
        await asyncio.sleep(0.1)
        HELD["x"].set()
        chunks = chunks_of((await resuming).text)
        assert [chunk["input"] for chunk in only(chunks, "tool-input-available")] == [{"name": "x"}]
        assert said(chunks) == "told x"
        assert (await caller.http.get(f"{PATH}/c/stream")).status_code == 204
        assert (await caller.http.get(f"{PATH}/unknown/stream")).status_code == 204
        assert RECORDED == ["hold x", "held x"]


async def test_stop_cancels_and_a_failed_run_says_why(small: SmallCluster) -> None:
    async with calling(small) as caller:
        running = asyncio.create_task(chat(caller, user(called("hold", name="y"))))
        await recorded()
        await caller.ask("POST", f"{PATH}/c/stop", status=204)
        assert only(await running, "abort") == [{"type": "abort", "reason": "user"}]
        HELD["y"].set()
        await caller.ask("POST", f"{PATH}/c/stop", status=204)
        await caller.ask("POST", f"{PATH}/unknown/stop", status=404)
        body = {"id": "c", "messages": [user("\n".join([called("add", a=1, b=2)] * 3))]}
        failed = chunks_of((await caller.http.post("/api/agents/limited/ui", json=body)).text)
        assert failed[-1]["type"] == "error"
        assert "as many calls" in failed[-1]["errorText"]


async def test_stop_ends_the_runs_below_a_run_with_it(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("expert", prompt=called("hold", name="z")), "c", agent="boss")
        await recorded()
        await caller.ask("POST", "/api/agents/boss/ui/c/stop", status=204)
        ended = [await caller.wait(f"{begun['run_id']}{below}") for below in ("c1", "")]
        assert [(run["state"], run["reason"]) for run in ended] == [("cancelled", "parent"), ("cancelled", "user")]


async def test_a_transcript_that_is_sent_again_duplicates_nothing(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await chat(caller, user("say one"))
        told = {"id": first[0]["messageId"], "role": "assistant", "parts": [{"type": "text", "text": "one"}]}
        second = await chat(caller, user("say one"), told, user("list", "u2"))
        assert said(second) == "system: Help. | user: say one | assistant: one | user: list"
        assert said(await chat(caller, user("say one"), told, user("list", "u2"))) == said(second)
        many = await asyncio.gather(*(chat(caller, user("say new", "u3")) for _ in range(8)))
        assert {chunks[0]["messageId"] for chunks in many} == {many[0][0]["messageId"]}
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        assert thread["context_id"] == "c"
        assert len(await caller.blocks(thread["id"], "roles=user")) == 3


async def test_an_answer_is_made_again_and_a_message_changed_in_a_fork_that_has_the_name(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = user(called("add", a=1, b=2))
        await chat(caller, first)
        listed = user("list", "u2")
        second = await chat(caller, first, listed)
        [before] = (await caller.ask("GET", "/api/threads?context_id=c"))["threads"]
        again = await chat(caller, first, listed, trigger="regenerate-message", messageId=second[0]["messageId"])
        assert said(again) == said(second), "it knows what was said before, and not what is said again"
        assert again[0]["messageId"] != second[0]["messageId"]
        await chat(caller, first, listed, user("say more", "u3"))
        threads = {one["id"] for one in (await caller.ask("GET", "/api/threads?context_id=c"))["threads"]}
        assert before["id"] in threads
        assert len(threads) == 2
        assert len(await caller.blocks(before["id"], "roles=user")) == 2, "it is as it was"
        changed = await chat(caller, user("list", "u1"), messageId="u1")
        assert said(changed) == "system: Help. | user: list"
        assert said(await chat(caller, user("list", "u1"), user("list", "u4"))).endswith(
            f"assistant: {said(changed)} | user: list"
        )
        anew = await chat(caller, user("list"), chat_id="d", trigger="regenerate-message")
        assert said(anew) == "system: Help. | user: list", "where nothing was said it begins"
        assert RECORDED == ["add 1 2"]
        by_id = {"chat_id": before["id"], "trigger": "regenerate-message", "status": 400}
        await chat(caller, first, listed, **by_id)


async def test_a_running_answer_is_stopped_and_made_again(small: SmallCluster) -> None:
    async with calling(small) as caller:
        await chat(caller, user("say one"))
        first = asyncio.create_task(chat(caller, user("say one"), user(called("hold", name="s"), "u2")))
        await recorded()
        changed = await chat(caller, user("say one"), user("list", "u2"), messageId="u2")
        assert said(changed) == "system: Help. | user: say one | assistant: one | user: list"
        assert (await first)[-1]["type"] == "abort"
        HELD["s"].set()


@pytest.mark.parametrize("is_by_id", [True, False])
async def test_a_running_answer_goes_on_where_it_cannot_be_made_again(tmp_path: Path, is_by_id: bool) -> None:
    async with scripted_cluster(tmp_path, max_inferlets=1) as small, calling(small) as caller:
        held = user(called("hold", name="s"))
        first = asyncio.create_task(chat(caller, held))
        await recorded()
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        chat_id, status = (thread["id"], 400) if is_by_id else ("c", 429)
        await chat(caller, held, chat_id=chat_id, trigger="regenerate-message", status=status)
        HELD["s"].set()
        assert said(await first) == "told s"


async def queued(caller: Caller, *messages: Json) -> asyncio.Task[list[Json]]:
    """What these messages begin, once it waits for its place."""
    waiting = asyncio.create_task(chat(caller, *messages))
    async with asyncio.timeout(20):
        while not (await caller.ask("GET", "/api/runs?state=queued"))["runs"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return waiting


async def test_a_message_that_waits_for_its_place_is_changed(small: SmallCluster) -> None:
    async with calling(small) as caller:
        held = user(called("hold", name="s"))
        first = asyncio.create_task(chat(caller, held))
        await recorded()
        waiting = await queued(caller, held, user("say on", "u2"))
        changed = await chat(caller, held, user("list", "u2"), messageId="u2")
        assert said(changed).endswith(" | user: list")
        assert "say on" not in said(changed)
        assert [(await one)[-1]["type"] for one in (first, waiting)] == ["abort", "abort"]
        HELD["s"].set()


async def test_a_message_whose_run_begins_while_it_is_changed_is_not_known(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        held = user(called("hold", name="s"))
        first = asyncio.create_task(chat(caller, held))
        await recorded()
        waiting = await queued(caller, held, user("say on", "u2"))
        blocks = ThreadRef.blocks

        async def late(thread: ThreadRef, query: BlockQuery) -> tuple[tuple[Block, ...], bool]:
            found = await blocks(thread, query)
            monkeypatch.setattr(ThreadRef, "blocks", blocks)
            HELD["s"].set()
            await asyncio.wait((first, waiting))
            return found

        monkeypatch.setattr(ThreadRef, "blocks", late)
        changed = await chat(caller, held, user("list", "u2"), messageId="u2")
        assert said(changed).endswith(" | user: list")
        assert "say on" not in said(changed)
        assert [said(await one) for one in (first, waiting)] == ["told s", "on"]


async def test_what_a_run_was_steered_with_is_known_and_not_said_again(small: SmallCluster) -> None:
    async with calling(small) as caller:
        path = "/api/agents/steered/ui"
        held = user(called("hold", name="s"))

        def chatting(*messages: Json) -> asyncio.Task[Any]:
            return asyncio.create_task(caller.http.post(path, json={"id": "s", "messages": messages}))

        first = chatting(held)
        await recorded()
        steering = chatting(held, user("say steered", "u2"))
        [thread] = (await caller.ask("GET", "/api/threads"))["threads"]
        async with asyncio.timeout(20):
            while len(await caller.blocks(thread["id"], "roles=user")) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        HELD["s"].set()
        assert len({chunks_of((await one).text)[0]["messageId"] for one in (first, steering)}) == 1
        for number in range(2):
            again = chunks_of((await chatting(held, user("say steered", "u2"), user("say on", "u3"))).text)
            assert said(again) == "on", number
        told = [block["parts"][0]["text"] for block in await caller.blocks(thread["id"], "roles=user")]
        assert told == [called("hold", name="s"), "say steered", "say on"]


async def test_strangers_and_what_is_no_chat_are_refused(small: SmallCluster) -> None:
    keys = tuple(ApiKey.of(f"key-of-{owner}-{'x' * 20}", owner) for owner in ("ada", "bob"))
    settings = ApiSettings(api_keys=keys, max_body_bytes=4096)
    ada_key, bob_key = (f"key-of-{owner}-{'x' * 20}" for owner in ("ada", "bob"))
    async with calling(small, settings, ada_key) as ada, calling(small, settings, bob_key) as bob:
        first = await chat(ada, user(called("pay", amount=20)))
        [request] = only(first, "tool-approval-request")
        approval = {"id": request["approvalId"], "approved": True}
        answer = answered(first[0]["messageId"], toolCallId=request["toolCallId"], approval=approval)
        [thread] = (await ada.ask("GET", "/api/threads"))["threads"]
        for name in ("c", thread["id"]):
            await chat(bob, answer, chat_id=name, status=404)
            assert (await bob.http.get(f"{PATH}/{name}/stream")).status_code == 204
            await bob.ask("POST", f"{PATH}/{name}/stop", status=404)
        assert RECORDED == []
        assert (await ada.http.get(f"{PATH}/c/stream")).status_code == 200
        assert (await chat(ada, user("x" * 5000), status=413))[0]["code"] == "too_large"
        file = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,"}
        for messages, code in (
            ([], "invalid_request"),
            ([{**user("x"), "parts": [file]}], "unsupported_content"),
            ([user("")], "invalid_request"),
            ([{**user("x"), "id": "i" * 257}], "invalid_request"),
        ):
            assert (await chat(ada, *messages, chat_id="bad", status=400))[0]["code"] == code
        for wrong in ({"trigger": "other"}, {"trigger": "regenerate-message", "messages": [answer]}):
            assert (await chat(ada, user("say x"), status=400, **wrong))[0]["code"] == "invalid_request"


async def test_what_a_run_below_asks_is_asked_in_the_message(small: SmallCluster) -> None:
    async with calling(small) as caller:
        body = {"id": "b", "messages": [user(called("expert", prompt=called("pay", amount=20)))]}
        first = chunks_of((await caller.http.post("/api/agents/boss/ui", json=body)).text)
        [request] = only(first, "tool-approval-request")
        assert [chunk["toolName"] for chunk in only(first, "tool-input-available")] == ["expert", "pay"]
        approval = {"id": request["approvalId"], "approved": True}
        answer = answered(first[0]["messageId"], toolCallId=request["toolCallId"], approval=approval)
        second = chunks_of((await caller.http.post("/api/agents/boss/ui", json={"id": "b", "messages": [answer]})).text)
        assert [chunk["output"] for chunk in only(second, "tool-output-available")] == ["paid 20", "told paid 20"]
        assert said(second) == "told told paid 20"


async def test_a_message_that_waits_for_its_place_is_shown_without_what_was_said_before(small: SmallCluster) -> None:
    async with calling(small) as caller:
        await caller.prompt("say one", "c")
        begun = await caller.begin(called("hold", name="s"), "c")
        await recorded()
        waiting = [asyncio.create_task(chat(caller, user("say on", f"u{number}"))) for number in range(2)]
        async with asyncio.timeout(20):
            while len((await caller.ask("GET", "/api/runs?state=queued"))["runs"]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        last = (await caller.ask("GET", "/api/runs?state=queued"))["runs"][0]["id"]
        await caller.ask("POST", f"/api/runs/{last}/cancel", status=202)
        HELD["s"].set()
        await caller.wait(begun["run_id"])
        shown = [await one for one in waiting]
        assert sorted(chunks[-1]["type"] for chunks in shown) == ["abort", "finish"]
        assert sorted(map(said, shown)) == ["", "on"]
        assert (await chat(caller, user("say on", "u0"), user("say on", "u1")))[-1]["type"] in ("abort", "finish")
