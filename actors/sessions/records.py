"""Journal records of a session, and their JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from actors.journal.formats import check_format, of_a_later_release, of_line, to_line
from actors.models.messages import TurnOutput
from api.cluster import Retention
from api.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from api.tools import Tool, ToolCall, ToolChoice
from api.turns import (
    BeginningOfText,
    Distribution,
    Earlier,
    Finish,
    Message,
    Part,
    Sampling,
    Stop,
    Text,
    TokenLogprobs,
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
    """A turn was accepted, and is to start when those before it have ended."""

    request: TurnRequest


@dataclass(frozen=True, slots=True)
class TurnDismissed:
    """A turn was cancelled before it started."""

    request: TurnRequest


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A turn was accepted; nothing of it may be delivered before this is durable. The seed is settled."""

    request: TurnRequest


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn's tokens are in the context from now on.

    Earlier ones do not say when that was, nor of how many tokens the KV cache was found.
    """

    turn_id: str
    prompt_ids: tuple[int, ...]
    output: TurnOutput
    num_resident: int = 0
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class TurnRestarted:
    """The model actor that ran the turn died, and the turn is about to be started on another."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """The turn came to nothing; the context is as before. Model actors died of it where it is quarantined.

    ``reason`` is "" where it was refused, and its caller was told, or in earlier ones.
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


FORMAT = 1
"""The format of new streams. Format 0 wrote none."""

Record = (
    Opened
    | Titled
    | TurnQueued
    | TurnDismissed
    | TurnStarted
    | TurnRestarted
    | TurnEnded
    | TurnFailed
    | TurnHidden
    | RolledBack
)
_WITH_REQUEST = {kind.__name__: kind for kind in (TurnQueued, TurnDismissed, TurnStarted)}

PARTS = {"text": Text, "tokens": Tokens, "message": Message, "bos": BeginningOfText, "earlier": Earlier}
CONSTRAINTS = {"json_schema": JsonSchema, "regex": Regex, "choice": Choice, "grammar": Grammar}


def encode(record: Record) -> bytes:
    """A record as one line of JSON."""
    fields = asdict(record)
    if isinstance(record, TurnQueued | TurnDismissed | TurnStarted):
        fields["request"] |= _special_fields(record.request)
    if isinstance(record, TurnEnded) and not record.output.logprobs:
        del fields["output"]["logprobs"]
    return to_line([type(record).__name__, fields])


def decode(line: bytes) -> Record:
    """The record that ``encode`` wrote, in this release or an earlier one.

    Raises:
        Unavailable: a later release wrote it.
    """
    name, fields = of_line(line)
    try:
        return _record(name, fields)
    except (KeyError, TypeError) as error:
        raise of_a_later_release(f"a session's record {name}", error) from error


def _record(name: str, fields: dict[str, Any]) -> Record:
    if name == "Opened":
        check_format("a session", fields.get("format", 0), FORMAT)
        return Opened(**{**fields, "retention": Retention(**fields["retention"])})
    if name in _WITH_REQUEST:
        return _WITH_REQUEST[name](_request(fields["request"]))
    if name == "TurnEnded":
        settled = {"prompt_ids": tuple(fields["prompt_ids"]), "output": _output(fields["output"])}
        return TurnEnded(**{**fields, **settled})
    if name == "RolledBack":
        return RolledBack(fields["length"], tuple(fields["then"]))
    if name == "Titled":
        return Titled(**fields)
    if name == "TurnRestarted":
        return TurnRestarted(**fields)
    if name == "TurnHidden":
        return TurnHidden(**fields)
    if name == "TurnFailed":
        return TurnFailed(**fields)
    raise KeyError(name)


def _special_fields(request: TurnRequest) -> dict[str, Any]:
    """The fields of a request that have several types, with the names of theirs."""
    names: dict[type, str] = {kind: name for kinds in (PARTS, CONSTRAINTS) for name, kind in kinds.items()}
    constraint = request.constraint
    return {
        "prompt": [[names[type(part)], asdict(part)] for part in request.prompt],
        "constraint": None if constraint is None else [names[type(constraint)], asdict(constraint)],
    }


def _request(fields: dict[str, Any]) -> TurnRequest:
    stop = dict(fields["stop"])
    stop["token_lists"] = tuple(tuple(tokens) for tokens in stop["token_lists"])
    stop["texts"], stop["suffixes"] = tuple(stop["texts"]), tuple(stop["suffixes"])
    allowed, constraint = fields.get("allowed_tokens"), fields.get("constraint")
    choice = fields.get("tool_choice", {"mode": "auto", "names": ()})
    settled = {
        "prompt": tuple(_part(name, part) for name, part in fields["prompt"]),
        "sampling": Sampling.nearest(fields["sampling"]),
        "stop": Stop(**stop),
        "allowed_tokens": None if allowed is None else tuple(allowed),
        "constraint": None if constraint is None else _constraint(*constraint),
        "tools": tuple(Tool(**tool) for tool in fields.get("tools", ())),
        "tool_choice": ToolChoice(choice["mode"], tuple(choice["names"])),
    }
    return TurnRequest(**{**fields, **settled})


def _part(name: str, fields: dict[str, Any]) -> Part:
    if name == "tokens":
        return Tokens(tuple(fields["ids"]))
    if name == "message":
        return _message(fields)
    if name == "earlier":
        front, messages = (tuple(_message(one) for one in fields[name]) for name in ("front", "messages"))
        return Earlier(tuple(fields["ids"]), front, tuple(Tool(**tool) for tool in fields["tools"]), messages)
    part: Part = PARTS[name](**fields)
    return part


def _message(fields: dict[str, Any]) -> Message:
    calls = tuple(ToolCall(**call) for call in fields.get("tool_calls", ()))
    return Message(**{**fields, "tool_calls": calls})


def _constraint(name: str, fields: dict[str, Any]) -> Constraint:
    if name == "choice":
        return Choice(tuple(fields["options"]))
    constraint: Constraint = CONSTRAINTS[name](**fields)
    return constraint


def _output(fields: dict[str, Any]) -> TurnOutput:
    finish = _finish(fields["finish"]) if fields["finish"] else None
    logprobs = tuple(_logprobs(one) for one in fields.get("logprobs", ()))
    return TurnOutput(tuple(fields["ids"]), tuple(fields["pieces"]), logprobs, finish)


def _logprobs(fields: dict[str, Any]) -> TokenLogprobs:
    return TokenLogprobs(fields["chosen"], tuple((token_id, logprob) for token_id, logprob in fields["top"]))


def _finish(fields: dict[str, Any]) -> Finish:
    found = fields.get("distribution")
    if found is None:
        return Finish(**fields)
    top = tuple((token_id, logprob) for token_id, logprob in found["top"])
    return Finish(**{**fields, "distribution": Distribution(top, found["entropy"])})
