"""Where the responses of agents go on that come while others are worked on."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from actors.journal.keys import INFERLET, journal_key
from api.agents import Agent
from api.http.openai.agents import chat, responses
from api.http.openai.responses import draft
from api.settings import ApiSettings, OpenAISettings
from api.threads.contract import ThreadHandle
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED, add
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.scripted import obedient
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import respond, said_in

HOLD = called("hold", name="a")


def thread_of(response: Json) -> str:
    return str(response["id"][5:37])


def run_of(response: Json) -> str:
    return f"{thread_of(response)}.{response['id'][37:]}"


async def until_over(caller: Caller, response: Json) -> Json:
    """The response, once its run has ended or waits."""
    await caller.wait(run_of(response))
    found: Json = await caller.ask("GET", f"/v1/responses/{response['id']}")
    return found


async def until_asked(caller: Caller, response: Json) -> None:
    """A tool of the caller's was called."""
    async with asyncio.timeout(30):
        async for event in caller.stream(f"/api/threads/{thread_of(response)}/stream"):
            if event.name == "block.created" and event.data["block"]["kind"] == "ask":
                return


async def until_held() -> None:
    """The tool of ``HOLD`` was begun."""
    async with asyncio.timeout(30):
        while "hold a" not in RECORDED:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def expires_in(small: SmallCluster, response: Json) -> float:
    """Seconds after which the thread of a response that has ended is deleted, unused."""
    info = await small.journal.info(journal_key(INFERLET, thread_of(response)))
    assert info is not None
    assert info.expires_at is not None
    return info.expires_at - time.time()


async def later(caller: Caller, said: str, before: Json | None = None, **fields: Any) -> Json:
    """A response in the background."""
    after = {"previous_response_id": before["id"]} if before else {}
    return await respond(caller, said, background=True, **after, **fields)


async def test_a_response_goes_on_after_one_that_waits_for_its_place(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await later(caller, HOLD)
        second = await later(caller, "say two", first)
        third = await later(caller, "list", second)
        assert thread_of(first) == thread_of(second) == thread_of(third)
        HELD["a"].set()
        listed = said_in(await until_over(caller, third))
        assert listed.endswith("assistant: told a | user: say two | assistant: two | user: list")


async def test_a_branch_begins_with_all_of_a_response_that_is_worked_on(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        first = await later(caller, HOLD)
        second = await later(caller, "say two", first)
        monkeypatch.setattr(responses, "ENDS_S", 0.01)
        refused = await respond(caller, "list", 409, previous_response_id=first["id"])
        assert run_of(first) in refused["error"]["message"]
        monkeypatch.undo()
        branching = asyncio.create_task(respond(caller, "list", previous_response_id=first["id"]))
        await asyncio.wait({branching}, timeout=0.2)
        HELD["a"].set()
        branch = await branching
        assert thread_of(branch) != thread_of(first)
        assert said_in(branch).endswith("tool: a | assistant: told a | user: list")
        assert said_in(await until_over(caller, second)) == "two"


async def test_a_response_that_was_cancelled_before_it_began_has_no_branch(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await later(caller, HOLD)
        second = await later(caller, "say two", first)
        third = await later(caller, "say three", second)
        await caller.ask("POST", f"/v1/responses/{second['id']}/cancel")
        refused = await respond(caller, "list", 400, previous_response_id=second["id"])
        assert refused["error"]["param"] == "previous_response_id"
        assert "before it began" in refused["error"]["message"]
        HELD["a"].set()
        assert said_in(await until_over(caller, third)) == "three"


async def test_a_branch_is_kept_as_long_as_its_response_is_to_be(small: SmallCluster) -> None:
    settings = ApiSettings(openai=OpenAISettings(retention_days=0.1))
    async with calling(small, settings) as caller:
        first = await respond(caller, "say one")
        second = await respond(caller, "say two", previous_response_id=first["id"])
        branch = await respond(caller, "say three", previous_response_id=first["id"])
        short = await respond(caller, "list", previous_response_id=second["id"], store=False)
        assert "assistant: two" in said_in(short)
        assert len({thread_of(response) for response in (first, branch, short)}) == 3
        for response, kept_s in ((first, 8640.0), (branch, 8640.0), (short, chat.KEPT_S)):
            assert kept_s - 60 < await expires_in(small, response) <= kept_s
        third = await respond(caller, "list", previous_response_id=second["id"])
        assert thread_of(third) == thread_of(first), "what is not stored is not in it"


async def test_nothing_that_is_stored_goes_on_after_what_is_not(small: SmallCluster) -> None:
    async with calling(small) as caller:
        said = await respond(caller, "say one", store=False)
        missing = await respond(caller, "say two", 404, previous_response_id=said["id"])
        assert missing["error"]["code"] == "previous_response_not_found"
        made = await respond(caller, called("pick"), store=False)
        result = {"type": "function_call_output", "call_id": made["output"][0]["call_id"], "output": "a.txt"}
        more = [result, {"role": "user", "content": "say on"}]
        for items in ([result], more):
            refused = await respond(caller, items, 400)
            assert refused["error"]["param"] == "store"
        await respond(caller, [result], 404, previous_response_id=made["id"], store=False)
        assert said_in(await respond(caller, [result], store=False)) == "told a.txt"


async def test_results_and_a_message_that_are_sent_again_later_begin_nothing(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("pick"))
        result = {"type": "function_call_output", "call_id": made["output"][0]["call_id"], "output": "a.txt"}
        sent = [result, {"role": "user", "content": "say on"}]
        told = await respond(caller, sent, previous_response_id=made["id"])
        monkeypatch.setattr(draft, "time", SimpleNamespace(time=lambda: time.time() + 5.0))
        assert await respond(caller, sent, previous_response_id=made["id"]) == told
        assert await caller.ask("GET", f"/v1/responses/{told['id']}") == told


async def test_a_response_is_shown_at_once_while_a_tool_works_beside_the_callers(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await later(caller, f"{called('pick')}\n{HOLD}")
        await until_asked(caller, made)
        shown = await caller.ask("GET", f"/v1/responses/{made['id']}", timeout=10)
        assert (shown["status"], shown["output"]) == ("in_progress", [])
        HELD["a"].set()
        shown = await until_over(caller, made)
        assert (shown["status"], [item["type"] for item in shown["output"]].count("function_call")) == ("completed", 2)


async def test_a_response_whose_call_is_answered_while_a_tool_works_is_not_over(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await later(caller, f"{called('pick')}\n{HOLD}")
        await until_asked(caller, made)
        [ask] = await caller.blocks(thread_of(made), "kinds=ask")
        await caller.answer(run_of(made), ask_id=ask["id"], value="a.txt")
        shown = await caller.ask("GET", f"/v1/responses/{made['id']}", timeout=10)
        assert shown["status"] == "in_progress"
        assert (await caller.ask("POST", f"/v1/responses/{made['id']}/cancel"))["status"] == "cancelled"


async def test_cancelling_a_response_that_ended_with_a_call_leaves_what_goes_on_after_it(small: SmallCluster) -> None:
    small.engines[0].script = lambda messages: (  # type: ignore[attr-defined]
        obedient([("user", HOLD)]) if messages[-1] == ("tool", "a.txt") else obedient(messages)
    )
    async with calling(small) as caller:
        made = await respond(caller, called("pick"))
        result = {"type": "function_call_output", "call_id": made["output"][0]["call_id"], "output": "a.txt"}
        cancel = f"/v1/responses/{made['id']}/cancel"
        assert await caller.ask("POST", cancel) == made
        more = await respond(caller, [result], previous_response_id=made["id"], background=True)
        assert await caller.ask("POST", cancel) == made
        assert (await caller.ask("GET", f"/v1/responses/{more['id']}"))["status"] == "in_progress"
        both = [result, {"role": "user", "content": "say on"}]
        last = await respond(caller, both, previous_response_id=made["id"], background=True)
        assert (await caller.ask("GET", f"/v1/responses/{last['id']}"))["status"] == "in_progress"
        assert (await caller.ask("POST", f"/v1/responses/{last['id']}/cancel"))["status"] == "cancelled"
        assert (await caller.wait(run_of(made)))["state"] == "cancelled"


@pytest.mark.parametrize("first_said", ["say one", HOLD])
async def test_two_requests_at_once_after_the_same_response_read_nothing_of_each_other(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch, first_said: str
) -> None:
    async with calling(small) as caller:
        first = await later(caller, first_said)
        if first_said != HOLD:
            await until_over(caller, first)
        last_run, both = responses._last_run, asyncio.Barrier(2)

        async def at_once(thread: ThreadHandle) -> str | None:
            found = await last_run(thread)
            await both.wait()
            return found

        monkeypatch.setattr(responses, "_last_run", at_once)
        asking = [asyncio.create_task(later(caller, "list", first, metadata={"of": number})) for number in "ab"]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        HELD["a"].set()
        made = [await one for one in asking]
        monkeypatch.undo()
        listed = [said_in(await until_over(caller, one)) for one in made]
        assert listed[0] == listed[1]
        assert listed[0].count("user: list") == 1
        threads = [thread_of(one) for one in made]
        assert thread_of(first) in threads
        assert len(set(threads)) == 2, "one goes on in a fork"


async def test_two_messages_with_the_same_result_are_not_both_next(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("pick"), conversation="mine")
        result = {"type": "function_call_output", "call_id": made["output"][0]["call_id"], "output": "a.txt"}
        one, other = ([result, {"role": "user", "content": text}] for text in ("say one", "list"))
        after = {"previous_response_id": made["id"]}
        told = await respond(caller, one, **after)
        refused = await respond(caller, other, 409, **after)
        assert refused["error"]["code"] == "thread_busy"
        assert run_of(made) in refused["error"]["message"]
        assert await respond(caller, one, **after) == told
        ended = await respond(caller, [result], **after)
        branch = await respond(caller, "list", previous_response_id=ended["id"])
        assert said_in(branch).endswith("tool: a.txt | assistant: told a.txt | user: list")
        assert "assistant: one | user: list" in said_in(await respond(caller, other, conversation="mine"))


async def test_a_response_is_a_run_of_its_own_where_the_agent_would_be_steered(small: SmallCluster) -> None:
    async with calling(small) as caller:
        model: Json = {"model": "agent/steered", "conversation": "mine"}
        first = await later(caller, HOLD, **model, metadata={"of": "first"})
        await until_held()
        second = await later(caller, "say 12345", **model, metadata={"of": "second"}, max_output_tokens=3)
        assert thread_of(second) == thread_of(first)
        assert run_of(second) != run_of(first)
        HELD["a"].set()
        told = await until_over(caller, second)
        assert (told["metadata"], told["status"], said_in(told)) == ({"of": "second"}, "incomplete", "123")
        told = await until_over(caller, first)
        assert (told["metadata"], said_in(told)) == ({"of": "first"}, "told a")


async def test_what_is_next_is_known_after_a_death_and_in_a_fork(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        first = await respond(caller, "say one")
        await rests(small, thread_of(first))  # so that its last checkpoint is durable
        small.kill_inferlet(thread_of(first))
        lost = await later(caller, HOLD, first)
        await until_held()
        monkeypatch.setattr("tests.actors.threads.agents.helper", Agent("helper", tools=[add]))
        small.kill_inferlet(thread_of(first))
        assert (await caller.wait(run_of(lost)))["reason"] == "worker_lost"
        after = await respond(caller, "list", previous_response_id=lost["id"])
        assert thread_of(after) == thread_of(lost) == thread_of(first)
        [*_, last] = await caller.blocks(thread_of(first))
        fork = (await caller.ask("POST", f"/api/threads/{thread_of(first)}/fork", {"after": last["id"]}, 201))["thread"]
        forked = after["id"].replace(thread_of(first), fork["id"])
        assert thread_of(await respond(caller, "say on", previous_response_id=forked)) == fork["id"]
