"""What callers ask of a thread, as its program receives it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from api.threads.blocks import Role
from api.tools import Tool

IfBusy = Literal["queue", "reject", "interrupt", "rollback", "steer"]
CancelMode = Literal["keep", "rollback"]

MAX_TIMEOUT_S = 30 * 86_400.0
"""Of a run, of one call of a tool, and of an ask."""

MAX_NAME_CHARS = 256

OF_RESPONSE = "greenroom.response"
"""In metadata: what is kept of a response. No caller gives it."""


def name_of(context_keys: Mapping[str, str | int | float | bool]) -> str:
    """The name of the thread of these keys: their canonical JSON text, or its hash where that is long."""
    text = json.dumps(dict(context_keys), sort_keys=True, separators=(",", ":"))
    return text if len(text) <= MAX_NAME_CHARS else hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request allows its run; an agent's own limits cannot be raised."""

    max_actions: int | None = None
    max_tokens: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """Begin a run, or have it wait for its place.

    Attributes:
        if_busy: None for what the agent says; where that is "steer", "queue" for a prompt ``is_for_own_run``.
        tool_choice: for the first steps, one each: "auto", "none", "required", or a tool's name.
        history: roles and texts of what was said elsewhere before, which the model reads first.
        tools: of the caller's own, for this run; a call of one is an ask for its result.
        after: the run that the thread accepted last; where another one came after that, the prompt is refused.
        answering: answers that are taken with it, before it; none of them where it is refused.
    """

    text: str
    if_busy: IfBusy | None = None
    tool_choice: tuple[str, ...] = ()
    limits: Limits = Limits()
    labels: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    history: tuple[tuple[Role, str], ...] = ()
    tools: tuple[Tool, ...] = ()
    after: str | None = None
    answering: Answers | None = None

    @property
    def is_for_own_run(self) -> bool:
        """It has what a run has once, so that it cannot join one."""
        has_limits = self.limits != Limits()
        return has_limits or bool(self.tool_choice or self.metadata or self.history or self.tools or self.answering)


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a run. With ``rollback`` it leaves the transcript and the model's context too."""

    run_id: str
    mode: CancelMode = "keep"


@dataclass(frozen=True, slots=True)
class Steer:
    """Let a prompt join a run at its next step."""

    run_id: str
    text: str


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """The answer to one ask. ``metadata`` is what a protocol keeps with it: no client gives it."""

    ask_id: str
    approve: bool | None = None
    value: Any = None
    reason: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to asks of one run: all are taken, or none."""

    run_id: str
    answers: tuple[GivenAnswer, ...]


@dataclass(frozen=True, slots=True)
class Exhausted:
    """From the thread's own actor: this run has filled as much of the journal as one may."""

    run_id: str


Command: TypeAlias = Prompt | Cancel | Steer | Answers | Exhausted
_LEFT_OUT = ("history", "tools", "after", "answering")
"""Of a prompt, where they are empty."""

_KINDS: dict[str, type[Command]] = {
    "prompt": Prompt,
    "cancel": Cancel,
    "steer": Steer,
    "answers": Answers,
    "exhausted": Exhausted,
}


def sent(command: Command) -> dict[str, Any]:
    """The command as the message that carries it."""
    kind = next(name for name, kind in _KINDS.items() if kind is type(command))
    fields = asdict(command)
    fields = {name: value for name, value in fields.items() if value or name not in _LEFT_OUT}
    return {"command": kind, **fields}


def received(message: object) -> Command:
    """The command that a message carries.

    Raises:
        ValueError: it carries none.
    """
    try:
        fields: dict[str, Any] = dict(message)  # type: ignore[call-overload]
        kind = _KINDS[fields.pop("command")]
        if kind is Prompt:
            fields |= {"limits": Limits(**fields["limits"]), "tool_choice": tuple(fields["tool_choice"])}
            fields["history"] = tuple((role, text) for role, text in fields.get("history", ()))
            fields["tools"] = tuple(Tool(**one) for one in fields.get("tools", ()))
            fields["answering"] = _answers(fields["answering"]) if "answering" in fields else None
        elif kind is Answers:
            return _answers(fields)
        return kind(**fields)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError("this message is no command") from error


def _answers(fields: Mapping[str, Any]) -> Answers:
    return Answers(**{**fields, "answers": tuple(GivenAnswer(**one) for one in fields["answers"])})
