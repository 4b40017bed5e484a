"""Where the responses of agents go on that come while others are worked on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.http.openai.agents import responses
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD
from tests.actors.threads.caller import Caller, Json, calling
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
