"""What a model actor receives and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.engine.contract import EVICT_FIRST, EVICT_LAST, EVICT_NEXT, Hole
from api.turns import Finish, Frame, TokenLogprobs, TurnRequest, TurnStart

EVICTION_RANKS = {"keep": EVICT_LAST, "adaptive": EVICT_NEXT, "predictive": EVICT_NEXT, "drop": EVICT_FIRST}
"""In which order contexts lose their KV under memory pressure, by policy."""


@dataclass(frozen=True, slots=True)
class TurnOutput:
    """All that a turn has produced so far; ``finish`` None while it runs."""

    ids: tuple[int, ...] = ()
    pieces: tuple[str, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    finish: Finish | None = None

    @property
    def text(self) -> str:
        """The output's text."""
        return "".join(self.pieces) + (self.finish.tail if self.finish else "")

    def frame(self, turn_id: str, attempt: int, offset: int) -> Frame:
        """What is there from an offset on, as one frame."""
        return Frame(turn_id, attempt, 0, self.ids, self.pieces, self.logprobs, self.finish).after(offset)


@dataclass(frozen=True, slots=True)
class StartTurn:
    """To a model actor: run this turn.

    Attributes:
        base_length, base_hash: the context before the turn, as its owner knows it, with its holes.
        last_id: the last token before the turn; None where the context is empty.
        context: all tokens before the turn; None while the actor is believed to hold them.
        prompt_ids: the prompt, where an earlier attempt has already found it.
        prior: output that has been delivered already; the turn goes on after it.
        policy: the retention policy, for counters and for the order of eviction.
        holes: of the context; needed where ``context`` is sent.
        owner: whose context it is, and whose turn.
        adapter: of the context.
        is_suspect: a model actor has died of it, or of another turn beside it.
        is_warm: it begins from what the owner's warm contexts hold of its tokens, and runs on one of them, which stays;
            a temporary one runs on a context of its own. ``base_length`` is 0.
        keep_s: for so long that context is closed after others that may go.
    """

    request: TurnRequest
    context_id: str
    attempt: int
    base_length: int
    base_hash: bytes
    last_id: int | None
    context: tuple[int, ...] | None = None
    prompt_ids: tuple[int, ...] | None = None
    prior: TurnOutput = field(default_factory=TurnOutput)
    policy: str = "keep"
    is_temporary: bool = False
    holes: tuple[Hole, ...] = ()
    owner: str = ""
    adapter: str | None = None
    is_suspect: bool = False
    is_warm: bool = False
    keep_s: float = 0.0

    @property
    def key(self) -> str:
        """Names the turn among all on a model actor; its id is unique in its context only."""
        return turn_key(self.context_id, self.request.turn_id)


def turn_key(context_id: str, turn_id: str) -> str:
    """See ``StartTurn.key``."""
    return f"{context_id}/{turn_id}"


@dataclass(frozen=True, slots=True)
class AttachedTurn:
    """From a model actor: a turn that it runs or still remembers."""

    attempt: int
    start: TurnStart
    num_output: int


@dataclass(frozen=True, slots=True)
class PollReply:
    """From a model actor: frames of turns that have moved, turns that it does not know, turns that failed; by key."""

    frames: Mapping[str, Frame] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    failed: Mapping[str, Exception] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """An adapter, and the directory of its files; ``digest`` is what these must have, "" for whatever is there."""

    name: str
    path: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class LoadedAdapters:
    """From the directory: the adapters that a model is to have beside those of its settings.

    ``revision`` grows with each change.
    """

    revision: int = 0
    adapters: tuple[LoadedAdapter, ...] = ()


@dataclass(frozen=True, slots=True)
class StartReport:
    """From a model actor to the directory while it starts: what it has come to so far, in order."""

    name: str
    incarnation: str
    stages: tuple[str, ...]
