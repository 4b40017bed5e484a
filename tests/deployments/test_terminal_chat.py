"""The chat in a terminal, against the toy model on a real socket; the answers are worked out from its definition."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator

import pytest
from rich.console import Console

from api.client import Client
from api.errors import SessionNotFound
from api.http.app import build_app
from api.http.session_routes import session_routes
from api.settings import ApiSettings
from api.turns import Message
from deployments.terminal_chat import TerminalChat
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.shell import shell
from tests.api.toy_answers import chat_ids, continuation

ANSWER = continuation(chat_ids(("user", "hello")), 256)


class Screen:
    """What has been printed since it was last read."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self.console = Console(file=self._stream, markup=False, highlight=False, soft_wrap=True)

    def read(self) -> str:
        text = self._stream.getvalue()
        self._stream.seek(0)
        self._stream.truncate()
        return text


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def client(cluster: FakeCluster) -> AsyncIterator[Client]:
    async with serving(build_app(cluster, ApiSettings(), session_routes())) as url, Client(url, patience_s=5) as client:
        yield client


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
async def talk(client: Client, screen: Screen) -> TerminalChat:
    return TerminalChat(await client.open_session(), screen.console)


async def test_a_line_is_answered(talk: TerminalChat, screen: Screen) -> None:
    assert await talk.take("hello\n")
    assert screen.read() == f"{ANSWER}\n[the answer was cut at its limit]\n"


async def test_retry_asks_the_same_again_from_the_same_context(
    talk: TerminalChat, screen: Screen, cluster: FakeCluster
) -> None:
    await talk.take("hello")
    screen.read()
    await talk.take("/retry")
    assert screen.read().startswith(ANSWER)
    assert [turn.request.prompt for turn in cluster.turns] == [(Message("user", "hello"),)] * 2
    assert cluster.turns[1].start.base_length == 0


async def test_undo_takes_the_last_question_back(talk: TerminalChat, screen: Screen, client: Client) -> None:
    await talk.take("hello")
    screen.read()
    await talk.take("/undo")
    assert screen.read() == "Taken back: hello\n"
    assert (await client.session(talk.session_id).describe()).length == 0
    await talk.take("/undo")
    await talk.take("/retry")
    assert screen.read() == "There is nothing to take back.\nThere is nothing to ask again.\n"


async def test_fork_goes_on_in_a_copy(talk: TerminalChat, screen: Screen, client: Client) -> None:
    await talk.take("hello")
    first = talk.session_id
    screen.read()
    await talk.take("/fork")
    assert talk.session_id != first
    assert screen.read() == f"This is now {talk.session_id}; {first} stays as it is.\n"
    await talk.take("more")
    assert len((await client.session(first).describe()).turns) == 1


async def test_exit_leaves_and_what_is_unknown_is_told(talk: TerminalChat, screen: Screen) -> None:
    assert await talk.take("  ")
    assert await talk.take("/dance now")
    assert screen.read() == "There is no /dance. /help names what there is.\n"
    await talk.take("/help")
    assert "/retry" in screen.read()
    assert not await talk.take("/exit")


async def test_an_error_is_shown_and_the_chat_goes_on(talk: TerminalChat, screen: Screen, cluster: FakeCluster) -> None:
    cluster.open_sessions.clear()
    assert await talk.take("hello")
    assert "expired or does not exist" in screen.read()


async def test_ctrl_c_stops_the_answer_and_not_the_chat(
    talk: TerminalChat, screen: Screen, cluster: FakeCluster, client: Client
) -> None:
    cluster.pace.hold()
    taking = asyncio.create_task(talk.take("hello"))
    await cluster.begun.acquire()
    cluster.pace.allow(3)
    async with asyncio.timeout(30):
        while cluster.turns[0].num_output < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGINT)
    cluster.pace.allow(1)
    async with asyncio.timeout(30):
        assert await taking
    cluster.pace.release()
    assert screen.read().endswith("\n[stopped]\n")
    finish = (await client.session(talk.session_id).describe()).turns[0].finish
    assert finish is not None
    assert finish.reason == "cancelled"
    await talk.take("again")
    assert len(screen.read()) > 100


async def test_a_conversation_that_is_taken_up_again_is_shown(
    talk: TerminalChat, screen: Screen, client: Client
) -> None:
    await talk.take("hello")
    screen.read()
    await TerminalChat(client.session(talk.session_id), screen.console).recall()
    assert screen.read() == f"user: hello\n{ANSWER}\n\n"


async def test_an_answer_on_its_way_is_followed_when_the_conversation_is_taken_up(
    talk: TerminalChat, screen: Screen, client: Client, cluster: FakeCluster
) -> None:
    cluster.pace.hold()
    async with asyncio.timeout(30):
        taking = asyncio.create_task(talk.take("hello"))
        await cluster.begun.acquire()
        second = Screen()
        following = asyncio.create_task(TerminalChat(client.session(talk.session_id), second.console).recall())
        cluster.pace.release()
        await asyncio.gather(taking, following)
    assert second.read().startswith(f"user: hello\n{ANSWER}\n")


async def test_a_session_that_is_not_there_cannot_be_taken_up(client: Client, screen: Screen) -> None:
    with pytest.raises(SessionNotFound):
        await TerminalChat(client.session("nothing"), screen.console).recall()


async def test_it_goes_on_with_a_conversation_of_openais_api_and_the_reverse(
    client: Client, screen: Screen, talk: TerminalChat, cluster: FakeCluster
) -> None:
    async with shell(cluster=cluster) as openai:
        asked = {"input": "one", "max_output_tokens": 3, "instructions": "Be kind."}
        made = (await openai.post("/v1/conversations", json={})).json()["id"]
        answer = (await openai.post("/v1/responses", json={"conversation": made, **asked})).json()
        again = TerminalChat(client.session(made), screen.console)
        await again.recall()
        said = answer["output"][0]["content"][0]["text"]
        assert screen.read() == f"system: Be kind.\nuser: one\n{said}\n\n"
        await again.take("two")
        await talk.take("hello")
        for conversation, expected in (made, ["one", said, "two"]), (f"conv_{talk.session_id}", ["hello", ANSWER]):
            items = (await openai.get(f"/v1/conversations/{conversation}/items?order=asc")).json()["data"]
            assert [item["content"][0]["text"] for item in items][: len(expected)] == expected
            response = await openai.post("/v1/responses", json={**asked, "conversation": conversation})
            assert response.json()["conversation"] == {"id": conversation}
