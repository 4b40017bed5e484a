"""The JavaScript client and agents, in Node, over real sockets that break."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.http.app import build_app
from api.settings import ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import calling
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_promises import ADD, called
from tests.api.cutting_proxy import proxying
from tests.api.javascript.node_script import node_script
from tests.api.live_server import serving

pytestmark = pytest.mark.node

CLIENT = """
const client = new Client(url, { patienceS: 20 });
const helper = client.agent("helper");
const streamed = async (file) => {
  const found = [];
  for await (const block of file.stream()) {
    const pieces = [];
    for await (const piece of block.stream()) pieces.push(piece);
    found.push([block.view.kind, pieces.join(""), block.text === pieces.join("")]);
  }
  return found;
};
"""


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    (tmp_path / "cluster").mkdir()
    async with scripted_cluster(tmp_path / "cluster") as small:
        yield small


@pytest.fixture
async def server(small: SmallCluster) -> AsyncIterator[str]:
    async with serving(build_app(small.greenroom, ApiSettings()), grace_s=0.0) as url:
        yield url


async def test_a_prompt_is_streamed_block_by_block_and_its_history_is_told(server: str, tmp_path: Path) -> None:
    source = f"""
    const {{ task, file }} = await helper.asyncPrompt({ADD!r});
    tell([task.state, task.id === task.requestId]);
    tell(await streamed(file));
    const run = await task.wait();
    tell([task.state, run.usage.tool_calls]);
    const said = await file.history.lastAgentMessage();
    tell([said.text, said.chatRole, said.mimeType, said.isComplete, said.tags]);
    tell((await file.history.lastUserMessage()).text);
    tell((await file.history.getMessages({{ kinds: ["tool_result"] }})).map((block) => block.view.parts[0].json));
    const again = await helper.prompt("say more", {{ contextId: file.id, labels: {{ a: "b" }} }});
    tell([again.blocks.map((block) => block.text), again.run.labels, again.file.id === file.id]);
    tell((await client.thread(file.id).history.messages()).map((block) => block.text));
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert await script.told() == ["running", True]
        blocks = await script.told()
        assert [(kind, text) for kind, text, _ in blocks if kind != "status"] == [
            ("message", ADD),
            ("tool_call", '{"a": 1, "b": 2}'),
            ("tool_result", "3"),
            ("message", "told 3"),
        ]
        assert all(is_whole for *_, is_whole in blocks)
        assert await script.told() == ["succeeded", 1]
        tags = [{"kind": "chat", "name": "role", "value": "assistant"}]
        assert await script.told() == ["told 3", "assistant", "text/plain", True, tags]
        assert await script.told() == ADD
        assert await script.told() == [3]
        assert await script.told() == [["more"], {"a": "b"}, True]
        assert await script.told() == [ADD, "told 3", "say more", "more"]


async def test_what_was_said_is_changed_in_a_fork(server: str, tmp_path: Path) -> None:
    source = """
    const { file } = await helper.prompt("say one");
    await helper.prompt("say two", { contextId: file.id });
    const said = await client.thread(file.id).blocks();
    for (const after of [said[1], said[1].id, said[1].view.seq, 0]) {
      const fork = await file.fork(after, { idempotencyKey: after === 0 ? "none" : "once" });
      await helper.prompt("say three", { contextId: fork.id });
      tell((await fork.blocks()).map((block) => block.text));
    }
    tell((await client.threads()).length);
    try { await file.fork("nothing"); } catch (error) { tell(error.code); }
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        for number in range(1, 4):
            assert await script.told() == ["say one", "one", *["say three", "three"] * number]
        assert await script.told() == ["say three", "three"]
        assert await script.told() == 3
        assert await script.told() == "block_not_found"


async def test_connections_that_break_at_any_byte_lose_and_repeat_nothing(server: str, tmp_path: Path) -> None:
    line = called("letters", text="añb😀c" * 5)
    source = f"""
    const {{ task, file }} = await helper.asyncPrompt({line!r});
    await task.wait();
    tell(await streamed(file));
    await hear();
    tell(await streamed(file));
    const events = [];
    for await (const {{ name, position }} of client.thread(file.id).events()) {{
      events.push([name, position]);
      if (name === "run.ended") break;
    }}
    tell(events);
    await client.close();
    """
    async with (
        proxying(server) as (url, proxy),
        node_script(tmp_path, url, CLIENT + source, client_url=server) as script,
    ):
        whole = await script.told()
        proxy.cut()
        proxy.limits = [3000, 2500, 1, 4000, 3333, 2801, 3500]
        await script.say("cut")
        assert await script.told() == whole
        assert proxy.num_cut >= 5
        proxy.cut()
        proxy.limits = [2000, 5000, 700]
        names, positions = zip(*await script.told(), strict=True)
    assert whole[-1][1] == f"told {chr(10).join('añb😀c' * 5)}"
    assert names.count("run.ended") == 1
    assert len(set(positions)) == len(positions)


async def test_a_thread_shows_runs_that_others_begin_and_goes_on_after_a_position(
    server: str, small: SmallCluster, tmp_path: Path
) -> None:
    source = """
    const { file } = await helper.prompt("say first");
    tell(file.id);
    const texts = [];
    let place = null;
    for await (const { name, data, position } of client.thread(file.id).events()) {
      if (name === "block.completed" && data.block.kind === "message") texts.push(data.block.parts[0].text);
      place = position;
      if (texts.includes("second")) break;
    }
    tell(texts);
    const later = client.thread(file.id, { after: place });
    await helper.asyncPrompt("say third", { contextId: file.id });
    for await (const block of later.stream({ kinds: ["message"] })) {
      for await (const piece of block.stream()) void piece;
      tell(block.text);
      if (block.chatRole === "assistant") break;
    }
    await client.close();
    """
    async with calling(small) as caller, node_script(tmp_path, server, CLIENT + source) as script:
        await caller.prompt("say second", await script.told())
        assert await script.told() == ["say first", "first", "say second", "second"]
        assert [await script.told(), await script.told()] == ["say third", "third"]


async def test_an_ask_is_answered_and_a_failed_run_is_thrown(server: str, tmp_path: Path) -> None:
    pays = "\n".join([called("pay", amount=20)] * 2)
    source = f"""
    const {{ task, file }} = await helper.asyncPrompt({pays!r}, {{ contextId: "named" }});
    tell([(await task.wait()).state, task.state]);
    const [ask, other] = await file.blocks({{ kinds: ["ask"] }});
    tell(ask.view.ask.type);
    await task.answer(ask.id, {{ approve: true }});
    tell(await failure(client.task(task.id).answer(ask.id, {{ approve: true }})));
    await task.answer(other.id, {{ approve: false, reason: "no" }});
    tell((await task.wait()).state);
    const limits = {{ maxTokens: 5 }};
    const limited = helper.prompt("say 1234567", {{ contextKeys: {{ a: 1 }}, limits }});
    tell(await failure(limited));
    tell(await limited.catch((error) => error.run.reason));
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert await script.told() == ["waiting", "running"]
        assert await script.told() == "approval"
        assert (await script.told())["code"] == "already_answered"
        assert await script.told() == "succeeded"
        failed = await script.told()
        assert (failed["code"], failed["retryable"]) == ("run_failed", False)
        assert "failed (budget): the model said as many tokens as it may" in failed["message"]
        assert await script.told() == "budget"
    assert RECORDED == ["pay 20"]


async def test_a_run_is_waited_for_steered_and_cancelled(server: str, tmp_path: Path) -> None:
    source = f"""
    const {{ task, file }} = await helper.asyncPrompt({called("hold", name="a")!r});
    for await (const block of file.stream()) if (block.text === "holding a") break;
    tell(await failure(task.wait(0.05)));
    await task.steer("say steered");
    tell("steered");
    await task.wait();
    tell((await file.history.messages()).map((block) => block.text));
    tell(await failure(task.steer("late")));
    const held = await helper.asyncPrompt({called("hold", name="b")!r}, {{ contextId: file.id }});
    const busy = await failure(helper.asyncPrompt("say x", {{ contextId: file.id, ifBusy: "reject" }}));
    tell(busy);
    await held.task.cancel();
    tell((await failure(held.task.wait())).message);
    tell([held.task.state, (await held.task.refresh()).state]);
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        late = await script.told()
        assert (late["code"], late["retryable"]) == ("timeout", True)
        assert await script.told() == "steered"
        HELD["a"].set()
        assert (await script.told())[-2:] == ["say steered", "steered"]
        assert (await script.told())["code"] == "run_ended"
        assert (await script.told())["code"] == "thread_busy"
        assert "cancelled (user)" in await script.told()
        assert await script.told() == ["failed", "cancelled"]


async def test_runs_that_others_began_come_where_they_are_asked_for(server: str, tmp_path: Path) -> None:
    source = f"""
    const {{ task, file }} = await client.agent("boss").asyncPrompt({called("expert", prompt="say deep")!r});
    await task.wait();
    for (const children of [false, true]) {{
      const texts = [];
      for await (const block of file.stream({{ kinds: ["message"], children }})) {{
        for await (const piece of block.stream()) void piece;
        if (block.chatRole === "assistant") texts.push(block.text);
      }}
      tell(texts);
      tell((await file.blocks({{ children, roles: ["assistant"], kinds: ["message"] }})).map((block) => block.text));
    }}
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert [await script.told() for _ in range(2)] == [["told deep"]] * 2
        assert [await script.told() for _ in range(2)] == [["deep", "told deep"]] * 2


async def test_files_of_tools_are_read_as_bytes(server: str, tmp_path: Path) -> None:
    source = f"""
    const {{ file }} = await helper.prompt({called("several", number=7)!r});
    const [result] = await file.blocks({{ kinds: ["tool_result"] }});
    tell(result.view.parts.map((part) => part.type));
    tell([...await file.bytes(result.id, 2)]);
    tell(await failure(file.bytes(result.id, 9)));
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert await script.told() == ["text", "json", "file"]
        assert await script.told() == [0, 255]
        assert (await script.told())["status"] == 400


async def test_one_key_begins_one_run(server: str, tmp_path: Path) -> None:
    source = """
    const options = { contextId: "mine", idempotencyKey: "k" };
    const begun = [await helper.asyncPrompt("say once", options), await helper.asyncPrompt("say once", options)];
    tell(begun[0].task.id === begun[1].task.id);
    tell(await failure(helper.asyncPrompt("say other", options)));
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert await script.told() is True
        assert (await script.told())["code"] == "idempotency_conflict"


async def test_agents_and_threads_are_listed_and_deleted(server: str, tmp_path: Path) -> None:
    source = """
    tell((await client.agents()).map((agent) => agent.name));
    tell(await failure(client.agent("no body?").asyncPrompt("hello")));
    const { file } = await client.agent("plain").prompt("say hello", { contextId: "mine" });
    const reading = (async () => { for await (const block of client.thread(file.id).stream()) void block; })();
    const [thread] = await client.threads();
    tell([thread.id === file.id, thread.context_id, thread.agent, (await file.describe()).id === file.id]);
    await file.delete();
    tell((await failure(reading)).code);
    tell((await failure(client.thread(file.id).describe())).code);
    tell(await client.threads());
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert "helper" in await script.told()
        assert (await script.told())["code"] == "agent_not_found"
        assert await script.told() == [True, "mine", "plain", True]
        assert [await script.told(), await script.told()] == ["thread_deleted", "thread_deleted"]
        assert await script.told() == []


async def test_agents_are_uploaded_and_forgotten(server: str, tmp_path: Path) -> None:
    agents = "from api.agents import Agent\ncook = Agent(name='cook')\n"
    source = f"""
    tell(await client.uploadAgents({agents!r}, "kitchen.py"));
    await client.agent("cook").delete();
    tell((await failure(client.agent("cook").delete())).code);
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert await script.told() == [{"name": "cook", "source": "kitchen.py"}]
        assert await script.told() == "agent_not_found"
