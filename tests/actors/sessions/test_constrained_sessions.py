"""Sessions over HTTP on the embedded model: output held to a constraint or to some tokens, and what may come next."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.settings import ModelSettings
from api.client import Client
from api.client.session import ClientSession
from api.constraints import Choice, Grammar, JsonSchema, Regex
from api.errors import InvalidRequest, Unsupported
from api.http.app import build_app
from api.settings import ApiSettings
from api.tools import Tool, ToolChoice
from api.turns import Sampling, result_of
from deployments.config import embedded_model
from tests.actors.small_cluster import SmallCluster
from tests.api.live_server import serving

SCHEMA = {"type": "object", "properties": {"is_old": {"type": "boolean"}}, "required": ["is_old"]}


@pytest_asyncio.fixture
async def session(tmp_path: Path) -> AsyncIterator[ClientSession]:
    model = ModelSettings("pocket", embedded_model(), report_interval_s=0.05, poll_interval_s=0.001)
    async with (
        SmallCluster(tmp_path, model=model, pool_size=0) as cluster,
        serving(build_app(cluster.greenroom, ApiSettings())) as url,
        Client(url, patience_s=10) as client,
    ):
        yield await client.open_session()


async def test_the_text_is_what_the_constraint_allows(session: ClientSession) -> None:
    pattern = "[0-9]{3}-[a-f]{1,9}!"  # bounded: a model that likes f would never come to the end of [a-f]+
    assert re.fullmatch(pattern, await session.generate("Hello!", constraint=Regex(pattern)))
    assert await session.generate("Is it so?", constraint=Choice(("certainly", "never"))) in ("certainly", "never")
    found = json.loads(await session.generate("How old?", constraint=JsonSchema(json.dumps(SCHEMA)), max_tokens=64))
    assert isinstance(found["is_old"], bool)


async def test_a_constraint_that_is_none_is_refused_and_the_session_goes_on(session: ClientSession) -> None:
    with pytest.raises(InvalidRequest, match="regular expression"):
        await session.generate("Hello!", constraint=Regex("(unclosed"))
    assert await session.generate("Hello!", max_tokens=3)


async def test_without_the_package_a_grammar_is_unsupported(
    session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xgrammar", None)
    with pytest.raises(Unsupported, match=r"greenroom\[constraints\]"):
        await session.generate("Hello!", constraint=Grammar('root ::= "a"'))


async def test_a_distribution_adds_nothing_and_its_likeliest_token_is_what_greedy_takes(session: ClientSession) -> None:
    found = await session.next_distribution(5, "Hello!")
    length = (await session.describe()).length
    assert len(found.top) == 5
    assert found.top == tuple(sorted(found.top, key=lambda entry: -entry[1]))
    assert found.entropy > 0
    again = await session.next_distribution(2)
    assert [token for token, _ in again.top] == [token for token, _ in found.top[:2]]
    assert (await session.describe()).length == length
    token = found.top[0][0]
    with pytest.raises(InvalidRequest, match="allowed_tokens must lie"):
        await session.generate(allowed_tokens=[10**6])
    await session.generate(allowed_tokens=[token], sampling=Sampling(temperature=1.0), max_tokens=3)
    assert (await session.describe()).length == length + 3


async def test_a_tool_is_called_as_its_schema_says_and_its_result_is_read(session: ClientSession) -> None:
    tool = Tool(
        "look", "Looks.", json.dumps({**SCHEMA, "properties": {"is_old": {"type": "boolean"}, "x": {"not": {}}}})
    )
    asked = session.generate("How old?", tools=[tool], tool_choice=ToolChoice("auto", ("look",)), max_tokens=3)
    await asked
    with pytest.raises(InvalidRequest, match='"not" is not supported'):
        await session.generate("How old?", tools=[tool], tool_choice=ToolChoice("required"))
    tools = [Tool("look", "Looks.", json.dumps(SCHEMA)), Tool("touch")]
    asked = session.generate("How old?", tools=tools, tool_choice=ToolChoice("required"), parallel_tool_calls=False)
    assert await asked == ""
    (call,) = asked.calls
    assert call.name in ("look", "touch")
    assert isinstance(json.loads(call.arguments).get("is_old", True), bool)
    again = session.resume(asked.turn_id)
    await again
    assert again.calls == asked.calls
    told = session.generate(result_of(call, "It is new."), tools=tools, tool_choice=ToolChoice("none"), max_tokens=5)
    assert await told
    assert not told.calls
