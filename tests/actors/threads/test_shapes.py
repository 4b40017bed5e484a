"""Agents of a shape of their own: functions under ``@agent``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from api.agents import CallFailed, File, Prompt, ask, call, context, emit, handoff, memory, status
from api.errors import InvalidRequest
from api.inferlet import continue_as_new, recv
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import (
    HELD,
    RECORDED,
    add,
    expert,
    fail,
    hold,
    pay,
    several,
    slow,
    teller,
)
from tests.actors.threads.caller import calling, check, text_of
from tests.actors.threads.shapes import all_of, lead, of_kind, script, worked
from tests.actors.threads.test_asks import asks_of, rests
from tests.actors.threads.test_children import asking, ended, engine_of, results
from tests.actors.threads.test_promises import called


@script
async def tell_values(prompt: Prompt) -> None:
    """One call after another, each of another kind."""
    values = [await call(add, a=1, b=2), await call("weather", city="Oslo"), await call(several, number=4)]
    for tool, arguments in ((fail, {"why": "so"}), (slow, {}), (add, {"a": "x", "b": 1})):
        try:
            await call(tool, **arguments)
        except (ValueError, CallFailed) as error:
            values.append(f"{type(error).__name__} {getattr(error, 'code', '')} {error}")
    assert values[2] == ("text", {"number": 4}, File(b"\x00\xff", "image/x-test", "dot"))
    await emit("message", (values[0], values[1], *values[3:]))


async def test_calls_come_to_what_the_tools_return_and_raise_what_they_raise(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        run, blocks = await worked(caller, "tell_values")
        assert (run["state"], run["usage"]["tool_calls"], run["usage"]["model_calls"]) == ("succeeded", 6, 0)
        calls, told = of_kind(blocks, "tool_call"), of_kind(blocks, "tool_result")
        assert [one["call_id"] for one in calls] == [one["call_id"] for one in told]
        assert len({one["call_id"] for one in calls}) == 6
        assert [one["turn"] for one in calls] == list(range(6)), "each is a step of its own"
        assert calls[0]["parts"][0]["json"] == {"a": 1, "b": 2}
        parts = of_kind(blocks, "message")[-1]["parts"]
        assert (parts[0]["json"], parts[1]["text"], parts[2]["text"]) == (3, "sunny in Oslo", "ValueError  so")
        assert parts[3]["text"].startswith("CallFailed timeout slow took longer")
        assert parts[4]["text"].startswith("CallFailed invalid_arguments")
        assert of_kind(blocks, "status")[0]["name"] == "tool"


async def test_calls_at_once_have_ids_in_their_order_and_are_one_step(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        _, blocks = await worked(caller, "call_together")
        calls = of_kind(blocks, "tool_call")
        assert [one["name"] for one in calls] == ["pause", "add", "add"]
        assert [one["call_id"].rpartition("_")[2] for one in calls] == ["0", "1", "2"]
        assert {one["turn"] for one in calls} == {0}
        assert of_kind(blocks, "tool_result")[-1]["name"] == "pause", "they run together"
        assert text_of(blocks[-1]) == "['rested', 2, 4]"


@script
async def pay_for_it(prompt: Prompt) -> None:
    """A call that needs an approval, beside one that holds."""
    try:
        held, paid = await asyncio.gather(call(hold, name="beside"), call(pay, amount=20))
        await emit("message", f"{held} {paid}")
    except CallFailed as error:
        await emit("message", f"{error.code}: {error}")


async def test_a_run_waits_for_an_approval_when_nothing_else_goes_on_and_takes_no_actor(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("pay_for_it", agent="worker")
        await caller.until(begun, "block.created", kind="status", name=None)
        await caller.until(begun, "block.created", kind="ask")
        assert (await caller.ask("GET", f"/api/runs/{begun['run_id']}"))["run"]["state"] == "running"
        HELD["beside"].set()
        [asked] = await asks_of(caller, begun)
        await rests(shaped, begun["thread_id"])
        await caller.answer(begun["run_id"], ask_id=asked["id"], approve=True)
        run, blocks = await all_of(caller, begun)
        assert (run["state"], text_of(blocks[-1])) == ("succeeded", "beside paid 20")
        assert RECORDED == ["hold beside", "held beside", "pay 20"]


async def test_a_call_that_is_denied_raises_with_the_reason(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        HELD["beside"].set()
        begun = await caller.begin("pay_for_it", agent="worker")
        [asked] = await asks_of(caller, begun)
        await caller.answer(begun["run_id"], ask_id=asked["id"], approve=False, reason="too much")
        run, blocks = await all_of(caller, begun)
        assert (run["state"], text_of(blocks[-1])) == ("succeeded", "denied: too much")
        assert "pay 20" not in RECORDED


@script
async def pick_one(prompt: Prompt) -> None:
    """A call of the caller's."""
    await emit("message", await call("pick", of=[1, 2]))


async def test_a_client_tool_is_an_ask_and_its_answer_is_the_result(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("pick_one", agent="worker")
        [asked] = await asks_of(caller, begun)
        assert asked["ask"]["type"] == "client_tool"
        await caller.answer(begun["run_id"], ask_id=asked["id"], value={"picked": 2})
        _, blocks = await all_of(caller, begun)
        assert blocks[-1]["parts"][0]["json"] == {"picked": 2}


@script
async def stream_it(prompt: Prompt) -> None:
    """What a model says, as it comes, and parts of several kinds."""
    model = prompt.model.create_context()
    model.fill_user("say hello there")
    await emit("reasoning", "so be it")
    await emit("message", model.generate())

    async def mixed() -> AsyncIterator[object]:
        yield "a"
        await call(hold, name="mixed")
        yield "b"
        yield {"c": 1}
        yield "d"

    await emit("message", mixed())


async def test_what_comes_is_shown_as_it_comes_and_what_models_say_counts(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("stream_it", agent="worker")
        async for event in caller.stream(begun["stream_url"]):
            if event.name == "block.delta" and event.data["text"] == "a":
                HELD["mixed"].set()
        run, blocks = await all_of(caller, begun)
        thought, said, mixed = [block for block in blocks if block["kind"] in ("reasoning", "message")][1:]
        assert (thought["kind"], text_of(thought), text_of(said)) == ("reasoning", "so be it", "hello there")
        assert [part.get("text", part.get("json")) for part in mixed["parts"]] == ["ab", {"c": 1}, "d"]
        assert (run["usage"]["model_calls"], run["usage"]["completion_tokens"]) == (1, len("hello there") + 1)
        assert run["usage"]["prompt_tokens"] > 0


@script
async def tell_how(prompt: Prompt) -> None:
    """Statuses with names and without, and what is there inside."""
    await status("one")
    status("two", "own")
    await memory.put("key", context().run_id)
    await emit("message", [await memory.get("key"), prompt.text, [part.text for part in prompt.parts]])


async def test_statuses_come_unless_the_agent_does_not_tell_them_and_its_memory_is_there(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        run, blocks = await worked(caller, "tell_how it")
        assert [text_of(block) for block in of_kind(blocks, "status")] == ["one", "two"]
        assert blocks[-1]["parts"][0]["json"] == [run["id"], "tell_how it", ["tell_how it"]]
        run, blocks = await worked(caller, "tell_how it", "bounded")
        assert [text_of(block) for block in of_kind(blocks, "status")] == ["two"]
        assert (run["reason"], run["error"]["message"]) == (
            "agent_error",
            "InvalidRequest: agent 'bounded' has no memory",
        )


@script
async def hand_on(prompt: Prompt) -> None:
    """A call, and another agent goes on."""
    await call(add, a=2, b=3)
    try:
        await handoff(teller)
    finally:
        RECORDED.append("left")
    RECORDED.append("went on")


async def test_a_function_hands_over_to_a_model_that_knows_what_was_done(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("hand_on", "talk", agent="worker")
        run, blocks = await all_of(caller, begun)
        assert (run["agent"], run["state"], RECORDED) == ("teller", "succeeded", ["add 2 3", "left"])
        [handed] = of_kind(blocks, "handoff")
        assert (handed["name"], handed["agent"]) == ("teller", "worker")
        assert (blocks[-1]["agent"], text_of(blocks[-1])) == ("teller", "told 5")
        assert [role for role, _ in engine_of(shaped).read[-1]] == ["system", "user", "assistant", "tool"]
        shaped.kill_inferlet(begun["thread_id"])
        later = await caller.prompt("list", "talk", agent="worker")
        assert later["run"]["agent"] == "teller"
        assert "tool: 5 | assistant: told 5 | user: list" in text_of(later["blocks"][0])


async def test_a_model_hands_over_to_a_function_which_knows_what_was_said(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        await caller.prompt("say hello", "talk", agent="lead")
        await caller.prompt(called("transfer_to_worker"), "talk", agent="lead")
        begun = await caller.begin("tell_history", "talk", agent="lead")
        run, blocks = await all_of(caller, begun)
        assert run["agent"] == "worker"
        assert text_of(blocks[-1]).startswith("user: say hello | assistant: hello | user: ")
        shaped.kill_inferlet(begun["thread_id"])
        again = await caller.begin("tell_history", "talk", agent="lead")
        _, later = await all_of(caller, again)
        assert text_of(later[-1]) == f"{text_of(blocks[-1])} | user: tell_history | assistant: {text_of(blocks[-1])}"


@script
async def delegate(prompt: Prompt) -> None:
    """Asks an agent that is a model, twice at once."""
    prompts = called("add", a=1, b=1), "say on"
    await emit("message", list(await asyncio.gather(*(call(expert, prompt=prompt) for prompt in prompts))))


async def test_a_function_calls_an_agent_and_is_called_by_one(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("delegate", agent="worker")
        run, children, blocks = await ended(caller, begun)
        assert {child["agent"] for child in children} == {"expert"}
        assert sorted(results(blocks, run["id"])) == ["on", "told 2"]
        assert run["usage"]["of_children"]["model_calls"] == 3
        begun = await caller.begin(asking("worker", "delegate"), agent="lead")
        run, children, blocks = await ended(caller, begun)
        assert [child["agent"] for child in children].count("worker") == 1
        assert results(blocks, run["id"]) == [["told 2", "on"]]
        assert run["state"] == "succeeded"


async def test_an_ask_of_a_function_below_is_answered_at_the_run_above(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        HELD["beside"].set()
        begun = await caller.begin(asking("worker", "pay_for_it"), agent="lead")
        assert (await caller.wait(begun["run_id"]))["state"] == "waiting"
        [asked] = await caller.blocks(begun["thread_id"], f"run_id={begun['run_id']}&kinds=ask&children=true")
        shaped.kill_inferlet(begun["thread_id"])
        await caller.answer(begun["run_id"], ask_id=asked["id"], approve=True)
        run, _, blocks = await ended(caller, begun)
        assert (run["state"], results(blocks, run["id"])) == ("succeeded", ["beside paid 20"])


@script
async def be_steered(prompt: Prompt) -> None:
    """Holds at first."""
    if prompt.text == "be_steered":
        await call(hold, name="steered")
    await emit("message", f"did {prompt.text} after {len(prompt.history)}")


async def test_a_function_runs_again_with_what_its_run_was_steered_with(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("be_steered", "t", agent="bounded")
        await caller.until(begun, "block.created", kind="tool_call")
        for text in ("be_steered to", "and fro"):
            assert (await caller.begin(text, "t", agent="bounded"))["run_id"] == begun["run_id"]
        HELD["steered"].set()
        run, blocks = await all_of(caller, begun)
        said = [text_of(block) for block in of_kind(blocks, "message") if block["role"] == "assistant"]
        assert (run["state"], said) == ("succeeded", ["did be_steered after 0", "did be_steered to\n\nand fro after 4"])


@script
async def do_wrong(prompt: Prompt) -> None:
    """What cannot be done."""
    found = []
    for wrong in (
        lambda: call("nothing"),
        lambda: call("transfer_to_teller"),
        lambda: call(add, a=object(), b=1),
        lambda: emit("tool_call", "x"),  # type: ignore[arg-type]
        lambda: emit("message", "\ud800"),
        lambda: emit("message", object()),
        lambda: handoff(lead),
        lambda: recv(),
        lambda: continue_as_new(),
    ):
        try:
            await wrong()
        except InvalidRequest as error:
            found.append(str(error)[:40])
    await emit("message", found)


async def test_what_a_function_cannot_do_is_refused_in_its_own_line(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        run, blocks = await worked(caller, "do_wrong")
        assert run["state"] == "succeeded"
        assert len(blocks[-1]["parts"][0]["json"]) == 9
        assert of_kind(blocks, "tool_call") == []


SOURCE = '''
from api.agents import Prompt, agent, call, emit, tool


@tool
def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


@agent(name="doubler", tools=[double])
async def work(prompt: Prompt) -> None:
    await emit("message", await call(double, number=int(prompt.text)))


@agent
async def echo(prompt: Prompt) -> None:
    await emit("message", prompt.text)
'''


async def test_functions_are_uploaded_like_other_agents(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        uploaded = await caller.ask("POST", "/api/agents", {"source": SOURCE, "file": "own.py"}, 201)
        assert sorted(one["name"] for one in uploaded["agents"]) == ["doubler", "echo"]
        _, blocks = await worked(caller, "21", "doubler")
        assert blocks[-1]["parts"][0]["json"] == 42
        _, blocks = await worked(caller, "hello", "echo")
        assert text_of(blocks[-1]) == "hello"


@script
async def ask_beside(prompt: Prompt) -> None:
    """A question, beside what a model says and a call after that."""
    model = prompt.model.create_context()
    model.fill_user(f"say {'x' * 50}")

    async def work() -> None:
        await model.generate()
        await asyncio.sleep(0)
        await call(add, a=1, b=2)

    dish, _ = await asyncio.gather(ask("Which dish?", str), work())
    await emit("message", dish)


async def test_a_run_does_not_wait_while_its_function_works_beside_a_question(shaped: SmallCluster) -> None:
    engine_of(shaped).step_s = 0.005
    async with calling(shaped) as caller:
        begun = await caller.begin("ask_beside", agent="worker")
        [asked] = await asks_of(caller, begun)
        await caller.answer(begun["run_id"], ask_id=asked["id"], value="soup")
        events = await caller.events(begun)
        check(events, begun["run_id"])
        states = [event.data["run"]["state"] for event in events if event.name.startswith("run.")]
        assert states == ["running", "waiting", "running", "succeeded"]
        waits = next(one.data["seq"] for one in events if one.data.get("run", {}).get("state") == "waiting")
        [told] = [one for one in events if one.name == "block.completed" and one.data["block"]["kind"] == "tool_result"]
        assert told.data["seq"] < waits
