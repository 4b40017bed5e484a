"""One MCP server of one thread: started when it is first needed, and anew after it has ended."""

from __future__ import annotations

import asyncio
import math
from contextvars import Context, ContextVar
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.client import ClientRequestContext

from api.agents.inside import Inside
from api.agents.mcp_tools.transport import transport_to
from api.errors import GreenroomError, reason_of
from api.inferlet.work_effects import WorkCancelled
from api.mcp_servers import McpServer

MAX_PAGES = 100
"""Of one listing."""

DOUBTS = ("session id", "server returned an error response")
"""What servers that have forgotten a session say otherwise than the protocol has it, and others too."""

_current: ContextVar[Inside | None] = ContextVar("greenroom-mcp-call", default=None)


class McpFailed(Exception):
    """The server has refused a call, or cannot be reached; the sentence has nothing that is secret."""


class Connection:
    """See the module. Belongs to one event loop."""

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self._held: _Held | None = None
        self._opening = asyncio.Lock()
        self._running: list[Inside] = []

    async def tools(self) -> list[types.Tool]:
        """All that the server lists.

        Raises:
            McpFailed
        """
        with anyio.move_on_after(self.server.start_timeout_s):
            try:
                return await self._tools((await self._open()).client)
            except MCPError as error:
                raise McpFailed(f"{self._name} did not list its tools: {reason_of(error)}") from None
            except ValueError:
                raise McpFailed(f"{self._name} lists what the protocol does not allow") from None
        raise McpFailed(f"{self._name} did not list its tools within {self.server.start_timeout_s:g} s")

    async def call(self, tool: str, arguments: dict[str, Any], inside: Inside) -> types.CallToolResult:
        """Call a tool, once.

        Raises:
            McpFailed
        """
        self._running.append(inside)
        try:
            return await self._call(tool, arguments, inside)
        finally:
            self._running.remove(inside)

    async def close(self) -> None:
        """Leave the server; one that was started ends."""
        if self._held:
            await self._held.close()

    @property
    def _name(self) -> str:
        return f"MCP server {self.server.name!r}"

    async def _tools(self, client: Client) -> list[types.Tool]:
        """Without those that only tasks of the protocol can call."""
        found: list[types.Tool] = []
        cursor = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="bypass")
            found += (one for one in page.tools if not (one.execution and one.execution.task_support == "required"))
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def _call(self, tool: str, arguments: dict[str, Any], inside: Inside) -> types.CallToolResult:
        for may_try_again in (True, False):
            held = await self._open()
            _current.set(inside)
            try:
                return await held.client.call_tool(tool, arguments)
            except MCPError as error:
                if may_try_again and _has_forgotten(error):
                    await held.close()  # the server does not know this session, so it has run nothing
                    continue
                if error.code == types.CONNECTION_CLOSED or held.is_over:
                    raise self._lost() from None
                if self._running == [inside] and any(words in str(error).lower() for words in DOUBTS):
                    await held.close()  # it might not know this session: then the next call has a new one
                raise McpFailed(f"{self._name} refuses the call: {reason_of(error)}") from None
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                raise self._lost() from None
            except ValueError:
                raise McpFailed(f"{self._name} has returned what the protocol does not allow") from None
            except RuntimeError as error:
                raise McpFailed(f"{self._name} has not returned what it promises: {reason_of(error)}") from None
        raise AssertionError("the second time ends it")

    def _lost(self) -> McpFailed:
        return McpFailed(f"{self._name} ended during this call, which might have run; the next call starts it anew")

    async def _open(self) -> _Held:
        async with self._opening:
            if self._held is None or self._held.is_over:
                if self._held:
                    await self._held.close()
                self._held = _Held(self.server, self._elicit)
            held = self._held
            try:
                await asyncio.shield(held.opened)
            except GreenroomError as error:
                raise McpFailed(f"{self._name} cannot be used: {reason_of(error)}") from None
            except TimeoutError:
                raise McpFailed(f"{self._name} did not start within {self.server.start_timeout_s:g} s") from None
            except Exception as error:
                raise McpFailed(f"{self._name} cannot be reached ({_kind(error)})") from None
            return held

    async def _elicit(
        self, context: ClientRequestContext, asked: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Have a person asked, under the call that this is for: where the protocol does not say so, the oldest one."""
        inside = _current.get() or next(iter(self._running), None)
        if inside is None or not isinstance(asked, types.ElicitRequestFormParams):
            return types.ElicitResult(action="decline")
        question = {
            "question": asked.message,
            "schema": asked.requested_schema,
            "timeout_s": None,
        }
        try:
            given = await asyncio.to_thread(inside.ask, {**question, "timeout_s": None, "if_expired": "deny"})
        except WorkCancelled:
            return types.ElicitResult(action="cancel")
        if given is None or not isinstance(given[0], dict):
            return types.ElicitResult(action="decline")
        return types.ElicitResult(action="accept", content=given[0])


class _Held:
    """A client that is open, in a task of its own.

    Attributes:
        opened: done once it is.
    """

    def __init__(self, server: McpServer, elicit: Any) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self.client = Client(transport_to(server, self._over), elicitation_callback=elicit)
        self._task = asyncio.create_task(self._hold(server.start_timeout_s), context=Context())

    @property
    def is_over(self) -> bool:
        """It is of no use any longer."""
        return self._over.is_set()

    async def close(self) -> None:
        """Returns once its process is gone."""
        self._over.set()
        await asyncio.wait({self._task})

    async def _hold(self, start_timeout_s: float) -> None:
        try:
            with anyio.fail_after(start_timeout_s) as limit:
                async with self.client:
                    limit.deadline = math.inf
                    self.opened.set_result(None)
                    await self._over.wait()
        except Exception as error:
            if not self.opened.done():
                self.opened.set_exception(error)
        finally:
            self._over.set()
            if not self.opened.done():
                self.opened.set_exception(ConnectionError())
            self.opened.exception()  # retrieved, so that asyncio does not log it


def _has_forgotten(error: MCPError) -> bool:
    """The server answers 404, as it does where it does not know the session."""
    return error.code == types.INVALID_REQUEST and str(error) == "Session terminated"


def _kind(error: BaseException) -> str:
    """The class of an error, or of the first in its group: its text might tell a secret."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__
