"""What the routes need from the cluster: the calls, and the values that they exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from api.answers.formats import AnswerFormat
from api.errors import Unavailable
from api.inferlets import Inferlets
from api.threads.contract import Agents
from api.topics import Topics
from api.turns import Finish, Frame, Part, Sampling, TurnRequest, TurnStart


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that is served.

    Attributes:
        aliases: other names under which it answers.
        eos_ids: token ids that end a turn.
        num_ready: model actors that can answer now.
        bos_text: the text of the beginning-of-text token; "" where there is none.
        adapters: names of the LoRA adapters that a context may have.
        sampling: what the checkpoint suggests.
        answers: what its answers look like: for ``api.answers.parser.AnswerParser``.
        is_passive: it has left memory since nobody used it; the next request starts it, and waits for that.
        problem: why it could not be started when it was last used; "" where it could.
    """

    name: str
    aliases: tuple[str, ...]
    engine: str
    max_context_tokens: int
    vocab_size: int
    bos_id: int | None
    eos_ids: tuple[int, ...]
    has_chat_template: bool
    num_ready: int
    bos_text: str = ""
    adapters: tuple[str, ...] = ()
    sampling: Sampling = Sampling(temperature=1.0)
    answers: AnswerFormat = AnswerFormat()
    is_passive: bool = False
    problem: str = ""

    @property
    def has_to_start(self) -> bool:
        """What it is will only be known once it has been started, which the next use of it does."""
        return not self.max_context_tokens and (self.is_passive or bool(self.problem))

    def known(self) -> ModelInfo:
        """This, where an actor has told what the model is.

        Raises:
            Unavailable: none has yet.
        """
        if not self.max_context_tokens:
            raise Unavailable(f"no actor of model {self.name!r} can answer now")
        return self


Warmth = Literal["cold", "shared", "kept"]
"""Of a turn without a session: cold, it computes its whole prompt and leaves nothing; shared, it begins from what
earlier turns of its owner have left; kept, it also leaves its own context for later ones."""

RetentionPolicy = Literal["keep", "drop", "adaptive", "predictive"]


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """A LoRA adapter of a model; ``num_ready`` counts the model actors that have it now."""

    name: str
    path: str
    is_configured: bool
    num_ready: int


@dataclass(frozen=True, slots=True)
class Retention:
    """What happens to a context's KV cache between turns.

    keep: stays resident as long as capacity allows. drop: freed. adaptive: kept when longer than ``threshold``
    tokens, else freed. predictive: freed, and filled again shortly before the next message is expected.
    """

    policy: RetentionPolicy = "keep"
    threshold: int = 256


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session is opened. ``idle_timeout_s`` is sliding; None takes the configured one.

    ``adapter`` names one of the model's, for the session's whole life and its forks. A session without a ``title``
    gets one from its first message.
    """

    model: str | None = None
    retention: Retention = field(default_factory=Retention)
    max_context: int | None = None
    idle_timeout_s: float | None = None
    adapter: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A turn as history: ``base_length`` is the length to roll back or fork to in order to undo it.

    Attributes:
        note: see ``TurnRequest``.
        ended_at: seconds since the epoch; None before, or where that was not recorded.
        error: why it failed; the context is as before then.
        is_waiting: it has not begun, since others are before it.
        num_told: parts at the front of its prompt that edits had it tell.
        is_past: the context is another one than the turn was for, since it has begun anew, or could not.
    """

    turn_id: str
    prompt: tuple[Part, ...]
    text: str
    base_length: int
    end_length: int
    num_output: int
    finish: Finish | None
    note: str = ""
    ended_at: float | None = None
    error: str | None = None
    is_waiting: bool = False
    num_told: int = 0
    is_past: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a session that is no turn. The session keeps its texts, and does not look at them.

    Attributes:
        edit_id: chosen by the caller, unique in the session; making an edit twice is making it once.
        note: of the session, in the place of the one before; None leaves that.
        addition: an entry of the log; "" for none.
        told: what the next turn tells the model before its own prompt, after what earlier edits have it tell.
        is_anew: the context begins anew, with ``told`` and nothing else; the turns before stay in the log as past ones.
        front: the caller's name for what the context begins with, until it begins anew; None leaves that.
        hidden: names that are added to those in ``SessionLog.hidden``.
        model, max_context: of a context that begins anew; None leaves them.
        is_delisted: the session goes from lists, and is there no longer but for its turns that have a note.
    """

    edit_id: str
    note: str | None = None
    addition: str = ""
    told: tuple[Part, ...] = ()
    is_anew: bool = False
    front: str | None = None
    hidden: tuple[str, ...] = ()
    model: str | None = None
    max_context: int | None = None
    is_delisted: bool = False


@dataclass(frozen=True, slots=True)
class SessionLog:
    """What was said in a session and added to it, in order, as far as it was asked for.

    Attributes:
        note, front, hidden: as the edits say; None where none does.
        version: the id of the turn or the edit that was accepted last, for ``after``; None where that is not known.
        unfinished: the ids of the turns that run or wait, in their order.
        is_stale: names were hidden since the context began.
        is_delisted: as an edit says.
        num_entries: of the whole log: the turns that ended, and the edits with an addition. Turns that are hidden are
            in it only where there is a note or a front.
        num_past: of these were there when the context began anew.
        entries: those that were asked for.
        is_decided: False where it is not known yet whether the last of the unfinished turns begins the context anew.
    """

    model: str
    created_at: float
    note: str | None
    front: str | None
    hidden: frozenset[str]
    version: str | None
    unfinished: tuple[str, ...]
    is_stale: bool
    is_delisted: bool
    num_entries: int
    num_past: int
    entries: tuple[TurnRecord | Edit, ...]
    is_decided: bool = True


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A session as its owner sees it; times are seconds since the epoch, lengths are tokens.

    ``running`` is the id of the turn in progress. A record in ``turns`` whose ``finish`` is None is still running.
    """

    session_id: str
    model: str
    retention: Retention
    length: int
    max_context: int
    num_resident: int
    created_at: float
    last_used_at: float
    running: str | None
    turns: tuple[TurnRecord, ...]
    adapter: str | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session in a list."""

    session_id: str
    owner: str
    model: str
    state: Literal["active", "passive"]
    created_at: float
    last_used_at: float
    title: str = ""


class TurnStream(Protocol):
    """The frames of one turn, from an offset; leaving it early does not cancel a session's turn."""

    start: TurnStart

    def __aiter__(self) -> AsyncIterator[Frame]:
        """Frames in order, without gap or repeat, over crashes; the last has ``finish``.

        Raises:
            Unavailable: the cluster could not go on within the configured time.
        """
        ...

    async def cancel(self) -> None:
        """End the turn within a step; its last frame says "cancelled". Idempotent."""
        ...


class SessionHandle(Protocol):
    """The caller's side of one session. All calls raise ``SessionNotFound`` once it is closed or has expired.

    A turn whose last frame has been read is over for every later call: ``fork``, ``rollback``, ``describe`` and
    ``begin`` wait for what the session still has to record of it, and then see it ended.
    """

    session_id: str

    async def begin(self, request: TurnRequest, after: str | None = None, edit: Edit | None = None) -> TurnStream:
        """Start a turn, or wait for its place in the session's queue. The turn's start is durable on return.

        The same ``turn_id`` again follows the turn that was begun first.

        Args:
            after: the turn or edit that this one is to follow immediately; None for whichever is the last.
            edit: made with its start. A context that it begins anew stays as it was where the turn is refused.

        Raises:
            InvalidRequest, LengthExceeded: the turn cannot be; the session is as before.
            NotLast: the context does not end, or will not end, with the turn ``after``.
            TooBusy: the session's queue is full.
            TurnNotFound: the turn ``after`` is hidden.
            TurnRunning: the context is to begin anew, and a turn runs or waits.
            Unavailable: no model actor could be had in time.
        """
        ...

    async def resume(self, turn_id: str, offset: int) -> TurnStream:
        """Follow a running or ended turn from a token offset.

        Raises:
            TurnNotFound: not one of this session's turns.
            InvalidRequest: the offset lies outside what the turn has produced.
        """
        ...

    async def enqueue(self, request: TurnRequest, after: str | None = None, edit: Edit | None = None) -> None:
        """Have a turn begun in its place in the queue, also after crashes. That it will is durable on return.

        Where it cannot begin then, its record says why. The same ``turn_id`` again changes nothing.

        Raises:
            NotLast, TooBusy, TurnRunning: as ``begin``.
        """
        ...

    async def edit(self, edit: Edit, after: str | None = None) -> None:
        """Change the session. Durable on return. Where it is delisted, and has no turns with a note, it ends.

        Args:
            after: the turn or edit that this one is to follow immediately; None for whichever is the last.

        Raises:
            NotLast: another turn or edit was accepted after that.
            TurnRunning: the context is to begin anew, and a turn runs or waits.
        """
        ...

    async def log(self, start: int = 0, stop: int | None = None) -> SessionLog:
        """The log, with its entries from ``start`` to ``stop``, which count as those of a slice do."""
        ...

    async def turn(self, turn_id: str) -> TurnRecord:
        """One turn that was begun: as history; one that failed or waits too, if it has a note.

        Raises:
            TurnNotFound: not one of this session's turns, or hidden.
        """
        ...

    async def hide(self, turn_id: str) -> None:
        """Cancel a turn and leave it out of ``turn`` from now on, though not of the context. Durable on return.

        The session ends with its last turn that is not hidden, where it has neither a note nor additions.

        Raises:
            TurnNotFound: not one of this session's turns, or hidden.
        """
        ...

    async def listen(self) -> AsyncIterator[str]:
        """The ids of the turns that begin after this returned, until the session ends.

        Those that this handle began may be left out; all others are there, over any gateway. One that follows too
        slowly may miss some. Listening does not count as use.

        Raises:
            SessionNotFound: the session was closed or has expired.
        """
        ...

    async def cancel(self, turn_id: str | None = None) -> bool:
        """Cancel the turn (None: the one that runs); False where it was not running."""
        ...

    async def typing(self) -> None:
        """The user has begun to type: counts as use, and a predictive context is filled now."""
        ...

    async def fork(
        self, length: int | None = None, after: str | None = None, before: str | None = None
    ) -> SessionHandle:
        """A new session of the same owner with the first ``length`` tokens (None: all), sharing the KV cache.

        Args:
            after: the turn with whose end the new one is to end, in the place of a length.
            before: the turn before which it is to end.

        Raises:
            InvalidRequest: the length lies outside the context.
            NotLast, TurnNotFound: as ``tokens``; the turn ``before`` is not in the context.
            TurnRunning: a turn is running (for None; a length up to the running turn's base is fine).
        """
        ...

    async def rollback(self, length: int | None = None, then: tuple[int, ...] = (), before: str | None = None) -> None:
        """Cut the context back to ``length`` tokens and append ``then``; forgets the turns after it.

        Args:
            before: the turn before which the context is to end, in the place of a length.

        Raises:
            InvalidRequest: the length lies outside the context.
            TurnNotFound: the turn ``before`` is not in the context.
            TurnRunning: a turn is running.
        """
        ...

    async def rename(self, title: str) -> None:
        """Give the session another title. Durable on return."""
        ...

    async def describe(self) -> SessionDescription:
        """The session and its history."""
        ...

    async def tokens(self, turn_id: str) -> tuple[int, ...]:
        """The token ids of the context up to the end of this turn.

        Raises:
            NotLast: the context does not hold just what was said up to then: it has begun anew since, or something
                was hidden, or what was to be told with the turn, which failed, still is.
            TurnNotFound: no turn of this id has ended.
        """
        ...

    async def close(self) -> None:
        """End the session: its turn is cancelled, its context freed, its journal deleted. Idempotent."""
        ...


class Cluster(Inferlets, Protocol):
    """The cluster, as the routes see it. ``owner`` is the name of the API key, or "" without keys."""

    @property
    def topics(self) -> Topics:
        """The broker."""
        ...

    @property
    def agents(self) -> Agents:
        """The agents and their threads."""
        ...

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models, the default one first."""
        ...

    async def adapters(self, model: str | None) -> tuple[AdapterInfo, ...]:
        """The adapters of a model: those of the configuration, then those that were loaded.

        Raises:
            ModelNotFound: no such name or alias.
        """
        ...

    async def load_adapter(self, model: str | None, name: str, path: str) -> None:
        """Load an adapter on all actors of a model, while turns run. The same again changes nothing.

        Actors that start later have it too, until it is unloaded. Durable on return.

        Args:
            path: a directory on the disks of their machines, absolute.

        Raises:
            ModelNotFound: no such name or alias.
            InvalidRequest: one sentence on why it cannot be served; no actor has it.
            NameTaken: the model has another adapter of this name.
            Unavailable: no actor of the model could be had in time.
        """
        ...

    async def unload_adapter(self, model: str | None, name: str) -> bool:
        """Unload an adapter that was loaded; False where none of this name was.

        Turns that run with it end with ``UnknownAdapter``, and so do later ones of the sessions and programs that have
        it, until one of this name is loaded. Durable on return.

        Raises:
            ModelNotFound: no such name or alias.
            InvalidRequest: it is of the configuration.
        """
        ...

    async def tokenize(self, model: str | None, text: str) -> tuple[int, ...]:
        """Token ids of a text tokenised alone, without a beginning-of-text token.

        Raises:
            ModelNotFound: no such name or alias.
        """
        ...

    async def token_bytes(self, model: str | None, ids: Sequence[int]) -> tuple[bytes, ...]:
        """What each of these tokens adds to a text; special ones count as their text.

        Raises:
            ModelNotFound: no such name or alias.
        """
        ...

    async def generate(
        self,
        model: str | None,
        request: TurnRequest,
        owner: str,
        warmth: Warmth = "cold",
        hint: str = "",
        keep_s: float = 0.0,
    ) -> TurnStream:
        """One turn of this owner on a context that costs no actor. Leaving the stream cancels it.

        The prompt is the whole of what the model is to see. What of it is held of earlier turns of this owner is not
        computed again, as ``TurnStart.num_resident`` says; the answer is the same. Turns of one ``hint`` go to one
        model actor where their prompts do not say more. What one leaves that is to be kept for ``keep_s`` seconds makes
        room for others after what is not.

        Raises:
            ModelNotFound, InvalidRequest, LengthExceeded, Unavailable
        """
        ...

    async def open_session(self, options: SessionOptions, owner: str) -> SessionHandle:
        """A new session.

        Raises:
            ModelNotFound, Unavailable
            UnknownAdapter: names those that the model has.
            TooBusy: the owner, or the cluster, has as many as are allowed.
        """
        ...

    async def session(self, session_id: str, owner: str) -> SessionHandle:
        """The session of this id, activated if it is passive.

        Raises:
            SessionNotFound: not there, or somebody else's.
        """
        ...

    async def sessions(self, owner: str) -> tuple[SessionSummary, ...]:
        """This owner's sessions, the latest used first."""
        ...
