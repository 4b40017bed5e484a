"""How runs of agents end that are functions: at limits, by what they raise, cancelled, and over deaths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from pydantic import BaseModel, Field

from actors.inferlets.records import Restarted, decode
from api.agents import Agent, Prompt, ask, call, context, emit, handoff
from api.errors import InvalidRequest
from api.inferlet import max_len
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import (
    HELD,
    RECORDED,
    add,
    doubtful,
    fail,
    hold,
    pay,
    weather,
)
from tests.actors.threads.caller import Caller, Event, Json, calling, check, text_of
from tests.actors.threads.shapes import all_of, limited, of_kind, script, worked, worker
from tests.actors.threads.test_asks import asks_of, rests
from tests.actors.threads.test_children import asking, ended, results


@script
async def ask_all(prompt: Prompt) -> None:
    """Questions: one that is answered, and one that is not."""
    number = await ask("How many?", int)
    nothing = await ask("Why?", str, timeout_s=0.05, if_expired="deny")
    await emit("message", [number, nothing])
    try:
        await ask("Really?", timeout_s=0.05)
    except BaseException:  # noqa: B036
        await emit("message", "caught")
    await emit("message", "went on")


async def test_a_question_is_answered_or_expires_as_it_says_whatever_is_caught(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("ask_all", agent="worker")
        [asked] = await asks_of(caller, begun)
        await rests(shaped, begun["thread_id"])
        await caller.answer(begun["run_id"], 400, ask_id=asked["id"], value="many")
        await caller.answer(begun["run_id"], ask_id=asked["id"], value=3)
        run, blocks = await all_of(caller, begun)
        assert (run["state"], run["reason"]) == ("failed", "ask_expired")
        assert [block["parts"][0]["json"] for block in of_kind(blocks, "message")[1:]] == [[3, None]]
        assert [block["state"] for block in of_kind(blocks, "ask")] == ["complete", "complete", "cancelled"]


@script
async def do_too_much(prompt: Prompt) -> None:
    """More calls than it may make, whatever that raises."""
    for number in range(4):
        try:
            await call(add, a=number, b=0)
        except BaseException:  # noqa: B036
            RECORDED.append("caught")
    await emit("message", "done")


@script
async def say_too_much(prompt: Prompt) -> None:
    """More than its models may say."""
    model = prompt.model.create_context()
    model.fill_user(f"say {'x' * 50}")
    try:
        await model.generate(stop=max_len(40))
    except BaseException:  # noqa: B036
        RECORDED.append("caught")
    await emit("message", "done")


@script
async def take_too_long(prompt: Prompt) -> None:
    """More time than it has."""
    for _ in range(2):
        try:
            await asyncio.sleep(60)
        except BaseException:  # noqa: B036
            RECORDED.append("caught")
    await emit("message", "done")


async def test_a_limit_ends_the_run_whatever_the_function_catches(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        run, blocks = await worked(caller, "do_too_much", "bounded")
        assert (run["state"], run["reason"], run["error"]["code"]) == ("failed", "budget", "max_actions")
        assert [block["state"] for block in of_kind(blocks, "tool_result")] == ["complete", "complete", "failed"]
        assert of_kind(blocks, "tool_result")[-1]["error"]["code"] == "not_executed"
        assert [one for one in RECORDED if one.startswith("add")] == ["add 0 0", "add 1 0"]
        run, blocks = await worked(caller, "say_too_much", "bounded")
        assert (run["reason"], run["usage"]["completion_tokens"]) == ("budget", 20)
        run, blocks = await worked(caller, "take_too_long", "hasty")
        assert (run["state"], run["reason"]) == ("failed", "timeout")
        assert of_kind(blocks, "message")[1:] == []
        assert (await caller.prompt("tell_history", agent="bounded"))["run"]["state"] == "succeeded"


@script
async def go_round(prompt: Prompt) -> None:
    """Hands over more often than it may act."""
    RECORDED.append("begun")
    if len(RECORDED) < 9:
        await handoff(limited)


async def test_handoffs_count_towards_what_a_run_may_do(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        run, blocks = await worked(caller, "go_round", "bounded")
        assert (run["state"], run["reason"], run["error"]["code"]) == ("failed", "budget", "max_actions")
        assert len(of_kind(blocks, "handoff")) == 2
        assert RECORDED == ["begun"] * 3


@script
async def break_down(prompt: Prompt) -> None:
    """Raises what its prompt says."""
    await emit("message", "before")
    if prompt.text.endswith("model"):
        await call(fail, why="the tool")
    raise {"key": KeyError("x"), "cancel": asyncio.CancelledError(), "exit": SystemExit(3)}.get(
        prompt.text.split()[1], InvalidRequest("no")
    )


async def test_what_a_function_raises_fails_its_run_and_the_thread_goes_on(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        messages = []
        for word in ("key", "cancel", "exit", "own", "model"):
            begun = await caller.begin(f"break_down {word}", "t", agent="worker")
            run, blocks = await all_of(caller, begun)
            assert (run["state"], run["reason"], run["error"]["code"]) == ("failed", "agent_error", "agent_error")
            assert text_of(of_kind(blocks, "message")[-1]) == "before"
            messages.append(run["error"]["message"])
        assert messages == [
            "KeyError: 'x'",
            "the agent's function has cancelled itself",
            "SystemExit: 3",
            "InvalidRequest: no",
            "ValueError: the tool",
        ]
        answer = await caller.prompt("tell_history", "t", agent="worker")
        assert "user: break_down own | assistant: before | user: break_down model" in text_of(answer["blocks"][0])


@script
async def resist(prompt: Prompt) -> None:
    """Holds, with a task beside it, and does not want to end."""
    beside = asyncio.create_task(asyncio.sleep(600))
    try:
        await call(hold, name="resisting")
    except asyncio.CancelledError:
        RECORDED.append("cancelled")
        try:
            await call(add, a=1, b=1)
        finally:
            RECORDED.append("refused")
    await beside


@script
async def leave_tasks(prompt: Prompt) -> None:
    """Ends, and leaves a task and a call."""
    asyncio.create_task(asyncio.sleep(600))
    asyncio.create_task(call(hold, name="left"))
    await call(add, a=1, b=2)
    await emit("message", "over")


async def test_a_cancelled_run_ends_with_its_call_and_all_that_its_function_began(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("resist", agent="worker")
        await caller.until(begun, "block.completed", kind="status", name=None)
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/cancel", {}, 202)
        run, blocks = await all_of(caller, begun)
        assert (run["state"], run["reason"]) == ("cancelled", "user")
        assert [block["name"] for block in of_kind(blocks, "tool_call")] == ["hold"]
        assert RECORDED == ["hold resisting", "cancelled", "refused"]
        HELD["resisting"].set()
        run, blocks = await worked(caller, "leave_tasks")
        assert (run["state"], text_of(of_kind(blocks, "message")[-1])) == ("succeeded", "over")
        [left] = [block for block in of_kind(blocks, "tool_call") if block["name"] == "hold"]
        assert left["state"] == "complete"
        await rests(shaped, run["thread_id"])
        records = [decode(line) for line in await shaped.inferlets.recorded(run["thread_id"])]
        assert not any(isinstance(record, Restarted) for record in records)


@script
async def be_silent(prompt: Prompt) -> None:
    """Says nothing."""


async def test_a_model_that_comes_after_a_function_knows_its_runs(
    shaped: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(shaped) as caller:
        thread_id = (await caller.prompt("be_silent", agent="worker"))["thread_id"]
        await rests(shaped, thread_id)
        monkeypatch.setattr("tests.actors.threads.shapes.worker", Agent("worker"))
        answer = await caller.prompt("list", thread_id, agent="worker")
        expected = "user: be_silent | assistant: (there is no answer) | user: list"
        assert text_of(answer["blocks"][0]) == expected


@script
async def go_on_for_ever(prompt: Prompt) -> None:
    """Is not to be ended."""
    while len(RECORDED) < 4:
        try:
            await asyncio.sleep(600)
        except BaseException:  # noqa: B036
            RECORDED.append("caught")


async def test_a_function_that_does_not_end_loses_its_run_and_the_thread_goes_on(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("go_on_for_ever", "t", agent="worker")
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/cancel", {}, 202)
        run = await caller.wait(begun["run_id"])
        assert (run["state"], run["reason"]) == ("failed", "worker_lost")
        assert RECORDED[:3] == ["caught"] * 3
        assert (await caller.prompt("tell_history", "t", agent="worker"))["run"]["state"] == "succeeded"


@script
async def go_on_below(prompt: Prompt) -> None:
    """Says that it has begun, and is not to be ended."""
    await emit("message", "begun")
    await go_on_for_ever(prompt)


@script
async def call_worker(prompt: Prompt) -> None:
    """Has another function do the rest of its prompt, and goes on whatever becomes of that."""
    try:
        await call(worker, prompt=prompt.text.partition(" ")[2])
    except BaseException:  # noqa: B036
        await emit("message", "went on")


@pytest.mark.parametrize(
    ("agent", "text"), [("lead", asking("worker", "go_on_below")), ("careful", "call_worker go_on_below")]
)
async def test_a_function_below_a_run_that_does_not_end_ends_with_it(
    shaped: SmallCluster, monkeypatch: pytest.MonkeyPatch, agent: str, text: str
) -> None:
    monkeypatch.setattr("api.agents.begun_tasks.ROUND_S", 0.2)
    async with calling(shaped) as caller:
        begun = await caller.begin(text, agent=agent)
        watched = {**begun, "stream_url": begun["stream_url"] + "&children=true"}
        await caller.until(watched, "block.completed", role="assistant", run_id=f"{begun['run_id']}c1")
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/cancel", {}, 202)
        for run_id in (begun["run_id"], f"{begun['run_id']}c1"):
            run = await caller.wait(run_id)
            assert (run["state"], run["reason"]) == ("failed", "worker_lost")
        assert (await caller.prompt("tell_history", begun["thread_id"], agent="worker"))["run"]["state"] == "succeeded"


@script
async def flow_for_ever(prompt: Prompt) -> None:
    """Says what never waits for anything."""

    async def pieces() -> AsyncIterator[str]:
        for _ in range(100_000):
            yield "x"

    await emit("message", pieces())


async def test_an_iterator_that_never_waits_ends_when_the_run_is_cancelled(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        run, _ = await worked(caller, "flow_for_ever", "hasty")
        assert (run["state"], run["reason"]) == ("failed", "timeout")


@script
async def call_for_ever(prompt: Prompt) -> None:
    """Tries again, whatever its calls raise."""
    for _ in range(1000):
        try:
            await call(weather, city="")
        except BaseException:  # noqa: B036
            continue


@script
async def say_for_ever(prompt: Prompt) -> None:
    """The same, with what models say."""
    model = prompt.model.create_context()
    model.fill_user(f"say {'x' * 50}")
    for _ in range(1000):
        try:
            await model.generate()
        except BaseException:  # noqa: B036
            continue


@pytest.mark.parametrize("name", ["call_for_ever", "say_for_ever"])
async def test_a_function_that_tries_again_for_ever_at_a_limit_lets_others_go_on(
    shaped: SmallCluster, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("api.agents.begun_tasks.ROUND_S", 0.3)
    async with calling(shaped) as caller:
        run = await caller.wait((await caller.begin(name, agent="bounded"))["run_id"])
        assert (run["state"], run["reason"]) == ("failed", "worker_lost")


@script
async def do_all(prompt: Prompt) -> None:
    """Two calls at once, an approval, a question, and what a model says."""
    found = await asyncio.gather(call("add", a=1, b=2), call("weather", city="Oslo"))
    paid = await call("pay", amount=20)
    dish = await ask("Which dish?", str)
    model = prompt.model.create_context()
    model.fill_user(f"say {found} {paid} {dish}")
    await emit("message", model.generate())


@pytest.mark.parametrize("agent", ["careful", "worker"])
async def test_a_death_at_any_event_changes_nothing_but_that_a_tool_may_be_lost(
    shaped: SmallCluster, agent: str
) -> None:
    async with calling(shaped) as caller:
        undisturbed, run = await _died(shaped, caller, agent)
        assert (run["state"], undisturbed[-1][-1]) == ("succeeded", "[3, 'sunny in Oslo'] paid 20 soup")
        for start in range(0, 16, 3):
            RECORDED.clear()
            blocks, run = await _died(shaped, caller, agent, range(start, start + 24, 8))
            if agent == "worker":  # whose tools are not run twice, whatever that costs
                assert len(set(RECORDED)) == len(RECORDED)
                assert run["state"] == "succeeded" or "might have run" in run["error"]["message"]
            else:
                assert run["state"] == "succeeded"
            if run["state"] == "succeeded":
                assert blocks == undisturbed
                assert sorted(set(RECORDED)) == ["add 1 2", "pay 20", "weather Oslo"]


@script
async def do_two(prompt: Prompt) -> None:
    """A call that ends, and a question."""
    await call(add, a=1, b=2)
    await emit("message", [await ask("Which?"), await call(weather, city="Oslo")])


async def test_a_tool_that_has_ended_is_not_run_again_after_a_death(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("do_two", agent="worker")
        [asked] = await asks_of(caller, begun)
        for _ in range(3):
            shaped.kill_inferlet(begun["thread_id"])
            assert (await caller.wait(begun["run_id"]))["state"] == "waiting"
        await caller.answer(begun["run_id"], ask_id=asked["id"], value="this")
        run, blocks = await all_of(caller, begun)
        assert (run["state"], blocks[-1]["parts"][0]["json"]) == ("succeeded", ["this", "sunny in Oslo"])
        assert RECORDED == ["add 1 2", "weather Oslo"]


async def _died(
    shaped: SmallCluster, caller: Caller, agent: str, kills_at: Sequence[int] = ()
) -> tuple[list[Any], Json]:
    """What each final block is, and the run. Its actor dies at these events."""
    begun = await caller.begin("do_all", agent=agent)
    events: list[Event] = []
    async for event in caller.stream(begun["stream_url"]):
        if len(events) in kills_at:
            shaped.kill_inferlet(begun["thread_id"])
        events.append(event)
        block = event.data.get("block", {})
        if event.name == "block.created" and block["kind"] == "ask":
            given = {"ask_id": block["id"], "approve": True, "value": "soup"}
            answered = await caller.http.post(f"/api/runs/{begun['run_id']}/answers", json={"answers": [given]})
            assert answered.status_code in (202, 409), "a run that has lost a tool takes none"
    final = check(events, begun["run_id"])
    ordered = sorted(final.values(), key=lambda block: (block["turn"], block["kind"], str(block["call_id"])))
    return [(one["turn"], one["kind"], one["name"], one["state"], text_of(one)) for one in ordered], events[-1].data[
        "run"
    ]


@script
async def give_up(prompt: Prompt) -> None:
    """A call in less time than its approval takes, and a question."""
    try:
        async with asyncio.timeout(0.05):
            await call(pay, amount=20)
    except TimeoutError:
        await emit("message", await ask("Which dish?", str))


async def test_a_call_that_the_function_gives_up_ends_and_the_run_waits_for_what_comes_after(
    shaped: SmallCluster,
) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("give_up", agent="worker")
        while len(asks := await asks_of(caller, begun)) < 2:
            pass
        await rests(shaped, begun["thread_id"])
        late = await caller.answer(begun["run_id"], 409, ask_id=asks[0]["id"], approve=True)
        assert late["error"]["code"] == "already_answered"
        await caller.answer(begun["run_id"], ask_id=asks[1]["id"], value="soup")
        run, blocks = await all_of(caller, begun)
        assert (run["state"], text_of(blocks[-1]), RECORDED) == ("succeeded", "soup", [])


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_run_that_waits_for_an_answer_is_cancelled(shaped: SmallCluster, is_killed: bool) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("ask_all", agent="worker")
        await asks_of(caller, begun)
        if is_killed:
            shaped.kill_inferlet(begun["thread_id"])
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/cancel", {"mode": "rollback"}, 202)
        run, blocks = await all_of(caller, begun)
        assert (run["state"], run["reason"]) == ("cancelled", "rollback")
        assert [block["state"] for block in of_kind(blocks, "ask")] == ["cancelled"]


@script
async def tell_run(prompt: Prompt) -> None:
    """Which run it is, after others had their turn."""
    await call(add, a=1, b=2)
    await emit("message", [context().run_id, prompt.text])


async def test_functions_below_a_run_stay_apart_and_end_with_it(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        prompt = "\n".join(asking("worker", f"tell_run {name}") for name in "ab")
        run, children, blocks = await ended(caller, await caller.begin(prompt, agent="lead"))
        told = results(blocks, run["id"])
        assert sorted(told) == [[f"{run['id']}c1", "tell_run a"], [f"{run['id']}c2", "tell_run b"]]
        assert len(children) == 2
        begun = await caller.begin(asking("worker", "resist"), agent="lead")
        watched = {**begun, "stream_url": begun["stream_url"] + "&children=true"}
        await caller.until(watched, "block.completed", kind="status", name=None)
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/cancel", {}, 202)
        run, [child], _ = await ended(caller, begun)
        assert (run["reason"], child["reason"], RECORDED[-1]) == ("user", "parent", "refused")


@script
async def doubt(prompt: Prompt) -> None:
    """A call of which nobody can say whether it needs an approval, and a question."""
    try:
        await call(doubtful)
    except ZeroDivisionError as error:
        await emit("message", f"{error} {await ask('Which dish?', str)}")


async def test_a_call_fails_where_what_says_whether_it_needs_an_approval_raises(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("doubt", agent="worker")
        [asked] = await asks_of(caller, begun)
        await caller.answer(begun["run_id"], ask_id=asked["id"], value="soup")
        run, blocks = await all_of(caller, begun)
        assert (run["state"], text_of(blocks[-1])) == ("succeeded", "division by zero soup")
        [told] = of_kind(blocks, "tool_result")
        assert (told["state"], told["error"]["code"]) == ("failed", "tool_error")


class Order(BaseModel):
    """What is asked for."""

    dish: str
    number: int = Field(ge=1)


@script
async def take_order(prompt: Prompt) -> None:
    """Asks for an order."""
    ordered = await ask("What?", Order)
    assert ordered
    await emit("message", f"{ordered.number} {ordered.dish}")


async def test_a_function_asks_again_where_an_answer_is_not_valid_and_says_why(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("take_order", agent="worker")
        for number, value in enumerate(({"meal": "soup"}, {"dish": "soup", "number": 0}), 1):
            asked = (await asks_of(caller, begun))[-1]
            await caller.answer(begun["run_id"], ask_id=asked["id"], value=value)
            while len(asks := await asks_of(caller, begun)) == number:
                pass
        assert [text_of(one).splitlines()[0] for one in asks] == ["What?"] * 3
        assert "dish: Field required; number: Field required" in text_of(asks[1])
        assert "number: Input should be greater than or equal to 1" in text_of(asks[2])
        await rests(shaped, begun["thread_id"])
        await caller.answer(begun["run_id"], ask_id=asks[-1]["id"], value={"dish": "soup", "number": 2})
        run, blocks = await all_of(caller, begun)
        assert (run["state"], text_of(blocks[-1])) == ("succeeded", "2 soup")


@script
async def give_up_often(prompt: Prompt) -> None:
    """A call that is cancelled so often, and then a question."""
    picking = asyncio.create_task(call("pick"))
    await asyncio.sleep(0.1)
    for _ in range(int(prompt.text.split()[1])):
        picking.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([picking])
    await ask("go on?")
    await emit("message", "done")


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_call_that_is_cancelled_often_counts_as_given_up_once(shaped: SmallCluster, number: int) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin(f"give_up_often {number}", agent="worker")
        assert (await caller.wait(begun["run_id"], 20))["state"] == "waiting"
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/cancel", {}, 202)
