"""What a program can ask of models and contexts; see ``api.inferlet.effects``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from api.cluster import ModelInfo, Retention
from api.inferlet.effects import Effect
from api.inferlet.work_effects import Abandoned, Shown
from api.tools import Tool
from api.turns import Distribution, Finish, Part, Role, TurnRequest

Hole: TypeAlias = tuple[int, int, int]
"""(since, start, end): tokens from position ``since`` on do not see those from ``start`` up to ``end``."""


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
        tools: that the model is told of, where its chat template does that for these messages.
    """

    model: str
    parts: tuple[Part, ...]
    last_id: int | None = None
    after: Role | None = None
    opens_answer: bool = False
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class Decode(Effect[str]):
    """The text of token ids."""

    model: str
    ids: tuple[int, ...]
    skip_special_tokens: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn on a context of the program: all tokens before it, its holes, its adapter, and the request."""

    context_id: str
    model: str
    tokens: tuple[int, ...]
    request: TurnRequest
    retention: Retention
    holes: tuple[Hole, ...] = ()
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """A turn's output, or a part of it; ``prompt_ids`` as the prompt came to. ``finish`` None while there is more.

    ``num_resident`` says how many tokens of the context and the prompt had KV when the turn began.
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    finish: Finish | None = None
    num_resident: int = 0

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
    """What a turn has made after what the program has of it. The prompt's ids come with the first ids only."""

    turn: Turn
    delivered: Generated


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
    """A named context: its tokens, its adapter, and the context that holds their KV (until that is evicted).

    ``role`` is that of the closed message that it ends with; see ``Encode.after``.
    """

    model: str
    context_id: str
    tokens: tuple[int, ...]
    holes: tuple[Hole, ...] = ()
    role: Role | None = None
    adapter: str | None = None


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


Notice: TypeAlias = Forked | Left | Dropped | Refilled | Closed | Shown | Abandoned
"""What changes no result, and so is neither answered nor kept."""
