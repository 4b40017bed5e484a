"""What a program can ask of its surroundings: each effect is one call, whose result is kept so that it can be replayed.

An effect's type says what its result is. Two effects are the same call when their fields are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from api.cluster import ModelInfo, Retention
from api.topics import Cursor, TopicEvent
from api.turns import Distribution, Finish, Part, Role, TurnRequest
from api.values import Value

Result = TypeVar("Result", covariant=True)
Hole: TypeAlias = tuple[int, int, int]
"""(since, start, end): tokens from position ``since`` on do not see those from ``start`` up to ``end``."""


class Effect(Generic[Result]):
    """One call to the outside."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Send(Effect[None]):
    """A message to whoever is attached; its result is that there is room for the next one."""

    value: Value


@dataclass(frozen=True, slots=True)
class Received:
    """A message from a client. ``position`` counts those that this instance was sent."""

    position: int
    value: Value


@dataclass(frozen=True, slots=True)
class Receive(Effect[Received | None]):
    """The next message from a client; None where none came within ``timeout_s``."""

    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Now(Effect[float]):
    """The time, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Random(Effect[float]):
    """A random number in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Models(Effect[tuple[ModelInfo, ...]]):
    """The models, the default one first."""


@dataclass(frozen=True, slots=True)
class Encode(Effect[tuple[int, ...]]):
    """Token ids that parts append to a context.

    Attributes:
        last_id: the context's last token; None where it is empty.
        after: the role of the message that the context ends with, closed; None where it ends otherwise.
        opens_answer: whether messages are followed by what opens the model's answer.
    """

    model: str
    parts: tuple[Part, ...]
    last_id: int | None = None
    after: Role | None = None
    opens_answer: bool = False


@dataclass(frozen=True, slots=True)
class Decode(Effect[str]):
    """The text of token ids."""

    model: str
    ids: tuple[int, ...]
    skip_special_tokens: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn on a context of the program: all tokens before it, its holes, and the request."""

    context_id: str
    model: str
    tokens: tuple[int, ...]
    request: TurnRequest
    retention: Retention
    holes: tuple[Hole, ...] = ()


@dataclass(frozen=True, slots=True)
class Generated:
    """A turn's output, or a part of it; ``prompt_ids`` as the prompt came to. ``finish`` None while there is more."""

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    finish: Finish | None = None

    @property
    def text(self) -> str:
        """The text of it."""
        return "".join(self.pieces) + (self.finish.tail if self.finish else "")


@dataclass(frozen=True, slots=True)
class Generate(Effect[Generated]):
    """The whole output of a turn."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class NextPiece(Effect[Generated]):
    """What a turn has made behind what the program has of it."""

    turn: Turn
    delivered: Generated

    def __repr__(self) -> str:
        """Short: the number of tokens says enough of what was delivered."""
        turn = self.turn
        return f"NextPiece({turn.context_id}, {turn.request.turn_id}, {len(self.delivered.ids)})"


@dataclass(frozen=True, slots=True)
class NextDistribution(Effect[tuple[tuple[int, ...], Distribution]]):
    """A turn that samples nothing: the ids of its prompt, and what may come next."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class ResidentTokens(Effect[int]):
    """How many of a context's tokens have KV now."""

    context_id: str


@dataclass(frozen=True, slots=True)
class Mask(Effect[None]):
    """Hide tokens of a context from all later ones."""

    context_id: str
    model: str
    tokens: tuple[int, ...]
    holes: tuple[Hole, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Prefix:
    """A named context: its tokens, and the context that holds their KV (until that is evicted).

    ``role`` is that of the closed message that it ends with; see ``Encode.after``.
    """

    model: str
    context_id: str
    tokens: tuple[int, ...]
    holes: tuple[Hole, ...] = ()
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class Export(Effect[None]):
    """Give a name to a copy of the prefix's context, for all inferlets of this owner."""

    name: str
    prefix: Prefix


@dataclass(frozen=True, slots=True)
class Import(Effect[Prefix]):
    """The context of this name."""

    model: str
    name: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A topic or a queue took a message."""

    position: int
    num_subscribers: int = 0


@dataclass(frozen=True, slots=True)
class Broadcast(Effect[Accepted]):
    """A message to a topic."""

    topic: str
    value: Value


@dataclass(frozen=True, slots=True)
class NextTopicEvent(Effect[TopicEvent | None]):
    """What comes in a topic behind a place (None: its start, or its end without replay); None after ``timeout_s``."""

    topic: str
    after: Cursor | None
    replay: bool
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Push(Effect[Accepted]):
    """An item to a queue."""

    queue: str
    value: Value


@dataclass(frozen=True, slots=True)
class Pulled:
    """An item of a queue, and the receipt to acknowledge it with."""

    queue: str
    position: int
    value: Value
    receipt: str
    num_deliveries: int


@dataclass(frozen=True, slots=True)
class Pull(Effect[Pulled | None]):
    """The oldest item of a queue that nobody has; None where none came within ``timeout_s``."""

    queue: str
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Acknowledge(Effect[bool]):
    """An item of a queue is done; False where it had gone to another."""

    item: Pulled


@dataclass(frozen=True, slots=True)
class Release(Effect[None]):
    """Give an item back to its queue."""

    item: Pulled


@dataclass(frozen=True, slots=True)
class Launch(Effect[str]):
    """Start a child; its id."""

    program: str
    arguments: tuple[str, ...]
    name: str | None


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """What a child did: ``kind`` is the name of its event's class."""

    kind: str
    position: int
    value: Value


@dataclass(frozen=True, slots=True)
class NextChildEvent(Effect[ChildEvent | None]):
    """A child's first message or end behind a position; None where none came within ``timeout_s``."""

    child_id: str
    after: int
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class SendToChild(Effect[None]):
    """A message to a child."""

    child_id: str
    value: Value


@dataclass(frozen=True, slots=True)
class TerminateChild(Effect[None]):
    """End a child."""

    child_id: str


@dataclass(frozen=True, slots=True)
class StoreGet(Effect[Value]):
    """A value of the owner's store; None where there is none."""

    key: str


@dataclass(frozen=True, slots=True)
class StorePut(Effect[None]):
    """Set a value of the owner's store."""

    key: str
    value: Value


@dataclass(frozen=True, slots=True)
class StoreDelete(Effect[bool]):
    """Remove a value of the owner's store; whether it was there."""

    key: str


@dataclass(frozen=True, slots=True)
class StoreList(Effect[tuple[str, ...]]):
    """The keys of the owner's store that begin so."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Forked:
    """A context begins as a prefix of another."""

    source_id: str
    target_id: str
    model: str
    tokens: tuple[int, ...]
    holes: tuple[Hole, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """A turn's output is not read any further."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Dropped:
    """A context's KV is not needed for now."""

    context_id: str


@dataclass(frozen=True, slots=True)
class Refilled:
    """A context's KV will be needed soon."""

    context_id: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A context is not needed any longer."""

    context_id: str


Notice: TypeAlias = Forked | Left | Dropped | Refilled | Closed
"""What concerns KV only, changes no result, and so is neither answered nor kept."""
