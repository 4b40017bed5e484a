"""A block: one thing that was said or done in a thread."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from api.errors import InvalidRequest

Kind = Literal["message", "reasoning", "status", "tool_call", "tool_result", "ask", "handoff", "error"]
Role = Literal["user", "assistant", "tool", "system"]
BlockState = Literal["open", "complete", "failed", "cancelled"]
KINDS: tuple[Kind, ...] = ("message", "reasoning", "status", "tool_call", "tool_result", "ask", "handoff", "error")
ROLES: tuple[Role, ...] = ("user", "assistant", "tool", "system")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of what a block says.

    Attributes:
        text: of a text; of ``json``, JSON text.
        data: the bytes of a ``file``, as base64.
    """

    type: Literal["text", "json", "file"] = "text"
    mime_type: str = "text/plain"
    text: str = ""
    data: str = ""
    name: str | None = None

    @classmethod
    def of_json(cls, value: Any) -> Part:
        """A JSON value."""
        return cls("json", "application/json", json.dumps(value, ensure_ascii=False, allow_nan=False))

    @classmethod
    def of_file(cls, data: bytes, mime_type: str, name: str | None = None) -> Part:
        """Bytes."""
        return cls("file", mime_type, data=b64encode(data).decode(), name=name)

    @property
    def content(self) -> bytes:
        """What ``/raw`` answers."""
        return b64decode(self.data) if self.type == "file" else self.text.encode()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a block of kind ``ask`` wants to know. ``expires_at`` is seconds since the epoch."""

    type: Literal["approval", "question", "client_tool"]
    question: str
    schema: dict[str, Any]
    call_id: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to an ask. ``metadata`` is what a protocol keeps with it: no client gives it."""

    at: float
    approve: bool | None = None
    value: Any = None
    reason: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlockError:
    """Why a block failed."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Block:
    """See the module. Times are seconds since the epoch.

    Attributes:
        seq: of the entry that created it; 0 until the log has numbered that.
        turn: the step of its run, from 0.
        name: of a tool, of a status, or of the agent that is handed to.
        call_id: the call that it is, or that it belongs to.
    """

    id: str
    run_id: str
    turn: int
    kind: Kind
    role: Role
    agent: str
    created_at: float
    seq: int = 0
    state: BlockState = "open"
    parts: tuple[Part, ...] = ()
    name: str | None = None
    call_id: str | None = None
    parent_run_id: str | None = None
    closed_at: float | None = None
    error: BlockError | None = None
    ask: Ask | None = None
    answer: Answer | None = None
    rolled_back: bool = False

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Self:
        """From ``kept``."""
        nested = {name: kept[name] and kind(**kept[name]) for name, kind in _NESTED.items()}
        return cls(**(kept | nested | {"parts": tuple(Part(**part) for part in kept["parts"])}))

    @property
    def kept(self) -> dict[str, Any]:
        """As plain JSON, with everything."""
        return asdict(self) | {"parts": [asdict(part) for part in self.parts]}

    @property
    def text(self) -> str:
        """The text of its parts."""
        return "".join(part.text for part in self.parts)

    @property
    def told(self) -> str:
        """What a model reads of its parts."""
        return "\n".join(f"[a file of type {one.mime_type}]" if one.type == "file" else one.text for one in self.parts)

    def part(self, number: int) -> Part:
        """One of its parts.

        Raises:
            InvalidRequest: there is none of this number.
        """
        if not 0 <= number < len(self.parts):
            raise InvalidRequest(f"block {self.id!r} has no part {number}")
        return self.parts[number]


_ENTRY_ID = re.compile(r"(?P<thread>.+)\.(?:b[0-9]+|r[0-9]+(?:c[0-9]+)*)", re.ASCII)
_NESTED: dict[str, type[Any]] = {"ask": Ask, "answer": Answer, "error": BlockError}


def number_of(block_id: str) -> int:
    """The number of a block in its thread."""
    return int(block_id.rpartition(".b")[2])


_CALL_ID = re.compile(r"call_(?P<number>[0-9]{1,15})(c[0-9]+)*_", re.ASCII)


def run_of_call(thread_id: str, call_id: str) -> str:
    """The id of the run at whose top a call of this id was made; "" where it is no call of a thread's."""
    found = _CALL_ID.match(call_id)
    return f"{thread_id}.r{found['number']}" if found else ""


def thread_of(entry_id: str) -> str:
    """The thread that the id of a block or of a run names; "" where it is none of these."""
    found = _ENTRY_ID.fullmatch(entry_id)
    return found["thread"] if found else ""


def is_within(run_id: str, other_id: str) -> bool:
    """Whether a run is another one, or one below it."""
    return run_id == other_id or run_id.startswith(f"{other_id}c")


def top_of(run_id: str) -> str:
    """The run at the top of those that this one is below of; itself where there is none."""
    thread_id, dot, number = run_id.rpartition(".")
    return thread_id + dot + number.partition("c")[0]
