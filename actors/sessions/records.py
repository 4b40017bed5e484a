"""Journal records of a session, and their JSON."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from zlib import compress, decompress

from actors.journal.cuts import Merged
from actors.journal.formats import check_format, of_a_later_release, of_line, to_line
from actors.models.messages import TurnOutput
from actors.sessions.repeats import KeptIds, KeptParts
from api.cluster import Edit, Retention
from api.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from api.turns import (
    BeginningOfText,
    Earlier,
    Message,
    Part,
    Sampling,
    Text,
    Tokens,
    TurnRequest,
)


@dataclass(frozen=True, slots=True)
class Opened:
    """The session as it was opened; the first record. Earlier ones have no ``adapter``, or no ``title``."""

    session_id: str
    model: str
    retention: Retention
    max_context: int
    idle_timeout_s: float | None
    adapter: str | None = None
    format: int = 0
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Titled:
    """The session was given this title."""

    title: str


@dataclass(frozen=True, slots=True)
class TurnQueued:
    """A turn was accepted, and is to start when those before it have ended. Earlier ones have no ``edit``.

    ``kept`` is as that of its start.
    """

    request: TurnRequest
    edit: Edit | None = None
    kept: KeptParts | None = None


@dataclass(frozen=True, slots=True)
class TurnDismissed:
    """A turn was cancelled before it started."""

    request: TurnRequest


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A turn was accepted; nothing of it may be delivered before this is durable. The seed is settled.

    Before its prompt it tells ``num_before`` parts that edits have it tell: those before it, and its own ``edit``.
    Earlier ones have these parts in the prompt, their number as ``num_told``, and the edit as a record of its own.
    Where the edit begins the context anew, it is known what all of that came to: ``prompt_ids``.

    In the journal ``kept`` is what the edit tells then, and ``kept_ids`` are these ids; see ``shortened``.
    """

    request: TurnRequest
    num_before: int = 0
    edit: Edit | None = None
    prompt_ids: tuple[int, ...] = ()
    kept: KeptParts | None = None
    kept_ids: KeptIds | None = None


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn's tokens are in the context from now on.

    Earlier ones do not say when that was, nor of how many tokens the KV cache was found. In the journal there are no
    ``prompt_ids`` where those of its start are.
    """

    turn_id: str
    prompt_ids: tuple[int, ...]
    output: TurnOutput
    num_resident: int = 0
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class TurnKept:
    """A turn of a context before the one that the session began with, from ``base_length`` to the end of its output.

    Of its prompt only the number of tokens is known; of an earlier release's, not the model.
    """

    request: TurnRequest
    base_length: int
    num_prompt: int
    output: TurnOutput
    num_resident: int
    ended_at: float | None
    model: str = ""


@dataclass(frozen=True, slots=True)
class TurnRestarted:
    """The model actor that ran the turn died, and the turn is about to be started on another."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """The turn came to nothing; the context is as before. Model actors died of it where it is quarantined.

    ``reason`` is "" where it was refused, and its caller was told, or in earlier ones. One that was to begin the
    context anew, and was refused, has not started.
    """

    turn_id: str
    is_quarantined: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TurnHidden:
    """The turn is shown no longer; its tokens stay."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The context was cut back to ``length`` tokens, and ``then`` was appended."""

    length: int
    then: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Edited:
    """The session was changed otherwise than by a turn. ``kept`` is as that of a turn's start."""

    edit: Edit
    kept: KeptParts | None = None


@dataclass(frozen=True, slots=True)
class Packed(Merged):
    """As those of these lines, one after another: ``num_merged`` that were at the positions before it, and one more."""

    lines: str
    num_merged: int

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> Packed:
        """Those of these lines."""
        return cls(b64encode(compress(b"\n".join(lines))).decode(), len(lines) - 1)

    def records(self) -> Iterator[Record]:
        """Those that it has."""
        return map(decode, decompress(b64decode(self.lines)).split(b"\n"))


FORMAT = 1
"""The format of new streams. Format 0 wrote none."""

Record = (
    Opened
    | Titled
    | TurnQueued
    | TurnDismissed
    | TurnStarted
    | TurnKept
    | TurnRestarted
    | TurnEnded
    | TurnFailed
    | TurnHidden
    | RolledBack
    | Edited
)
_RECORDS: Mapping[str, Any] = {kind.__name__: kind for kind in (*get_args(Record), Packed)}

_NAMES: Mapping[type, str] = {
    **{Text: "text", Tokens: "tokens", Message: "message", BeginningOfText: "bos", Earlier: "earlier"},
    **{JsonSchema: "json_schema", Regex: "regex", Choice: "choice", Grammar: "grammar"},
}
"""Of the types of fields that have several: such a value is a pair, of its type's name and of what it is made of."""


def encode(record: Record | Packed) -> bytes:
    """A record as one line of JSON."""
    fields = asdict(record)
    if isinstance(record, TurnQueued | TurnDismissed | TurnStarted | TurnKept):
        fields["request"] |= _special_fields(record.request)
    if isinstance(record, TurnQueued | TurnStarted | Edited) and record.edit is not None:
        fields["edit"]["told"] = [_named(part) for part in record.edit.told]
    if isinstance(record, TurnQueued | TurnStarted | Edited) and record.kept is not None:
        fields["kept"]["others"] = [_named(part) for part in record.kept.others]
    if isinstance(record, TurnQueued | TurnStarted | Edited):
        fields = {name: value for name, value in fields.items() if value not in (None, ())}
    if isinstance(record, TurnEnded | TurnKept) and not record.output.logprobs:
        del fields["output"]["logprobs"]
    return to_line([type(record).__name__, fields])


def decode_all(line: bytes) -> Iterator[Record]:
    """The records of a line, in this release or an earlier one: those that were packed, or one; see ``decode``."""
    record = decode_line(line)
    return record.records() if isinstance(record, Packed) else iter((record,))


def decode(line: bytes) -> Record:
    """The record of a line that has one; see ``decode_line``."""
    record = decode_line(line)
    assert not isinstance(record, Packed), "what is packed is packed once"
    return record


def is_packed(line: bytes) -> bool:
    """Whether it has several records."""
    return line.startswith(b'["Packed",')


def decode_line(line: bytes) -> Record | Packed:
    """What ``encode`` wrote, in this release or an earlier one.

    Raises:
        Unavailable: a later release wrote it.
    """
    name, fields = of_line(line)
    try:
        return _record(name, fields)
    except (KeyError, TypeError) as error:
        raise of_a_later_release(f"a session's record {name}", error) from error


def _record(name: str, fields: dict[str, Any]) -> Record | Packed:
    if name == Opened.__name__:
        check_format("a session", fields.get("format", 0), FORMAT)
    if "num_told" in fields:
        fields["num_before"] = num_told = fields.pop("num_told")
        del fields["request"]["prompt"][:num_told]
    record: Record | Packed = _reader(_RECORDS[name])(fields)
    return record


def _special_fields(request: TurnRequest) -> dict[str, Any]:
    return {
        "prompt": [_named(part) for part in request.prompt],
        "constraint": None if request.constraint is None else _named(request.constraint),
    }


def _named(value: Part | Constraint) -> tuple[str, dict[str, Any]]:
    return _NAMES[type(value)], asdict(value)


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """How a value of this type is made of its JSON: of a dataclass from its fields, and of a tuple from a list."""
    if kind is Sampling:
        return Sampling.nearest
    if isinstance(kind, type) and is_dataclass(kind):
        readers = {name: _reader(hint) for name, hint in get_type_hints(kind).items()}
        return lambda fields: kind(**{name: readers[name](value) for name, value in fields.items()})
    if get_origin(kind) is tuple:
        read = _reader(get_args(kind)[0])
        return tuple if read is _itself else lambda values: tuple(map(read, values))
    if get_origin(kind) in (Union, UnionType):
        return _optional({_NAMES.get(one, ""): _reader(one) for one in get_args(kind) if one is not NoneType})
    return _itself


def _optional(readers: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    if read := readers.get(""):
        return lambda value: None if value is None else read(value)
    return lambda pair: None if pair is None else readers[pair[0]](pair[1])


def _itself(value: Any) -> Any:
    return value
