"""Results of the caller's tools that come with a message: an agent's thread takes both, or neither."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from actors.inferlets.clients import Reception
from actors.inferlets.thread_ref import ThreadRef
from api.errors import Unavailable
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import Caller, Json, calling, text_of
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import respond, said_in
from tests.actors.threads.test_response_items import result_of
from tests.actors.threads.test_response_order import run_of, thread_of


async def picking(caller: Caller, **fields: Any) -> tuple[Json, list[Json]]:
    """A response that ends with a call of the caller's, and its result with a message after it."""
    made = await respond(caller, called("pick"), **fields)
    return made, [result_of(made["output"][0]), {"role": "user", "content": "say on"}]


async def asks_in(caller: Caller, response: Json) -> list[tuple[str, Any]]:
    """The state and the answer's value of each ask in its thread."""
    asks = await caller.blocks(thread_of(response), "kinds=ask")
    return [(ask["state"], ask["answer"] and ask["answer"]["value"]) for ask in asks]


async def prompts_in(caller: Caller, response: Json) -> list[str]:
    """What the user has said in its thread."""
    return [text_of(block) for block in await caller.blocks(thread_of(response)) if block["role"] == "user"]


async def test_results_whose_message_is_refused_are_not_given(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made, sent = await picking(caller, conversation="mine")
        other = await caller.begin("say two", "mine", if_busy="queue")
        for _ in range(2):
            refused = await respond(caller, sent, 409, previous_response_id=made["id"])
            assert refused["error"]["code"] == "thread_busy"
            assert await asks_in(caller, made) == [("open", None)]
        assert await caller.ask("GET", f"/v1/responses/{made['id']}") == made
        told = await respond(caller, sent[:1], previous_response_id=made["id"])
        assert said_in(told) == "told a.txt"
        assert (await caller.wait(other["run_id"]))["state"] == "succeeded"
        assert await prompts_in(caller, made) == [called("pick"), "say two"]


async def test_results_whose_message_cannot_begin_a_run_are_not_given(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made, sent = await picking(caller)
        unknown = {"type": "function", "name": "nothing"}
        refused = await respond(caller, sent, 400, previous_response_id=made["id"], tool_choice=unknown)
        assert "no tool 'nothing'" in refused["error"]["message"]
        assert await asks_in(caller, made) == [("open", None)]
        assert said_in(await respond(caller, sent, previous_response_id=made["id"])) == "told a.txton"


async def test_a_message_begins_nothing_where_the_run_has_ended_that_waited_for_its_results(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = ThreadRef.prompt

    async def late(thread: ThreadRef, *of: Any) -> object:
        await thread.cancel(run_of(made))
        await thread.wait(run_of(made), 30.0)
        await rests(small, thread.thread_id)
        return await prompt(thread, *of)

    async with calling(small) as caller:
        made, sent = await picking(caller)
        with monkeypatch.context() as patched:
            patched.setattr(ThreadRef, "prompt", late)
            refused = await respond(caller, sent, 409, previous_response_id=made["id"])
        assert refused["error"]["code"] == "run_ended"
        assert await prompts_in(caller, made) == [called("pick")]


async def test_results_and_a_message_that_are_sent_again_are_taken_once(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made, sent = await picking(caller)
        told = await respond(caller, sent, previous_response_id=made["id"])
        for _ in range(2):
            assert await respond(caller, sent, previous_response_id=made["id"]) == told
        other = [{**sent[0], "output": "b.txt"}, sent[1]]
        await respond(caller, other, 409, previous_response_id=made["id"])
        assert await asks_in(caller, made) == [("complete", "a.txt")]
        assert await prompts_in(caller, made) == [called("pick"), "say on"]


async def test_a_message_comes_with_the_results_that_were_not_given_before(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, f"{called('pick')}\n{called('pick')}")
        first, _ = await caller.blocks(thread_of(made), "kinds=ask")
        await caller.answer(run_of(made), ask_id=first["id"], value="a")
        results = [result_of(call, text) for call, text in zip(made["output"], "ab", strict=True)]
        sent = [*results, {"role": "user", "content": "say on"}]
        told = await respond(caller, sent, previous_response_id=made["id"])
        assert said_in(told) == "told a, bon"
        assert await respond(caller, sent, previous_response_id=made["id"]) == told
        assert await prompts_in(caller, made) == [f"{called('pick')}\n{called('pick')}", "say on"]


@pytest.mark.parametrize("moment", ["before", "recorded", "after"])
async def test_a_thread_that_dies_has_the_results_and_the_message_or_neither(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch, moment: Literal["before", "recorded", "after"]
) -> None:
    prompt, deliver = ThreadRef.prompt, Reception.deliver
    async with calling(small) as caller:
        made, sent = await picking(caller)
        died = list[str]()

        def die() -> None:
            died.append(moment)
            small.kill_inferlet(thread_of(made))

        async def prompted(*of: Any) -> object:
            if moment == "after":
                await prompt(*of)
            die()
            raise Unavailable("the gateway has lost the thread")

        async def delivered(*of: Any) -> int:
            position = await deliver(*of)
            if not died:
                die()
            return position

        with monkeypatch.context() as patched:
            if moment == "recorded":
                patched.setattr(Reception, "deliver", delivered)
            else:
                patched.setattr(ThreadRef, "prompt", prompted)
            await respond(caller, sent, 200 if moment == "recorded" else 503, previous_response_id=made["id"])
        assert died == [moment]
        is_taken = moment != "before"
        assert await asks_in(caller, made) == [("complete", "a.txt") if is_taken else ("open", None)]
        told = await respond(caller, sent, previous_response_id=made["id"])
        assert said_in(told) == "told a.txton"
        assert await asks_in(caller, made) == [("complete", "a.txt")]
        assert await prompts_in(caller, made) == [called("pick"), "say on"]
