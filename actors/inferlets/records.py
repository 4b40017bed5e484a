"""What the journal keeps of an inferlet, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from typing_extensions import override

from actors.inferlets.codec import Codec
from actors.inferlets.program import Source
from actors.journal.cuts import Cut, Merged
from api import errors, topics
from api.answers.formats import AnswerFormat, CallFormat, ParameterFormat
from api.cluster import ModelInfo, Retention
from api.errors import GreenroomError
from api.inferlet import effects
from api.inferlet.context_effects import Generated, Prefix
from api.inferlet.work_effects import Output, Shown
from api.tools import ToolCall
from api.turns import Distribution, Finish, Message, Sampling
from api.values import Value


@dataclass(frozen=True, slots=True)
class Launched:
    """The instance as it was launched; the first record.

    Attributes:
        program: what it is called: the SHA-256 of its source, or ``module:function``.
        source: None for a ``module:function``.
        file: the name that its source had.
        format: of the stream's digests; see ``actors.inferlets.digest``.
        idle_timeout_s: of a thread without an active run, where it is another than that of the settings.
    """

    program: str
    source: str | None
    file: str
    arguments: tuple[str, ...]
    name: str
    parent: str | None
    format: int = 0
    idle_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message has come for the program; the same ``key`` again is the same message."""

    key: str
    value: Value


@dataclass(frozen=True, slots=True)
class Sent:
    """The program sent this with its call of this number; ``is_waiting`` where there was no room for more."""

    call: int
    digest: str
    value: Value
    is_waiting: bool


@dataclass(frozen=True, slots=True)
class Logged:
    """The program appended this to its own log with its call of this number."""

    call: int
    digest: str
    value: Value


@dataclass(frozen=True, slots=True)
class Checkpointed(Cut):
    """A later life begins here, with the note, instead of from the program's start. The program waited for nothing.

    The numbers are those that calls, ids, waits and tasks had come to; ``at`` is what the program's clock stood at.
    ``is_addition``: the note says what has changed since that of the checkpoint before; in earlier releases, all.
    ``num_received``: messages that the program had received; None where that is not known, as in earlier releases.
    """

    num_calls: int
    num_ids: int
    num_waits: int
    num_tasks: int
    at: float
    note: Any
    is_addition: bool = False
    num_received: int | None = None

    @property
    @override
    def cuts(self) -> bool:
        return self.num_received is not None


@dataclass(frozen=True, slots=True)
class Continued(Cut):
    """The program has ended its run, and begins again from its start with this state; so does a later life.

    Attributes:
        num_calls, num_ids: what calls and ids had come to; they go on.
        num_received: how many messages of its clients it had received.
        places: where it was in topics.
        num_printed, is_output_cut: how many characters of its output are kept, and whether the rest is left out.
        first_event, first_message: the first ones that are kept, of its events and of the messages for it.
        num_read: how many of its events its clients had read. ``Read`` before it is not kept.
    """

    num_calls: int
    num_ids: int
    num_received: int
    places: dict[str, topics.Cursor]
    num_printed: int
    is_output_cut: bool
    state: Value
    first_event: int = 0
    first_message: int = 0
    num_read: int = 0


@dataclass(frozen=True, slots=True)
class Restarted:
    """What the program had done since its last checkpoint is lost: it goes on without that.

    Its runs fail so, but for those that had not begun.
    """

    reason: Literal["worker_lost", "budget"]
    sentence: str


@dataclass(frozen=True, slots=True)
class Printed:
    """The program printed this, to "stdout" or "stderr"."""

    stream: str
    text: str


@dataclass(frozen=True, slots=True)
class OutputCut:
    """The program printed more than ``limit`` characters; the rest is not kept."""

    limit: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A call of the program got this result; ``effect`` is its name, ``digest`` names its arguments.

    Of this and the next three, ``num_calls`` says how many calls the program had made by then, ``at`` what its clock
    showed from then on.
    """

    call: int
    effect: str
    digest: str
    result: Any
    num_calls: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Raised:
    """A call of the program failed: with an error of ``api.errors``, by its class and arguments."""

    call: int
    effect: str
    digest: str
    error: str
    arguments: list[Any]
    num_calls: int = 0
    at: float = 0.0

    @property
    def exception(self) -> GreenroomError:
        """The error."""
        kind: type[GreenroomError] = getattr(errors, self.error)
        return kind(*self.arguments)


@dataclass(frozen=True, slots=True)
class Woken:
    """A timer of the program ran out, or a thread came back: its wait of this number was over."""

    wait: int
    num_calls: int
    at: float


@dataclass(frozen=True, slots=True)
class Slept(Merged):
    """As several ``Woken``, one after another, between which the program made no call.

    Attributes:
        waits, times: decimal numbers, with a space between two: of each the wait and the time, in microseconds, less
            those of the one before it.
    """

    num_calls: int
    waits: str
    times: str
    num_merged: int = 0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The program cancelled a call before it had a result."""

    call: int
    effect: str
    digest: str
    num_calls: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Called:
    """The program made a call whose effect others see; the effect comes after this record."""

    call: int
    effect: str
    digest: str


@dataclass(frozen=True, slots=True)
class Read:
    """Clients have read the events before this position."""

    position: int


@dataclass(frozen=True, slots=True)
class PutAway:
    """The instance was passivated, until something comes for it."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The process had died, and the program runs again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """It is over; ``value`` is the result of a completed one, the sentence or traceback of a failed one."""

    how: Literal["completed", "failed", "terminated", "lost"]
    value: Value = None


Answer: TypeAlias = Returned | Raised | Cancelled
Given: TypeAlias = Answer | Woken
Record: TypeAlias = (
    Launched
    | Delivered
    | Sent
    | Logged
    | Shown
    | Checkpointed
    | Continued
    | Restarted
    | Printed
    | OutputCut
    | Given
    | Slept
    | Called
    | Read
    | PutAway
    | Resumed
    | Ended
)

_PASSING = (*get_args(Given), Slept, Called, Read, PutAway, Resumed, Continued)

_codec = Codec(
    (
        *(kind for kind in get_args(Record) if kind is not Shown),
        Output,
        *(effects.Received, effects.Accepted, effects.Pulled, effects.ChildEvent, Generated, Prefix),
        *(
            ModelInfo,
            AnswerFormat,
            CallFormat,
            ParameterFormat,
            Retention,
            Sampling,
            Finish,
            Distribution,
            Message,
            ToolCall,
        ),
        *(topics.TopicMessage, topics.Lagged, topics.NewEpoch, topics.Cursor),
        Source,
    )
)
encode = _codec.encode
decode = _codec.decode


def passes(record: Record) -> bool:
    """Whether it is needed only to repeat what the program did before it took note of where it was, or continued."""
    return isinstance(record, _PASSING)


def encode_source(source: Source) -> bytes:
    """An uploaded program, as the journal keeps it."""
    return _codec.encode(source)


def decode_source(program: str, kept: bytes) -> Source:
    """The program that ``encode_source`` was given.

    Earlier releases kept the file's name, a line's end and the text; JSON on one line has no line's end.
    """
    if b"\n" in kept:
        file, _, text = kept.decode().partition("\n")
        return Source(program, file, text)
    source: Source = _codec.decode(kept)
    return source


def raised(call: int, effect: str, digest: str, error: BaseException) -> Raised:
    """The record of a failed call; what is not of ``api.errors`` becomes a plain ``GreenroomError``."""
    kind = type(error).__name__
    if isinstance(error, GreenroomError) and getattr(errors, kind, None) is type(error):
        return Raised(call, effect, digest, kind, list(error.args))
    return Raised(call, effect, digest, "GreenroomError", [kind if not str(error) else f"{kind}: {error}"])
