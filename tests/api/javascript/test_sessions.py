"""The JavaScript client and sessions, in Node, over real sockets that break."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from api.answers.formats import CALL_FORMATS, AnswerFormat
from api.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from api.errors import LengthExceeded, TooBusy
from api.tools import ToolChoice
from api.turns import Message
from tests.api.cutting_proxy import proxying
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.javascript.node_script import node_script
from tests.api.pages.site import SteadyPace
from tests.api.session_client import new_session
from tests.api.toy_answers import chat_ids, continuation
from tests.api.toy_model import says

pytestmark = pytest.mark.node

PROMPT = chat_ids(("user", "hello"))
OPEN = """
const client = new Client(url, { patienceS: 20 });
const session = await client.openSession({ system: null });
"""


async def test_an_answer_comes_in_pieces_or_whole(server: str, tmp_path: Path) -> None:
    source = """
    const names = (await client.models()).map((model) => model.name);
    tell([names, (await client.sessions()).map((one) => one.id), session.id]);
    const answer = session.generate("hello", { maxTokens: 20 });
    let text = "";
    for await (const piece of answer) text += piece;
    tell([text, answer.text, answer.finish.reason, answer.usage.output_tokens, answer.start.base_length]);
    tell([await answer.whole(), await session.generate("more", { maxTokens: 5 }).whole()]);
    tell((await session.describe()).turns.map((turn) => turn.text));
    await session.close();
    tell((await client.sessions()).length);
    """
    expected = continuation(PROMPT, 20)
    second = continuation([*PROMPT, *expected.encode(), *chat_ids(("user", "more"))[1:]], 5)
    async with node_script(tmp_path, server, OPEN + source) as script:
        models, sessions, session_id = await script.told()
        assert (models, sessions) == (["toy", "other"], [session_id])
        assert await script.told() == [expected, expected, "length", 20, 0]
        whole = await script.told()
        assert whole[0] == expected
        assert await script.told() == whole
        assert await script.told() == 0
    assert len(whole[1]) == len(second) == 5


async def test_a_session_has_a_title_and_is_renamed(server: str, tmp_path: Path) -> None:
    source = """
    const client = new Client(url);
    const session = await client.openSession({ title: "a plan" });
    tell([session.description.title, (await session.rename("another plan")).title]);
    tell((await client.sessions()).map((one) => one.title));
    """
    async with node_script(tmp_path, server, source) as script:
        assert await script.told() == ["a plan", "another plan"]
        assert await script.told() == ["another plan"]


async def test_the_turns_of_others_are_heard_where_they_are_wanted(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = f"""
    const client = new Client(url);
    const id = "{await new_session(cluster)}";
    const [mine, deaf, theirs] = [client.session(id), client.session(id), client.session(id)];
    mine.onTurn = async (answer) => tell([answer.turnId, await answer.whole(), answer.start.base_length]);
    mine.connect();
    deaf.connect();
    await sleep(0.5);
    await theirs.generate("hello", {{ maxTokens: 20, turnId: "a" }}).whole();
    await sleep(0.5);
    await mine.generate("more", {{ maxTokens: 5, turnId: "b" }}).whole();
    tell("end");
    await client.close();
    """
    async with node_script(tmp_path, server, source) as script:
        assert await script.told() == ["a", continuation(PROMPT, 20), 0]
        assert await script.told() == "end"


async def test_the_system_prompt_opens_the_first_turn_only(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    source = """
    const client = new Client(url);
    const session = await client.openSession({ system: "be kind", retention: { policy: "drop" }, adapter: "pirate" });
    await session.generate("hello", { maxTokens: 3, sampling: { temperature: 0.5, seed: 7 } }).whole();
    await session.generate([{ role: "user", content: "again" }], { maxTokens: 3 }).whole();
    await client.close();
    """
    async with node_script(tmp_path, server, source):
        pass
    first, second = (turn.request for turn in cluster.turns)
    assert [part.content for part in first.prompt] == ["be kind", "hello"]  # type: ignore[union-attr]
    assert [part.content for part in second.prompt] == ["again"]  # type: ignore[union-attr]
    assert (first.sampling.temperature, first.sampling.seed, first.stop.max_tokens) == (0.5, 7, 3)
    (session,) = cluster.open_sessions.values()
    assert (session.options.retention.policy, session.options.adapter) == ("drop", "pirate")


async def test_connections_that_break_at_ten_random_points_lose_and_repeat_no_token(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    """Node sends a socket's handshake over a connection that it has kept, where it has one; here it has none."""
    source = f"""
    const session = new Client(url, {{ patienceS: 20 }}).session("{await new_session(cluster)}");
    tell(await session.generate("hello", {{ maxTokens: 300 }}).whole());
    session.detach();
    """
    cluster.pace = SteadyPace(0.002)
    async with proxying(server) as (url, proxy):
        chance = random.Random(7)
        proxy.limits = [chance.randrange(1, 2000) for _ in range(10)]
        async with node_script(tmp_path, url, source, client_url=server) as script:
            told = await script.told()
    assert told == continuation(PROMPT, 300)
    assert proxy.num_cut == 10
    assert len(cluster.turns) == 1


async def test_a_connection_that_is_never_answered_is_given_up(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = f"""
    const session = new Client(url, {{ timeoutS: 0.5 }}).session("{await new_session(cluster)}");
    tell(await session.generate("hello", {{ maxTokens: 20 }}).whole());
    session.detach();
    """
    connections: list[asyncio.StreamWriter] = []

    async with proxying(server) as (_, proxy):

        async def answer_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            if len(connections) > 1:
                await proxy.relay(reader, writer)

        silent = await asyncio.start_server(answer_the_second, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        async with silent, node_script(tmp_path, url, source, client_url=server) as script:
            assert await script.told() == continuation(PROMPT, 20)
        connections[0].transport.abort()
    assert len(connections) == 2


async def test_a_cancelled_answer_ends_and_its_session_goes_on(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    const answer = session.generate("hello");
    for await (const piece of answer) {
      tell(piece);
      answer.cancel();
    }
    tell([answer.finish.reason, answer.text]);
    tell(await session.generate("more", { maxTokens: 5 }).whole());
    await client.close();
    """
    cluster.pace.hold()
    async with node_script(tmp_path, server, OPEN + source) as script:
        async with cluster.begun:
            cluster.pace.allow(3)
        first = await script.told()
        while isinstance(told := await script.told(), str):
            first += told
        assert told == ["cancelled", first]
        cluster.pace.release()
        assert len(await script.told()) == 5


async def test_a_turn_can_be_followed_by_another_client_from_any_token(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    const answer = session.generate("hello", { maxTokens: 20, turnId: "mine" });
    await answer.whole();
    const other = new Client(url).session(session.id);
    tell([answer.turnId, await other.resume("mine").whole(), await other.resume("mine", 15).whole()]);
    tell(await failure(other.resume("unknown").whole()));
    other.detach();
    tell(await failure(other.resume("mine").whole()).then((found) => found.unexpected.length));
    other.detach();
    await client.close();
    """
    expected = continuation(PROMPT, 20)
    async with node_script(tmp_path, server, OPEN + source) as script:
        assert await script.told() == ["mine", expected, expected[15:]]
        assert (await script.told())["code"] == "turn_not_found"
        assert await script.told() == 20


async def test_branches_and_undoing(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    source = """
    const first = await session.generate("hello", { maxTokens: 20, turnId: "one" }).whole();
    await session.generate("more", { maxTokens: 5 }).whole();
    const branch = await session.fork({ turnId: "one" });
    tell([first, await branch.generate("hello", { maxTokens: 20 }).whole(), branch.description.length]);
    tell((await session.rollback({ length: 0 })).length);
    tell(await failure(session.rollback({ turnId: "unknown" })));
    await client.close();
    """
    expected = continuation(PROMPT, 20)
    async with node_script(tmp_path, server, OPEN + source) as script:
        assert await script.told() == [expected, expected, 0]
        assert await script.told() == 0
        assert (await script.told())["status"] == 404


async def test_errors_of_turns_are_thrown_where_the_answer_is_read(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    tell(await failure(session.generate("hello").whole()));
    await hear();
    tell((await session.generate("hello", { maxTokens: 20 }).whole()).length);
    tell(await failure(client.session("nothing").generate("hello").whole()));
    const lonely = new Client(url, { WebSocket: class { constructor() { throw new SyntaxError("no"); } } });
    tell(await failure(lonely.session(session.id).generate("hello").whole()));
    await client.close();
    """
    cluster.refusal = LengthExceeded(10, 20, 25)
    async with node_script(tmp_path, server, OPEN + source) as script:
        refused = await script.told()
        assert (refused["code"], refused["retryable"]) == ("length_exceeded", False)
        assert "Maximum length exceeded" in refused["message"]
        cluster.refusal = TooBusy("one moment")
        await script.say("go")
        assert await script.told() == 20, "what is retryable is tried again"
        gone, unauthorized = await script.told(), await script.told()
    assert (gone["code"], gone["status"]) == ("session_not_found", 404)
    assert unauthorized["code"] == "unauthorized"


async def test_a_server_that_is_gone_for_good_ends_the_answer(server: str, tmp_path: Path) -> None:
    source = """
    const client = new Client("http://127.0.0.1:9", { patienceS: 0.3 });
    const states = [];
    const session = client.session("any");
    session.onState = (state) => states.push(state);
    tell(await failure(session.generate("hello").whole()));
    tell([states[0], states.at(-1)]);
    """
    async with node_script(tmp_path, server, source) as script:
        assert (await script.told())["code"] == "unavailable"
        assert await script.told() == ["connecting", "closed"]


@pytest.mark.parametrize(
    ("constraint", "meant"),
    [
        ('{ jsonSchema: { type: "integer" } }', JsonSchema('{"type": "integer"}')),
        ('{ regex: "a+" }', Regex("a+")),
        ('{ choice: ["yes", "no"] }', Choice(("yes", "no"))),
        ("{ grammar: 'root ::= \"a\"' }", Grammar('root ::= "a"')),
    ],
)
async def test_an_answer_is_held_to_a_constraint_and_to_some_tokens(
    server: str, cluster: FakeCluster, tmp_path: Path, constraint: str, meant: Constraint
) -> None:
    source = f"""
    await session.generate("hello", {{ maxTokens: 2, constraint: {constraint}, allowedTokens: [5, 6] }}).whole();
    tell("done");
    await client.close();
    """
    async with node_script(tmp_path, server, OPEN + source) as script:
        assert await script.told() == "done"
    [turn] = cluster.turns
    assert (turn.request.constraint, turn.request.allowed_tokens) == (meant, (5, 6))


async def test_the_next_tokens_likeliest_ones_are_told(server: str, tmp_path: Path) -> None:
    source = """
    tell(await session.nextDistribution(3, "hello"));
    tell((await session.nextDistribution(2, null, { text: "more" })).top.length);
    tell(await failure(session.nextDistribution(5000)));
    await client.close();
    """
    async with node_script(tmp_path, server, OPEN + source) as script:
        assert await script.told() == {"top": [[0, 0], [1, -1], [2, -2]], "entropy": 0.5}
        assert await script.told() == 2
        assert (await script.told())["code"] == "invalid_request"


async def test_calls_of_tools_come_and_their_results_go(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    answers = AnswerFormat(CALL_FORMATS["hermes"], ("<think>", "</think>"))
    cluster.infos = (replace(TOY, answers=answers),)
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    cluster.model = says(f"<think>Hm.</think>Let me see. {call}</s>", "Sunny.</s>")
    source = """
    const tools = [{ name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } }];
    const asked = session.generate("Weather?", { tools, toolChoice: { names: ["weather"] }, turnId: "a" });
    tell([await asked.whole(), asked.reasoning, asked.calls]);
    const result = resultOf(asked.calls[0], "sunny");
    const answer = session.generate([result], { tools, toolChoice: "none", parallelToolCalls: false });
    tell([await answer.whole(), answer.calls]);
    await client.close();
    """
    async with node_script(tmp_path, server, OPEN + source) as script:
        called = {"id": "call_a_0", "name": "weather", "arguments": '{"city": "Rome"}', "isComplete": True}
        assert await script.told() == ["Let me see.", "Hm.", [called]]
        assert await script.told() == ["Sunny.", []]
    first, second = (turn.request for turn in cluster.turns)
    assert [tool.name for tool in first.tools] == ["weather"]
    assert (first.tool_choice, second.tool_choice) == (ToolChoice.of("weather"), ToolChoice("none"))
    assert (first.parallel_tool_calls, second.parallel_tool_calls) == (True, False)
    assert second.prompt == (Message("tool", "sunny", tool_call_id="call_a_0", name="weather"),)
