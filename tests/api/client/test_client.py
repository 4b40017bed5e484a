from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest

from api.client import Client
from api.cluster import Retention
from api.errors import (
    InvalidRequest,
    LengthExceeded,
    ModelNotFound,
    SessionNotFound,
    TooBusy,
    TurnNotFound,
    TurnRunning,
    Unauthorized,
    Unavailable,
    UnknownAdapter,
)
from api.http.app import build_app
from api.settings import ApiKey, ApiSettings
from api.turns import Message, Sampling
from tests.api.cutting_proxy import proxying
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.toy_answers import chat_ids, continuation

PROMPT = chat_ids(("user", "hello"))


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def server(cluster: FakeCluster) -> AsyncIterator[str]:
    async with serving(build_app(cluster, ApiSettings())) as base_url:
        yield base_url


@pytest.fixture
async def client(server: str) -> AsyncIterator[Client]:
    async with Client(server, patience_s=5) as client:
        yield client


async def test_models_and_sessions_are_listed(client: Client) -> None:
    assert [model.name for model in await client.models()] == ["toy", "other"]
    session = await client.open_session("other")
    assert [(summary.id, summary.model) for summary in await client.sessions()] == [(session.session_id, "other")]


async def test_a_session_has_a_title_and_is_renamed(client: Client) -> None:
    session = await client.open_session(title="a plan")
    assert (await session.describe()).title == "a plan"
    assert (await session.rename("another plan")).title == "another plan"
    assert [summary.title for summary in await client.sessions()] == ["another plan"]
    with pytest.raises(InvalidRequest, match="title"):
        await session.rename("")


async def test_an_answer_can_be_awaited(client: Client) -> None:
    answer = (await client.open_session()).generate("hello", max_tokens=20)
    assert await answer == answer.text == continuation(PROMPT, 20)
    assert answer.finish is not None
    assert answer.finish.reason == "length"
    assert answer.usage is not None
    assert (answer.usage.output_tokens, answer.usage.context_tokens) == (20, len(PROMPT) + 20)


async def test_an_answer_comes_in_pieces(client: Client, cluster: FakeCluster) -> None:
    session = await client.open_session()
    cluster.pace.hold()
    answer = aiter(session.generate("hello", max_tokens=5))
    pieces = []
    for _ in range(5):
        cluster.pace.allow(1)
        pieces.append(await anext(answer))
    assert pieces == list(continuation(PROMPT, 5))


async def test_turns_follow_each_other_on_one_connection(server: str) -> None:
    async with proxying(server) as (base_url, proxy), Client(base_url) as client:
        session = await client.open_session()
        first = await session.generate("hello", max_tokens=4)
        second = await session.generate("more", max_tokens=4)
        assert second == continuation([*PROMPT, *first.encode(), *chat_ids(("user", "more"))], 4)
        assert proxy.num_connections == 2, "one for HTTP, one socket for both turns"


async def test_the_system_prompt_goes_in_front_of_the_first_turn_only(client: Client, cluster: FakeCluster) -> None:
    session = await client.open_session(system="be kind")
    cluster.refusal = InvalidRequest("not now")
    with pytest.raises(InvalidRequest, match="not now"):
        await session.generate("hello")
    first = await session.generate("hello", max_tokens=3)
    context = chat_ids(("system", "be kind"), ("user", "hello"))
    assert first == continuation(context, 3)
    await session.generate("again", max_tokens=3)
    turns = (await session.describe()).turns
    assert [message.role for turn in turns for message in turn.messages] == ["system", "user", "user"]


async def test_text_messages_and_nothing_are_prompts(client: Client) -> None:
    session = await client.open_session()
    assert await session.generate(text="abc", max_tokens=3) == continuation(list(b"abc"), 3)
    context = [*b"abc", *continuation(list(b"abc"), 3).encode()]
    assert await session.generate(max_tokens=2) == continuation(context, 2)
    other = await client.open_session()
    messages = [Message("system", "x"), Message("user", "y")]
    assert await other.generate(messages, max_tokens=2) == continuation(chat_ids(("system", "x"), ("user", "y")), 2)


async def test_sampling_and_stops_arrive_as_they_were_given(client: Client, cluster: FakeCluster) -> None:
    sampling = Sampling(temperature=0.5, top_k=3, top_p=0.25, seed=7, logit_bias=((5, -1.5), (6, 2.0)), num_logprobs=2)
    await (await client.open_session()).generate("hello", sampling=sampling, max_tokens=9, stop=["zz", "yy"])
    request = cluster.turns[0].request
    assert request.sampling == sampling
    assert (request.stop.max_tokens, request.stop.texts) == (9, ("zz", "yy"))


async def test_a_cut_connection_loses_and_repeats_nothing(server: str) -> None:
    expected = continuation(PROMPT, 150)
    async with proxying(server) as (base_url, proxy), Client(server) as opener, Client(base_url) as client:
        for limit in (0, 1, 90, 260, 300, 333, 400, 800, 1200):
            session = client.session((await opener.open_session()).session_id)
            num_cut, proxy.limits = proxy.num_cut, [limit, limit]
            answer = session.generate("hello", max_tokens=150)
            pieces = [piece async for piece in answer]
            assert "".join(pieces) == answer.text == expected, f"cut after {limit} bytes"
            assert proxy.num_cut > num_cut, f"not cut after {limit} bytes"


async def test_an_answer_outlives_a_restarted_server(cluster: FakeCluster) -> None:
    app = build_app(cluster, ApiSettings())
    async with AsyncExitStack() as first_server:
        base_url = await first_server.enter_async_context(serving(app))
        async with Client(base_url, patience_s=10) as client:
            cluster.pace.hold()
            answer = (await client.open_session()).generate("hello", max_tokens=40)
            cluster.pace.allow(5)
            seen = [await anext(aiter(answer))]
            await first_server.aclose()
            rest = asyncio.create_task(_rest(answer))
            cluster.pace.release()
            await cluster.turns[0].ended.wait()
            async with serving(app, urlsplit(base_url).port or 0):
                seen += await rest
    assert "".join(seen) == continuation(PROMPT, 40)


async def _rest(answer: AsyncIterator[str] | object) -> list[str]:
    return [piece async for piece in answer]  # type: ignore[union-attr]


async def test_cancel_ends_the_answer_and_keeps_the_session(client: Client, cluster: FakeCluster) -> None:
    session = await client.open_session()
    cluster.pace.hold()
    answer = session.generate("hello", max_tokens=100)
    cluster.pace.allow(2)
    pieces = [await anext(aiter(answer)), await anext(aiter(answer))]
    await answer.cancel()
    pieces += [piece async for piece in answer]
    assert answer.finish is not None
    assert answer.finish.reason == "cancelled"
    assert "".join(pieces) == continuation(PROMPT, 2)
    cluster.pace.release()
    context = [*PROMPT, *continuation(PROMPT, 2).encode(), *b"x"]
    assert await session.generate(text="x", max_tokens=2) == continuation(context, 2)


async def test_a_turn_is_cancelled_and_resumed_by_its_id(client: Client, cluster: FakeCluster) -> None:
    session = await client.open_session()
    cluster.pace.hold()
    left = session.generate("hello", max_tokens=100, turn_id="t1")
    cluster.pace.allow(1)
    await anext(aiter(left))
    await client.session(session.session_id).cancel("t1")
    assert await session.resume("t1", 0) == continuation(PROMPT, 1)


async def test_leaving_an_answer_leaves_its_turn_running_and_the_session_usable(
    client: Client, cluster: FakeCluster
) -> None:
    session = await client.open_session()
    async for _ in session.generate("hello", max_tokens=30):
        break
    second = await session.generate(text="x", max_tokens=3)
    assert second == continuation([*PROMPT, *continuation(PROMPT, 30).encode(), *b"x"], 3)


async def test_typing_reaches_the_session(client: Client, cluster: FakeCluster) -> None:
    session = await client.open_session()
    await session.typing()
    await session.generate("hello", max_tokens=1)
    assert cluster.open_sessions[session.session_id].num_typing == 1


async def test_a_fork_goes_its_own_way(client: Client) -> None:
    session = await client.open_session(retention=Retention("drop"))
    await session.generate("hello", max_tokens=4, turn_id="t1")
    fork = await session.fork(turn_id="t1")
    assert await fork.generate("other", max_tokens=3) == continuation(chat_ids(("user", "other")), 3)
    assert [turn.turn_id for turn in (await session.describe()).turns] == ["t1"]
    assert (await session.rollback(0)).length == 0
    with pytest.raises(TurnNotFound, match="nope"):
        await session.rollback(turn_id="nope")


async def test_a_busy_server_is_asked_again(
    client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TooBusy, "retry_after_s", 0.05)
    session = await client.open_session()
    cluster.refusal = TooBusy("full")
    assert await session.generate("hello", max_tokens=3) == continuation(PROMPT, 3)


async def test_patience_ends(cluster: FakeCluster) -> None:
    async with serving(build_app(cluster, ApiSettings())) as base_url:
        client = Client(base_url, patience_s=0.2)
        session = await client.open_session()
    for attempt in (session.generate("hello"), client.models(), session.cancel("t"), client.subscribe("news")):
        with pytest.raises(Unavailable, match=rf"^the server at {base_url} cannot be reached: \S"):
            await attempt
    await client.close()


async def test_a_password_in_the_url_is_not_in_the_error() -> None:
    async with Client("http://ada:hunter2@127.0.0.1:1/prefix", patience_s=0) as client:
        with pytest.raises(Unavailable, match="^the server at http://127.0.0.1:1/prefix cannot be reached") as told:
            await client.models()
    assert "hunter2" not in str(told.value)


async def test_the_servers_errors_are_raised_as_what_they_are(client: Client, cluster: FakeCluster) -> None:
    with pytest.raises(ModelNotFound, match="nope"):
        await client.open_session("nope")
    with pytest.raises(UnknownAdapter, match="no adapter 'nope'; there are: formal, pirate"):
        await client.open_session(adapter="nope")
    assert (await (await client.open_session(adapter="pirate")).describe()).adapter == "pirate"
    session = await client.open_session(max_context=20)
    with pytest.raises(LengthExceeded) as caught:
        await session.generate(text="x" * 21)
    assert (caught.value.num_prefix, caught.value.num_current, caught.value.maximum) == (0, 21, 20)
    with pytest.raises(InvalidRequest):
        await session.generate(text="x", max_tokens=0)
    cluster.pace.hold()
    running = session.generate(text="x", max_tokens=2)
    cluster.pace.allow(1)
    await anext(aiter(running))
    with pytest.raises(TurnRunning):
        await session.rollback(0)
    await session.close()
    await session.close()
    for use in (session.describe, session.fork, lambda: session.generate(text="x")):
        with pytest.raises(SessionNotFound, match=session.session_id):
            await use()


async def test_a_wrong_key_is_unauthorized(cluster: FakeCluster) -> None:
    keys = ApiSettings(api_keys=(ApiKey.of("key-of-ada", "ada"),))
    async with serving(build_app(cluster, keys)) as base_url:
        async with Client(base_url, api_key="key-of-ada") as ada:
            session = await ada.open_session()
            assert await session.generate("hello", max_tokens=2) == continuation(PROMPT, 2)
        async with Client(base_url, api_key="wrong-key") as stranger:
            with pytest.raises(Unauthorized):
                await stranger.models()
            with pytest.raises(Unauthorized):
                await stranger.session(session.session_id).generate("hello")
