"""OpenAI's own client and the native one take turns in one conversation at a real Serve, over deaths of its process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai import NotFoundError, OpenAI

from api.client import Client
from tests.cluster.deployed import Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

NAME: Any = {"type": "message", "role": "user", "content": "Hello! My name is Ada."}

FORGET: Any = {"type": "message", "role": "user", "content": "Forget this."}


@pytest.fixture(scope="module")
def client(deployed: Deployed) -> OpenAI:
    """With a key that nobody asks for."""
    return OpenAI(base_url=f"{deployed.url}/v1", api_key="any", max_retries=0, timeout=120)


def respond(client: OpenAI, conversation: str, text: str, **call: Any) -> str:
    """A short answer in a conversation."""
    options = {"temperature": 0, "max_output_tokens": 24} | call
    response = client.responses.create(model="pocket", input=text, conversation=conversation, **options)
    assert response.conversation is not None
    assert response.conversation.id == conversation
    return str(response.output_text)


def texts(client: OpenAI, conversation: str) -> list[str]:
    """Of all messages, the oldest first."""
    items = client.conversations.items.list(conversation, order="asc", limit=3)
    return [item.to_dict()["content"][0]["text"] for item in items]  # type: ignore[index]


def test_a_conversation_lives_on_over_the_deaths_of_its_process(client: OpenAI, deployed: Deployed) -> None:
    said = []
    for is_killed in False, True:
        conversation = client.conversations.create(items=[NAME], metadata={"topic": "names"})

        def disturb(session_id: str = conversation.id.removeprefix("conv_"), is_killed: bool = is_killed) -> None:
            if is_killed:
                deployed.kill("session", session_id)

        disturb()
        respond(client, conversation.id, "What is my name?")
        disturb()
        added = client.conversations.items.create(conversation.id, items=[FORGET])
        disturb()
        client.conversations.items.delete(added.data[0].id or "", conversation_id=conversation.id)
        disturb()
        respond(client, conversation.id, "What is my name?", instructions="Be kind.")
        disturb()
        respond(client, conversation.id, "Thank you!", instructions="Be kind.")
        disturb()
        assert client.conversations.update(conversation.id, metadata={"a": "b"}).metadata == {"a": "b"}
        disturb()
        said.append(texts(client, conversation.id))
        client.conversations.delete(conversation.id)
        with pytest.raises(NotFoundError):
            client.conversations.retrieve(conversation.id)
    assert said[0] == said[1]
    assert [len(said[0]), *said[0][:2]] == [7, NAME["content"], "What is my name?"]


def test_a_conversation_of_one_client_is_a_session_of_the_other_and_the_reverse(
    client: OpenAI, deployed: Deployed
) -> None:
    made = client.conversations.create(items=[NAME])
    first = respond(client, made.id, "What is my name?")

    async def talk() -> tuple[str, str, str]:
        async with Client(deployed.url) as native:
            opened = native.session(made.id)
            assert made.id.removeprefix("conv_") in [summary.id for summary in await native.sessions()]
            shown = [message.content for turn in (await opened.describe()).turns for message in turn.messages]
            assert shown == [NAME["content"], "What is my name?"]
            session = await native.open_session()
            thanked = await opened.generate("Thank you!", max_tokens=24)
            return thanked, await session.generate(NAME["content"], max_tokens=24), session.session_id

    thanked, greeted, session_id = asyncio.run(talk())
    assert texts(client, made.id) == [NAME["content"], "What is my name?", first, "Thank you!", thanked]
    reverse = f"conv_{session_id}"
    last = respond(client, reverse, "What is my name?")
    assert texts(client, reverse) == [NAME["content"], greeted, "What is my name?", last]
