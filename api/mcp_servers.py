"""A server of MCP whose tools agents may call: where it is, and what its calls may do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le

from api.errors import InvalidRequest

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

MAX_TIMEOUT_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class McpServer:
    """One server, which is started by a command or is at a URL; with neither, what the configuration says of its name.

    What it is told in secret stands in no error and no ``repr``: ``${NAME}`` in a value of ``env`` or ``headers`` is
    the environment variable of the process that starts or calls the server.

    Attributes:
        command: a program and its arguments, which speaks MCP over its standard input and output.
        env: environment variables of the command, with those that every program needs.
        url: of a server that speaks MCP over streamable HTTP.
        headers: of every request to it.
        tools: the tools that agents may call, as the server names them; None for all.
        needs_approval: a call waits until a person approves it: of any tool, or of these.
        retry_safe: running a call twice does no harm: of any tool, or of these.
        timeout_s: time for one call.
        start_timeout_s: time for its start, until it has told its tools.
        max_calls: calls of each of its tools in one run.

    Raises:
        InvalidRequest: something is not what it must be.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "hide_input_in_errors": True}

    name: str
    command: tuple[str, ...] = ()
    url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tools: tuple[str, ...] | None = None
    needs_approval: bool | tuple[str, ...] = False
    retry_safe: bool | tuple[str, ...] = False
    timeout_s: Annotated[float, Gt(0), Le(MAX_TIMEOUT_S)] = 30.0
    start_timeout_s: Annotated[float, Gt(0), Le(3600)] = 30.0
    max_calls: Annotated[int, Ge(0)] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidRequest(f"an MCP server's name has 1 to 64 letters, digits, _ and -, not {self.name!r:.80}")
        if self.command and self.url is not None:
            raise InvalidRequest(f"MCP server {self.name!r} has a command or a url, not both")
        if self.url is not None and urlsplit(self.url).scheme not in ("http", "https"):
            raise InvalidRequest(f"MCP server {self.name!r}: the url begins with http:// or https://")
        if self.env and not self.command:
            raise InvalidRequest(f"MCP server {self.name!r}: env is of a command")
        if self.headers and self.url is None:
            raise InvalidRequest(f"MCP server {self.name!r}: headers are of a url")
        if self.is_reference and self._options:
            raise InvalidRequest(f"MCP server {self.name!r} needs a command or a url; or its name alone")

    @property
    def is_reference(self) -> bool:
        """It has a name alone."""
        return not self.command and self.url is None

    @property
    def _options(self) -> list[str]:
        """Those that somebody has chosen."""
        given = [one for one in fields(self) if one.name != "name" and one.default_factory is MISSING]
        return [one.name for one in given if getattr(self, one.name) != one.default]

    def approves(self, tool: str) -> bool:
        """Whether a call of this tool needs an approval."""
        return _has(self.needs_approval, tool)

    def is_retry_safe(self, tool: str) -> bool:
        """Whether running a call of this tool twice does no harm."""
        return _has(self.retry_safe, tool)


def _has(names: bool | tuple[str, ...], name: str) -> bool:
    return names if isinstance(names, bool) else name in names
