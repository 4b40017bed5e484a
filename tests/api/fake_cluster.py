"""A cluster in memory: the calls of ``api.cluster`` over a toy model, with nothing behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from actors.sessions.title import title_of
from api.cluster import (
    AdapterInfo,
    Edit,
    ModelInfo,
    SessionDescription,
    SessionLog,
    SessionOptions,
    SessionSummary,
    TurnRecord,
    Warmth,
)
from api.errors import (
    GreenroomError,
    InvalidRequest,
    ModelNotFound,
    NameTaken,
    NotLast,
    SessionNotFound,
    TooBusy,
    TurnNotFound,
    TurnRunning,
    UnknownAdapter,
)
from api.threads.contract import Agents
from api.turns import Finish, TurnRequest
from tests.api import toy_model
from tests.api.fake_agents import NoAgents
from tests.api.fake_edits import FakeEdits
from tests.api.fake_inferlets import FakeInferlets
from tests.api.fake_topics import FakeTopics
from tests.api.fake_turn import DismissedStream, FakeStream, FakeTurn, Pace

TOY = ModelInfo(
    name="toy",
    aliases=("toy-latest",),
    engine="toy",
    max_context_tokens=4096,
    vocab_size=toy_model.VOCAB_SIZE,
    bos_id=toy_model.BOS,
    eos_ids=(toy_model.EOS,),
    has_chat_template=True,
    num_ready=1,
    bos_text="<s>",
    adapters=("formal", "pirate"),
)
"""The default model of a fake cluster; ``other`` is a second one that behaves the same."""


class FakeCluster(FakeInferlets):
    """Models, sessions and their turns in one event loop.

    Attributes:
        model: what all models here say; replace it to script an answer.
        pace: hold it to stop turns half-way.
        refusal: raised by the next ``begin`` or ``generate``, once.
        open_sessions: by id; remove one, and it has expired.
        turns: every turn that was begun, oldest first.
        begun: released once for each of them, for tests to wait on.
        temporary_ids: token ids of the contexts of turns without a session, oldest first.
        owners, warmths, hints, keeps_s: of these turns.
        topics: the broker.
        loaded: paths of the adapters that were loaded, by model and name.
    """

    def __init__(self, *models: ModelInfo, max_sessions: int = 100, max_queued_turns: int = 16) -> None:
        super().__init__()
        self.infos = models or (TOY, replace(TOY, name="other", aliases=()))
        self.model: toy_model.Model = toy_model.letters
        self.pace = Pace()
        self.refusal: GreenroomError | None = None
        self.open_sessions: dict[str, FakeSession] = {}
        self.turns: list[FakeTurn] = []
        self.begun = asyncio.Semaphore(0)
        self.temporary_ids: list[list[int]] = []
        self.owners: list[str] = []
        self.warmths: list[Warmth] = []
        self.hints: list[str] = []
        self.keeps_s: list[float] = []
        self.topics = FakeTopics()
        self.loaded: dict[str, dict[str, str]] = {}
        self.agents: Agents = NoAgents()
        self.max_queued_turns = max_queued_turns
        self._max_sessions = max_sessions

    async def models(self) -> tuple[ModelInfo, ...]:
        """As given."""
        return self.infos

    async def adapters(self, model: str | None) -> tuple[AdapterInfo, ...]:
        """Those that were loaded are the last ones."""
        info, loaded = self.info(model), self.loaded.get(self.info(model).name, {})
        configured = [AdapterInfo(name, f"/adapters/{name}", True, 1) for name in info.adapters if name not in loaded]
        return (*configured, *(AdapterInfo(name, path, False, 1) for name, path in loaded.items()))

    async def load_adapter(self, model: str | None, name: str, path: str) -> None:
        """Whatever the path is."""
        info, loaded = self.info(model), self.loaded.setdefault(self.info(model).name, {})
        if loaded.get(name) == path:
            return
        if name in info.adapters:
            raise NameTaken(f"another adapter is loaded as {name!r}: unload it first")
        loaded[name] = path
        self._replace(replace(info, adapters=(*info.adapters, name)))

    async def unload_adapter(self, model: str | None, name: str) -> bool:
        """Not those that were there from the beginning."""
        info = self.info(model)
        if self.loaded.get(info.name, {}).pop(name, None) is None:
            if name in info.adapters:
                raise InvalidRequest(f"adapter {name!r} is of the configuration")
            return False
        self._replace(replace(info, adapters=tuple(one for one in info.adapters if one != name)))
        return True

    def _replace(self, changed: ModelInfo) -> None:
        self.infos = tuple(changed if info.name == changed.name else info for info in self.infos)

    async def tokenize(self, model: str | None, text: str) -> tuple[int, ...]:
        """Bytes and three special tokens."""
        self.info(model)
        return toy_model.encode(text)

    async def token_bytes(self, model: str | None, ids: Sequence[int]) -> tuple[bytes, ...]:
        """A byte, or the text of a special token."""
        self.info(model)
        return tuple(bytes([token]) if token < 256 else toy_model.TEXT_OF[token].encode() for token in ids)

    async def generate(
        self,
        model: str | None,
        request: TurnRequest,
        owner: str = "",
        warmth: Warmth = "cold",
        hint: str = "",
        keep_s: float = 0.0,
    ) -> FakeStream:
        """A turn on an empty context."""
        context: list[int] = []
        turn = self.run(request, context, self.info(model).max_context_tokens, self.info(model).name)
        self.temporary_ids.append(context)
        self.owners.append(owner)
        self.warmths.append(warmth)
        self.hints.append(hint)
        self.keeps_s.append(keep_s)
        return FakeStream(turn, is_temporary=True)

    async def open_session(self, options: SessionOptions, owner: str) -> FakeSession:
        """A new session with a random id."""
        info = self.info(options.model)
        if options.adapter is not None and options.adapter not in info.adapters:
            raise UnknownAdapter.among(info.adapters, options.adapter)
        if len(self.open_sessions) >= self._max_sessions:
            raise TooBusy("too many sessions")
        session = FakeSession(self, info, options, owner, [])
        self.open_sessions[session.session_id] = session
        return session

    async def session(self, session_id: str, owner: str) -> FakeSession:
        """One of the open ones."""
        session = self.open_sessions.get(session_id)
        if session is None or session.owner != owner:
            raise SessionNotFound(session_id)
        return session

    async def sessions(self, owner: str) -> tuple[SessionSummary, ...]:
        """The latest used first."""
        return tuple(
            SessionSummary(session.session_id, owner, session.info.name, "active", 0.0, 0.0, session.title)
            for session in reversed(self.open_sessions.values())
            if session.owner == owner and not session.edits.is_delisted
        )

    def use(self, session: FakeSession) -> None:
        """It is the latest used one, if it is open."""
        if self.open_sessions.pop(session.session_id, None) is None:
            raise SessionNotFound(session.session_id)
        self.open_sessions[session.session_id] = session

    def info(self, name: str | None) -> ModelInfo:
        """The model of this name; the first for None."""
        for info in self.infos:
            if name is None or name == info.name or name in info.aliases:
                return info
        raise ModelNotFound(name or "")

    def run(self, request: TurnRequest, context: list[int], max_context: int, model: str) -> FakeTurn:
        """Start a turn, unless a refusal is due."""
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise refusal
        turn = FakeTurn(request, context, max_context, self.model, self.pace)
        turn.start = replace(turn.start, model=model)
        self.turns.append(turn)
        self.begun.release()
        return turn


class FakeSession:
    """A session: token ids, and the turns that made them.

    Attributes:
        ids: the context's token ids.
        num_typing: how often its user has begun to type.
        closed: set when it has been closed.
    """

    def __init__(
        self, cluster: FakeCluster, info: ModelInfo, options: SessionOptions, owner: str, ids: list[int]
    ) -> None:
        self.session_id = uuid4().hex
        self.info, self.options, self.owner, self.ids = info, options, owner, ids
        self.turns: list[FakeTurn] = []
        self.num_typing = 0
        self.given_title = options.title
        self.closed = asyncio.Event()
        self._news = asyncio.Event()
        self._cluster = cluster
        self._waiting: dict[str, asyncio.Event] = {}
        self._hidden: set[str] = set()
        self._unmade: dict[str, TurnRecord] = {}
        self._beginning: dict[str, asyncio.Task[None]] = {}
        self.edits = FakeEdits()

    @property
    def title(self) -> str:
        """As given, or made from the first message."""
        made = title_of(self.turns[0].request.prompt if self.turns else self.edits.told)
        return self.given_title or ("" if self.edits.is_stale else made)

    @property
    def length(self) -> int:
        """Tokens, but those of the turn in progress."""
        return self.running.start.base_length if self.running else len(self.ids)

    @property
    def max_context(self) -> int:
        """The limit that it was opened with."""
        return self.options.max_context or self.info.max_context_tokens

    @property
    def running(self) -> FakeTurn | None:
        """The turn in progress."""
        return self.turns[-1] if self.turns and self.turns[-1].is_running else None

    async def begin(
        self, request: TurnRequest, after: str | None = None, edit: Edit | None = None
    ) -> FakeStream | DismissedStream:
        """Start a turn when those before it have ended."""
        self._cluster.use(self)
        self._check_listed(after)
        for turn in (*self.turns, *self.edits.past):
            if turn.request.turn_id == request.turn_id:
                return FakeStream(turn)
        self._check_last(after)
        self._check_room()
        before = self._before(edit)
        self._make(edit)
        self.edits.version = request.turn_id
        return await self._begin(request, before)

    def _before(self, edit: Edit | None) -> dict[str, Any]:
        """What is as it was where a turn is refused that is to begin the context anew."""
        if edit is None or not edit.is_anew:
            return {}
        names = ("turns", "ids", "info", "options")
        return {"edits": self.edits.whole()} | {name: getattr(self, name) for name in names}

    async def _begin(self, request: TurnRequest, before: dict[str, Any]) -> FakeStream | DismissedStream:
        try:
            return await self._started(request)
        except GreenroomError:
            self.__dict__.update(before)
            raise

    async def _started(self, request: TurnRequest) -> FakeStream | DismissedStream:
        if (self.running or self._waiting) and not await self._has_turn(request.turn_id):
            return DismissedStream(request.turn_id, self.length)
        self._check_open()
        turn = self._cluster.run(self.edits.tell(request), self.ids, self.max_context, self.info.name)
        self.edits.started(turn)
        self.turns.append(turn)
        self._tell()
        return FakeStream(turn)

    async def edit(self, edit: Edit, after: str | None = None) -> None:
        """Change it."""
        self._cluster.use(self)
        self._check_listed()
        if edit.edit_id not in self.edits.made:
            self._check_last(after)
            self._make(edit)
            if edit.is_delisted:
                await self._end_if_empty()

    def _make(self, edit: Edit | None) -> None:
        if edit is None or edit.edit_id in self.edits.made:
            return
        if edit.is_anew and (self.running or self._waiting or self._starting):
            raise TurnRunning("a turn is running")
        if edit.is_anew:
            self.edits.past += self.turns
            self.turns, self.ids = [], []
        if edit.model is not None:
            self.info = self._cluster.info(edit.model)
            self.options = replace(self.options, max_context=edit.max_context)
        self.edits.make(edit)

    @property
    def _starting(self) -> bool:
        """A turn was enqueued, and is about to begin."""
        return any(record.is_waiting for record in self._unmade.values())

    async def log(self, start: int = 0, stop: int | None = None) -> SessionLog:
        """What was said and added."""
        self._check_open()
        edits = self.edits
        shown = [entry for entry in edits.entries if isinstance(entry, Edit) or self._is_shown(entry)]
        entries = [entry if isinstance(entry, Edit) else self._logged(entry) for entry in shown]
        running = [self.running.request.turn_id] if self.running else []
        waiting = [turn_id for turn_id, record in self._unmade.items() if record.is_waiting]
        return SessionLog(
            model=self.info.name,
            created_at=0.0,
            note=edits.note,
            front=edits.front,
            hidden=frozenset(edits.hidden),
            version=None if edits.version in self._hidden else edits.version,
            unfinished=tuple(dict.fromkeys((*running, *self._waiting, *waiting))),
            is_stale=edits.is_stale,
            is_delisted=edits.is_delisted,
            num_entries=len(entries),
            num_past=sum(entry in edits.past or entry in edits.old for entry in shown),
            entries=tuple(entries[start:stop]),
        )

    def _is_shown(self, turn: FakeTurn) -> bool:
        return turn.finish is not None and not self._is_untold(turn.request.turn_id)

    def _is_untold(self, turn_id: str) -> bool:
        return turn_id in self._hidden and self.edits.note is None and self.edits.front is None

    def _logged(self, turn: FakeTurn) -> TurnRecord:
        record, num_told = _record(turn), self.edits.num_told(turn)
        if turn in self.edits.past:
            return replace(record, prompt=record.prompt[num_told:], is_past=True)
        return replace(record, num_told=num_told)

    def _check_room(self) -> None:
        if self.running and len(self._waiting) >= self._cluster.max_queued_turns:
            raise TooBusy(f"{len(self._waiting)} turns are waiting in this session already")

    def _check_last(self, after: str | None) -> None:
        if after in self._hidden:
            raise TurnNotFound(after)
        if after is not None and not self._will_end_with(after):
            raise NotLast("another turn is the last")

    def _will_end_with(self, turn_id: str) -> bool:
        last = next(reversed(self._waiting), self.turns[-1].request.turn_id if self.turns else None)
        is_changed = bool(self.edits.told) or self.edits.is_stale or self.edits.is_delisted
        return (last == turn_id and not is_changed) or turn_id == self.edits.version

    async def enqueue(self, request: TurnRequest, after: str | None = None, edit: Edit | None = None) -> None:
        """Begin it in a task."""
        self._check_listed(after)
        self._check_last(after)
        self._check_room()
        before = self._before(edit)
        self._make(edit)
        self.edits.version = request.turn_id
        base, turn_id = self.length, request.turn_id
        record = TurnRecord(turn_id, request.prompt, "", base, base, 0, None, request.note, is_waiting=True)
        self._unmade[turn_id] = record

        async def begin() -> None:
            try:
                if isinstance(await self._begin(request, before), DismissedStream):
                    self._unmade[turn_id] = replace(record, finish=Finish("cancelled"), is_waiting=False)
                else:
                    del self._unmade[turn_id]
            except GreenroomError as error:
                failed = replace(record, error=str(error), is_waiting=False, is_past=bool(before))
                self._unmade[turn_id] = replace(failed, base_length=self.length, end_length=self.length)

        self._beginning[turn_id] = asyncio.create_task(begin())
        await asyncio.sleep(0)

    async def turn(self, turn_id: str) -> TurnRecord:
        """One of its turns."""
        self._cluster.use(self)
        if turn_id in self._hidden:
            raise TurnNotFound(turn_id)
        return self._unmade.get(turn_id) or self._logged(self._turn(turn_id))

    async def hide(self, turn_id: str) -> None:
        """Cancel it and leave it out."""
        await self.turn(turn_id)
        await self.cancel(turn_id)
        self._hidden.add(turn_id)
        await self._end_if_empty()

    async def _end_if_empty(self) -> None:
        notes = {turn.request.turn_id: turn.request.note for turn in (*self.turns, *self.edits.past)}
        notes |= {turn_id: record.note for turn_id, record in self._unmade.items()}
        shown = [note for turn_id, note in notes.items() if turn_id not in self._hidden]
        has_more = self.edits.note is not None or any(isinstance(entry, Edit) for entry in self.edits.entries)
        if not (any(shown) if self.edits.is_delisted else shown or has_more):
            await self.close()

    async def _has_turn(self, turn_id: str) -> bool:
        """Once those before it have ended; False where it was cancelled before."""
        dismissed = self._waiting[turn_id] = asyncio.Event()
        leaving = asyncio.ensure_future(dismissed.wait())
        try:
            while (running := self.running) or next(iter(self._waiting)) != turn_id:
                ended = asyncio.ensure_future(running.ended.wait() if running else asyncio.sleep(0))
                await asyncio.wait((ended, leaving), return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                if dismissed.is_set():
                    return False
            return True
        finally:
            leaving.cancel()
            del self._waiting[turn_id]

    async def resume(self, turn_id: str, offset: int) -> FakeStream | DismissedStream:
        """Follow a turn from an offset."""
        self._check_open()
        if turn_id in self._beginning:
            await self._beginning[turn_id]
        if turn_id in self._unmade and self._unmade[turn_id].error:
            raise TurnNotFound(turn_id)
        if turn_id in self._unmade:
            return DismissedStream(turn_id, self.length)
        turn = self._turn(turn_id)
        if not 0 <= offset <= turn.num_output:
            raise InvalidRequest(f"the turn has no offset {offset}")
        return FakeStream(turn, offset)

    async def listen(self) -> AsyncGenerator[str]:
        """Turns of every handle, as they begin."""
        self._check_open()
        return self._begun_after(len(self.turns))

    async def _begun_after(self, num_known: int) -> AsyncGenerator[str]:
        while True:
            self._check_open()
            news, begun = self._news, self.turns[num_known:]
            num_known += len(begun)
            for turn in begun:
                yield turn.request.turn_id
            await news.wait()

    async def cancel(self, turn_id: str | None = None) -> bool:
        """Cancel the running turn, or this one."""
        self._cluster.use(self)
        if turn_id in self._waiting:
            self._waiting[turn_id].set()
            return True
        turn = self.running
        if turn is None or turn_id not in (None, turn.request.turn_id):
            return False
        turn.cancel()
        return True

    async def typing(self) -> None:
        """Count it."""
        self._cluster.use(self)
        self.num_typing += 1

    async def fork(self, length: int | None = None, after: str | None = None, before: str | None = None) -> FakeSession:
        """A session with a copy of the first tokens and of the turns within them."""
        self._check_listed(length if after is None else after)
        length = length if after is None else self._length_after(after)
        length = length if before is None else self._length_before(before)
        if length is None and self.running:
            raise TurnRunning("a turn is running")
        is_whole = length is None
        length = self._checked(self.length if length is None else length)
        forked = FakeSession(self._cluster, self.info, self.options, self.owner, self.ids[:length])
        forked.given_title = self.title or None
        forked.turns = [turn for turn in self.turns if turn is not self.running and _end_of(turn) <= length]
        forked._hidden = set(self._hidden)
        forked.edits = self.edits.copy(forked.turns, is_whole)
        self._cluster.open_sessions[forked.session_id] = forked
        return forked

    async def rollback(self, length: int | None = None, then: tuple[int, ...] = (), before: str | None = None) -> None:
        """Cut back and append."""
        self._check_listed()
        if self.running:
            raise TurnRunning("a turn is running")
        length = length if before is None else self._length_before(before)
        assert length is not None
        if self._checked(length) + len(then) > self.max_context + 1:
            raise InvalidRequest(f"this context holds at most {self.max_context + 1} tokens")
        self.ids[length:] = list(then)
        kept = [turn for turn in self.turns if _end_of(turn) <= length]
        if len(kept) < len(self.turns):
            self.edits = self.edits.copy(kept, is_whole=False)
        self.turns, self.edits.version = kept, None

    async def rename(self, title: str) -> None:
        """Keep the title."""
        self._check_listed()
        self.given_title = title

    async def describe(self) -> SessionDescription:
        """The state now."""
        self._check_listed()
        return SessionDescription(
            session_id=self.session_id,
            model=self.info.name,
            retention=self.options.retention,
            length=self.length,
            max_context=self.max_context,
            num_resident=self.length,
            created_at=0.0,
            last_used_at=0.0,
            running=self.running.request.turn_id if self.running else None,
            turns=tuple(self._shown(_record(turn)) for turn in self.turns if not turn.error),
            adapter=self.options.adapter,
            title=self.title,
        )

    def _shown(self, record: TurnRecord) -> TurnRecord:
        return replace(record, prompt=(), text="", note="") if self._is_untold(record.turn_id) else record

    async def tokens(self, turn_id: str) -> tuple[int, ...]:
        """The first ones."""
        self._check_open()
        return tuple(self.ids[: self._length_after(turn_id)])

    def _length_before(self, turn_id: str) -> int:
        for turn in self.turns:
            if turn.request.turn_id == turn_id and not turn.error:
                return turn.start.base_length
        raise TurnNotFound(turn_id)

    def _length_after(self, turn_id: str) -> int:
        record = self._unmade.get(turn_id) or self._logged(self._turn(turn_id))
        if record.is_past or self.edits.is_stale or (record.error is not None and self.edits.told):
            raise NotLast("the context is another one")
        return record.end_length

    async def close(self) -> None:
        """Forget it and end its turn."""
        self._cluster.open_sessions.pop(self.session_id, None)
        for turn in self.turns:
            turn.cancel()
        self.closed.set()
        self._tell()

    def _tell(self) -> None:
        """Wake those who listen."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _check_open(self) -> None:
        if self.session_id not in self._cluster.open_sessions:
            raise SessionNotFound(self.session_id)

    def _check_listed(self, after: object = None) -> None:
        self._check_open()
        if self.edits.is_delisted and after is None:
            raise SessionNotFound(self.session_id)

    def _checked(self, length: int) -> int:
        if not 0 <= length <= self.length:
            raise InvalidRequest(f"the context has {self.length} tokens")
        return length

    def _turn(self, turn_id: str) -> FakeTurn:
        for turn in (*self.turns, *self.edits.past):
            if turn.request.turn_id == turn_id:
                return turn
        raise TurnNotFound(turn_id)


def _end_of(turn: FakeTurn) -> int:
    return turn.start.base_length + len(turn.start.prompt_ids) + turn.num_output


def _record(turn: FakeTurn) -> TurnRecord:
    base, request = turn.start.base_length, turn.request
    if turn.is_running or turn.error:
        error = str(turn.error) if turn.error else None
        return TurnRecord(request.turn_id, request.prompt, "", base, base, 0, None, request.note, None, error)
    return TurnRecord(
        turn_id=turn.request.turn_id,
        prompt=turn.request.prompt,
        text=turn.text,
        base_length=turn.start.base_length,
        end_length=_end_of(turn),
        num_output=turn.num_output,
        finish=turn.finish,
        note=request.note,
        ended_at=0.0,
    )
