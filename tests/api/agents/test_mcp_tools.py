"""MCP servers of agents, and their tools, without a thread; what a whole server does is in ``tests.actors.threads``."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import mcp_types as types
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.agents import Agent, File, mcp, tool
from api.agents.call_context import CallContext
from api.agents.inside import Inside, inside
from api.agents.mcp_tools.connections import Connections, NotInstalled
from api.agents.mcp_tools.listing import list_tools, tools_of
from api.agents.mcp_tools.results import ToolError, values_of
from api.errors import InvalidRequest
from api.mcp_servers import McpServer
from deployments.config import GreenroomConfig
from tests.api.live_server import serving

ANY = {"type": "object"}


class Sessions:
    """A server of an earlier protocol over HTTP, which forgets its sessions when it is told to."""

    def __init__(self, tools: list[dict[str, Any]]) -> None:
        self.tools = tools
        self.known: set[str] = set()
        self.called: list[str] = []
        self.headers: list[str | None] = []
        self.app = Starlette(routes=[Route("/mcp", self.answer, methods=["POST", "GET", "DELETE"])])

    async def answer(self, request: Request) -> Response:
        """One message."""
        if request.method != "POST":
            return Response(status_code=405)
        message = await request.json()
        self.headers.append(request.headers.get("authorization"))
        if message["method"] == "initialize":
            session = f"session-{len(self.known)}"
            self.known.add(session)
            capabilities = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            result = {**capabilities, "serverInfo": {"name": "sessions", "version": "1"}}
            return self._result(message, result, {"mcp-session-id": session})
        if message["method"] == "server/discover":
            error = {"code": -32601, "message": "there is no such method"}
            return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "error": error}, 400)
        if request.headers.get("mcp-session-id") not in self.known:
            return Response(status_code=404)
        if "id" not in message:
            return Response(status_code=202)
        if message["method"] == "tools/list":
            return self._result(message, {"tools": self.tools})
        self.called.append(message["params"]["name"])
        return self._result(message, {"content": [{"type": "text", "text": "done"}]})

    def _result(self, message: Any, result: Any, headers: dict[str, str] | None = None) -> Response:
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)


@asynccontextmanager
async def connected(sessions: Sessions, **options: Any) -> AsyncIterator[tuple[McpServer, Connections]]:
    """The server as an agent has it, and the connections of its thread."""
    async with serving(sessions.app, grace_s=0.0) as url:
        with closing(Connections()) as connections:
            yield McpServer("far", url=f"{url}/mcp", **options), connections


async def test_a_call_that_a_server_refuses_since_it_has_forgotten_the_session_is_made_in_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = Sessions([{"name": "do", "inputSchema": ANY}])
    monkeypatch.setenv("TOKEN", "a-secret")
    headers = {"authorization": "Bearer ${TOKEN}"}
    async with connected(sessions, headers=headers) as (server, connections):
        listing = await list_tools(server, connections)
        [do] = tools_of(server, listing, (), connections)
        inside.set(Inside(CallContext("a", "t", "r", "c"), reporter=None))  # type: ignore[arg-type]
        assert [value async for value in do()] == ["done"]
        sessions.known.clear()
        assert [value async for value in do()] == ["done"]
    assert sessions.called == ["do", "do"]
    assert {*sessions.headers} == {"Bearer a-secret"}


async def test_tools_that_an_agent_cannot_have_are_left_out() -> None:
    listed = [
        {"name": "plain", "description": "Plain.", "inputSchema": {**ANY, "properties": {"n": {"type": "integer"}}}},
        {"name": "no name", "inputSchema": ANY},
        {"name": "no_schema", "inputSchema": {**ANY, "properties": {"n": {"type": "number", "minimum": "one"}}}},
        {"name": "large", "inputSchema": {**ANY, "description": "x" * 300_000}},
        {"name": "task", "inputSchema": ANY, "execution": {"taskSupport": "required"}},
        {"name": "outward", "inputSchema": {**ANY, "properties": {"n": {"$ref": "https://elsewhere.test/n"}}}},
    ]
    async with connected(Sessions(listed)) as (server, connections):
        listing = await list_tools(server, connections)
        assert [one["name"] for one in listing] == ["plain", "outward"]
        plain, outward = tools_of(server, listing, {"plain"}, connections)
        assert (plain.name, plain.spec.description) == ("far__plain", "Plain.")
        assert plain.arguments('{"n": 1}') == {"n": 1}
        with pytest.raises(InvalidRequest, match=r"\$\.n: 'one' is not of type 'integer'"):
            plain.arguments('{"n": "one"}')
        with pytest.raises(InvalidRequest, match="refers to another one"):
            outward.arguments('{"n": 1}')
        assert list(tools_of(server, listing, {"plain", "far__plain", "outward", "far__outward"}, connections)) == []


async def test_an_agent_has_the_tools_that_it_names_and_they_are_what_it_says() -> None:
    sessions = Sessions([{"name": name, "inputSchema": ANY} for name in ("a", "b", "c")])
    options: dict[str, Any] = {"needs_approval": ("a",), "retry_safe": True, "timeout_s": 5, "max_calls": 2}
    async with connected(sessions, tools=("c", "a"), **options) as (server, connections):
        c, a = tools_of(server, await list_tools(server, connections), (), connections)
        assert [(one.name, one.needs_approval, one.retry_safe) for one in (c, a)] == [
            ("c", False, True),
            ("a", True, True),
        ]
        assert (c.timeout_s, c.max_calls) == (5, 2)
    async with connected(sessions, tools=("d",)) as (server, connections):
        with pytest.raises(LookupError, match="MCP server 'far' has no tool 'd'"):
            await list_tools(server, connections)


async def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "api.agents.mcp_tools.connection", None)
    with closing(Connections()) as connections:
        with pytest.raises(NotInstalled, match=r"pip install 'greenroom\[mcp\]'"):
            await list_tools(McpServer("a", url="http://a.test/"), connections)


def result(*content: Any, **more: Any) -> types.CallToolResult:
    """As a server returns it."""
    return types.CallToolResult.model_validate({"content": list(content), **more})


def text(said: str) -> dict[str, str]:
    """A part."""
    return {"type": "text", "text": said}


def test_a_result_is_texts_files_and_json() -> None:
    data = base64.b64encode(b"\x00\xff").decode()
    picture, sound = ({"type": kind, "data": data, "mimeType": f"{kind}/x"} for kind in ("image", "audio"))
    words = {"type": "resource", "resource": {"uri": "a:b", "text": "words"}}
    blob = {"type": "resource", "resource": {"uri": "a:c", "blob": data}}
    link = {"type": "resource_link", "uri": "a:d", "name": "d"}
    assert list(values_of(result(text("one"), picture, sound, words, blob, link))) == [
        "one",
        File(b"\x00\xff", "image/x"),
        File(b"\x00\xff", "audio/x"),
        "words",
        File(b"\x00\xff", "application/octet-stream", "a:c"),
        {"type": "resource_link", "uri": "a:d", "name": "d"},
    ]


@pytest.mark.parametrize(
    ("said", "structured", "values"),
    [
        (json.dumps({"a": 1}), {"a": 1}, [{"a": 1}]),
        ("It is one.", {"a": 1}, ["It is one.", {"a": 1}]),
        ("sunny", {"result": "sunny"}, ["sunny"]),
        ("3", {"result": 3}, ["3"]),
        ("other", {"result": 3}, ["other", {"result": 3}]),
    ],
)
def test_what_is_said_as_text_and_as_json_is_said_once(said: str, structured: Any, values: list[Any]) -> None:
    assert list(values_of(result(text(said), structuredContent=structured))) == values


def test_an_error_of_a_tool_is_its_text() -> None:
    with pytest.raises(ToolError, match="no\nreally"):
        list(values_of(result(text("no"), text("really"), isError=True)))


def test_a_server_is_a_command_or_a_url_and_tells_no_secret() -> None:
    for options in (
        {"name": "a b", "url": "http://a.test/"},
        {"name": "a", "url": "http://a.test/", "command": ["a"]},
        {"name": "a", "url": "ftp://a.test/"},
        {"name": "a", "url": "http://a.test/", "env": {"A": "b"}},
        {"name": "a", "command": ["a"], "headers": {"a": "b"}},
        {"name": "a", "timeout_s": 3},
    ):
        with pytest.raises(InvalidRequest):
            mcp(**options)
    assert mcp("a").is_reference
    assert "secret" not in repr(mcp("a", command=["a"], env={"A": "secret"}))
    with pytest.raises(InvalidRequest, match="two MCP servers of one name"):
        Agent(name="a", tools=[mcp("a"), mcp("a", command=["a"]), tool(test_an_error_of_a_tool_is_its_text)])


def test_the_configuration_has_servers_beside_agents() -> None:
    wiki = {"url": "https://wiki.test/mcp", "headers": {"a": "b"}, "tools": ["search"]}
    config = GreenroomConfig.model_validate({"agents": {"helper": "a.b:c", "mcp": {"wiki": wiki}}})
    settings = config.settings()
    assert settings.agents == {"helper": "a.b:c"}
    found = McpServer("wiki", url="https://wiki.test/mcp", headers={"a": "b"}, tools=("search",))
    assert settings.inferlets.mcp_servers == {"wiki": found}
    for agents, words in (
        ({"helper": {"a": {}}}, "helper"),
        ({"mcp": "a.b:c"}, "no agent"),
        ({"mcp": {"wiki": {}}}, "a command or a url"),
        ({"mcp": {"wiki": {**wiki, "timeout_s": -1}}}, "agents.mcp.wiki: timeout_s"),
        ({"mcp": {"wiki": {**wiki, "colour": "red"}}}, "colour"),
        ({"mcp": {"wiki": {**wiki, "headers": {"a": ["a-secret"]}}}}, "headers"),
    ):
        with pytest.raises(ValueError, match=words) as raised:
            GreenroomConfig.model_validate({"agents": agents})
        assert "a-secret" not in str(raised.value)
    with pytest.raises(ValueError, match=r"agents\.mcp"):
        GreenroomConfig.model_validate({"inferlets": {"mcp_servers": {"wiki": {"name": "wiki", **wiki}}}})


def test_a_tool_that_a_server_may_no_longer_have_is_gone_from_what_it_once_told() -> None:
    listing = [{"name": name, "description": "", "parameters": json.dumps(ANY)} for name in ("keep", "drop", "new")]
    with closing(Connections()) as connections:
        for names, left in ((None, ["keep", "drop", "new"]), (("keep",), ["keep"]), ((), [])):
            server = McpServer("far", url="http://127.0.0.1:1/mcp", tools=names)
            assert [tool.name for tool in tools_of(server, listing, (), connections)] == left
