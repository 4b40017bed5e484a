"""An instance of a program, from its launch over activations to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from actors.calls.scope import Scope
from actors.contexts.reader import TurnReader
from actors.directory.messages import InferletSeed
from actors.inferlets import records
from actors.inferlets.beginning import first_lines
from actors.inferlets.clients import Reception
from actors.inferlets.contexts import Contexts
from actors.inferlets.digest import FORMAT
from actors.inferlets.executor import EffectDesk
from actors.inferlets.history import Replay, since_checkpoint, standstill
from actors.inferlets.journal_lines import JournalLines
from actors.inferlets.journal_use import JournalUse
from actors.inferlets.lifetime import Lifetime
from actors.inferlets.limits import Watch
from actors.inferlets.messages import InferletCalls
from actors.inferlets.output import Output
from actors.inferlets.ports import InferletParts
from actors.inferlets.program import AGENT, Source
from actors.inferlets.records import (
    Continued,
    Ended,
    Launched,
    Printed,
    PutAway,
    Record,
    Restarted,
    Resumed,
    Returned,
)
from actors.inferlets.replayer import ProgramHost
from actors.inferlets.run import ProgramRun
from actors.inferlets.run_index import RunIndex
from actors.inferlets.thread_desk import ThreadDesk
from actors.inferlets.works import Works
from actors.journal.contract import Acquired, IndexEntry
from actors.journal.formats import check_format
from actors.journal.keys import INFERLET, journal_key
from actors.journal.writer import Recorder, expiry
from actors.settings import InferletSettings
from api.errors import Fenced, GreenroomError, Unavailable
from api.inferlet import effects
from api.inferlet_events import Event
from api.inferlets import InferletDescription, InferletSummary, State
from api.logs import event_logger
from api.threads.blocks import Block
from api.threads.commands import Exhausted, sent
from api.threads.contract import BlockQuery, EventBatch, StreamQuery
from api.threads.runs import Label, Run
from api.values import Value

log = event_logger("greenroom.inferlet")


class Instance(InferletCalls):
    """One program's life. Belongs to one event loop; the journal's epoch makes it the only one of its id.

    Its life: launched or activated, running, perhaps passivated and reactivated, ended, deleted. What a client
    sees is durable. ``InferletCalls`` says what its calls do; any raises ``Moved`` once another actor has it, or it is
    being passivated.
    """

    MAX_DEATHS = 3
    CHECK_AGAIN_S = 0.2

    def __init__(self, parts: InferletParts, instance_id: str, acquired: Acquired, history: Sequence[Record]) -> None:
        assert isinstance(history[0], Launched), "the first record launches it"
        check_format(f"inferlet {instance_id}", history[0].format, FORMAT)
        ended = next((record for record in history if isinstance(record, Ended)), None)
        settings, journal = parts.settings, parts.surroundings.journal
        self._lifetime = Lifetime(settings)
        self._lifetime.take(history)
        self._launched = history[0]
        self.id = instance_id
        self.owner = acquired.info.owner
        self.is_spent = False
        self.scope = Scope()
        self._parts = parts
        self._created_at = acquired.info.created_at
        lines = JournalLines()
        lines.recover(acquired.positions, history)
        self._recorder = Recorder(
            journal, acquired, self._indexed, self._expires_at, lines.take, self._on_durable, self.scope
        )
        self._reception = Reception(instance_id, settings, parts.recovery_timeout_s, self._recorder, ended)
        results = [record.result for record in history if isinstance(record, Returned)]
        taken = [one.position for one in results if isinstance(one, effects.Received)]
        before = since_checkpoint(history)[0]
        first, end = before.continued.first_message, before.counts.num_received or before.continued.num_received
        self._reception.recover(history, [*range(first, end), *taken])
        self._journal_use = JournalUse(settings.max_journal_bytes, self._is_thread, history, acquired.records)
        self._thread = ThreadDesk(self._reception, parts.recovery_timeout_s)
        self._thread.log.append(history)
        self._index = RunIndex(self._thread.log.active.values())
        self._run: ProgramRun | None = None
        self._output: Output | None = None
        self._watch: Watch | None = None
        self._is_restarting = False
        self._finishing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, parts: InferletParts, instance_id: str, seed: InferletSeed | None) -> Instance:
        """Launch one from its seed, durable on return; or, without one, go on with it after an actor that is gone.

        Raises:
            IdTaken: there is an instance of this id.
            NotFound: there is none, and no seed.
        """
        key, journal = journal_key(INFERLET, instance_id), parts.surroundings.journal
        if seed is None:
            acquired = await journal.acquire(key)
        else:
            expires_at = expiry(seed.idle_timeout_s or parts.settings.idle_timeout_s)
            lines = await first_lines(journal, seed)
            acquired = await journal.create(key, seed.owner, seed.program, lines, expires_at, seed.name)
        history = [records.decode(line) for line in acquired.records]
        instance = cls(parts, instance_id, acquired, history)
        if seed is None:
            await instance._go_on(history)
        else:
            instance._start(history, is_again=len(history) > 1)
        return instance

    async def _go_on(self, history: Sequence[Record]) -> None:
        if self._reception.ended:
            return
        if not isinstance(history[-1], PutAway):
            self._recorder.add(Resumed())
            await self._reception.flushed()
        before = standstill(history)
        if before.num_deaths >= self.MAX_DEATHS:
            sentence = f"its process died {self.MAX_DEATHS + 1} times at the same point"
            if not self._is_thread or before.is_restarted:
                self._end(Ended("failed", sentence))
                return
            restarted = Restarted("worker_lost", sentence)
            self._recorder.add(restarted)
            await self._reception.flushed()
            history = [*history, restarted]
        log.info("reactivates an inferlet", instance_id=self.id, records=len(history))
        self._start(history, is_again=True)

    async def deliver(self, key: str, value: Value) -> int:
        return await self._reception.deliver(key, value)

    async def read(self, after: int, wait_s: float) -> tuple[Event, ...]:
        return await self._reception.read(after, wait_s)

    async def command(self, key: str, value: Value) -> tuple[Run, int]:
        return await self._thread.command(key, value)

    async def thread_run(self, run_id: str, wait_s: float) -> Run:
        return await self._thread.thread_run(run_id, wait_s)

    async def thread_active_runs(self) -> tuple[Run, ...]:
        return await self._thread.thread_active_runs()

    async def thread_run_ids(self) -> tuple[str, ...]:
        return await self._thread.thread_run_ids()

    async def thread_labelled(self, labels: frozenset[Label]) -> dict[Label, str]:
        return await self._thread.thread_labelled(labels)

    async def thread_blocks(self, query: BlockQuery) -> tuple[tuple[Block, ...], bool]:
        return await self._thread.thread_blocks(query)

    async def thread_block(self, block_id: str) -> Block:
        return await self._thread.thread_block(block_id)

    async def thread_events(self, after: str | None, query: StreamQuery, wait_s: float) -> EventBatch:
        return await self._thread.thread_events(after, query, wait_s)

    async def describe(self) -> InferletDescription:
        launched = self._launched
        ended = self._reception.ended if self._reception.outbox.is_over else None
        state: State = ended.how if ended else "running"
        summary = InferletSummary(
            self.id, self.owner, launched.name, launched.program, state, self._created_at, self._reception.used_at
        )
        return InferletDescription(summary, launched.arguments, launched.parent, self._reception.outbox.log.end)

    async def terminate(self) -> bool:
        self._reception.use()
        is_first = self._reception.ended is None
        self._end(Ended("terminated"))
        await self._reception.flushed()
        return is_first

    def configure(self, settings: InferletSettings) -> None:
        """Take other settings; MCP servers count from its next start on."""
        self._parts = replace(self._parts, settings=settings)
        self._lifetime.settings = settings
        self._reception.configure(settings)
        self._journal_use.limit = settings.max_journal_bytes
        if self._output and self._watch:
            self._output.limit = settings.max_output_chars
            self._watch.settings = settings

    async def close(self) -> None:
        """Delete it, with its contexts and its journal."""
        await self.stop()
        await self._parts.surroundings.journal.delete(journal_key(INFERLET, self.id))

    async def stop(self) -> None:
        """Stop working on it here, and leave it to the next activation."""
        self._reception.is_closed = True
        if self._watching:
            self._watching.cancel()
        if self._finishing:
            await self._finishing
        elif self._run and self._reception.ended is None:
            self._recorder.add(PutAway())
            with suppress(Fenced, Unavailable):
                await self._recorder.flushed(self._parts.recovery_timeout_s)
            self.is_spent = not await self._run.stop(frees_contexts=False)

    @property
    def is_fenced(self) -> bool:
        """Another actor has it; nothing more is done here."""
        return self._recorder.is_fenced

    def idle_s(self) -> float:
        """Seconds since its clients were heard of; 0 while it works, or one of them listens."""
        if self._reception.num_readers or (self._finishing and not self._finishing.done()):
            return 0.0
        is_waiting = self._run is not None and self._run.waits_for_clients_only and not self._recorder.is_busy
        is_idle = is_waiting or self._thread.obstacle or self._reception.ended
        return time.time() - self._reception.used_at if is_idle else 0.0

    @property
    def leaves_in_s(self) -> float:
        """When this actor may be released, if nothing happens until then; seconds."""
        idle_s, settings = self.idle_s(), self._parts.settings
        if self._thread.obstacle and idle_s > 0:
            return 0.0
        if self._reception.ended and idle_s > 0:
            return 0.0 if self._reception.has_shown_all else settings.linger_s - idle_s
        is_woken_soon = self.wakes_at is not None and self.wakes_at - time.time() < settings.passivate_after_s
        left_s = settings.passivate_after_s - idle_s
        return left_s if left_s <= 0 and not is_woken_soon else self.CHECK_AGAIN_S

    @property
    def wakes_at(self) -> float | None:
        """When it is to be activated if nothing happens before, in seconds since the epoch."""
        return self._run.desk.wakes_at if self._run and self._reception.ended is None else None

    @property
    def is_expired(self) -> bool:
        """It has not been used for as long as it may be."""
        expires_at = self._lifetime.expires_at(self._reception.used_at, self.wakes_at)
        return expires_at is not None and time.time() >= expires_at

    def _start(self, history: Sequence[Record], is_again: bool) -> None:
        parts, launched = self._parts, self._launched
        contexts = Contexts(parts.directory, TurnReader(), parts.recovery_timeout_s, self.owner, self.scope)
        reception = self._reception
        inbox, outbox = reception.inbox, reception.outbox
        start, repeated = since_checkpoint(history)
        answered = {record.call for record in repeated if isinstance(record, records.Answer)}
        called = {record.call for record in repeated if isinstance(record, records.Called)}
        works, around = Works(called - answered), parts.surroundings
        desk = EffectDesk(
            self.id, self.owner, around, contexts, inbox, outbox, self._recorder, is_again, works, self.scope
        )
        before = start.continued
        limit = parts.settings.max_output_chars
        output = self._output = Output(desk.emit, limit, before.num_printed, before.is_output_cut)
        for record in repeated:
            if isinstance(record, Printed | records.OutputCut):
                output.recover(record)
        host = ProgramHost(self.id, Replay(history), desk, output, launched.format)
        source = Source(launched.program, launched.file, launched.source)
        on_end, servers = self._program_ended, parts.settings.mcp_servers
        self._run = ProgramRun(source, launched.arguments, host, desk, contexts, is_again, on_end, servers)
        self._run.start()
        self._watch = Watch(parts.settings, self._run, self._created_at)
        self._watching = self.scope.start(self._enforce(self._watch))

    async def _enforce(self, watch: Watch) -> None:
        """Until a limit is exceeded."""
        violation = await watch.violation()
        log.warning("inferlet stopped", instance_id=self.id, reason=violation.sentence)
        self.is_spent = self.is_spent or violation.needs_new_process
        if violation.is_final:
            self._end(Ended("failed", violation.sentence))
        else:
            self._fail(violation.sentence)

    def _program_ended(self, ended: Ended) -> None:
        """A thread is not over for what is wrong with its agent now, and might be right in a later life."""
        if not self._is_thread or self._run is None:
            self._end(ended)
        elif not self._run.has_loaded:
            log.warning("an agent cannot be loaded", instance_id=self.id, reason=ended.value)
            if self._watching:
                self._watching.cancel()
            self._thread.stop(f"the agent cannot be loaded: {ended.value!s:.2000}")
        else:
            self._fail(str(ended.value))

    def _fail(self, sentence: str, reason: Literal["worker_lost", "budget"] = "worker_lost") -> None:
        """It cannot go on in this life: a thread loses its runs, and begins another; any other program is over."""
        if self._is_thread:
            self.scope.start(self._restart(reason, sentence))
        else:
            self._end(Ended("failed", sentence))

    async def _restart(self, reason: Literal["worker_lost", "budget"], sentence: str) -> None:
        """Have the thread go on from its last checkpoint in another process, without what came after that.

        Callers are sent on once that is in the journal: they have it activated elsewhere at once.
        """
        if self._is_over or self._is_restarting or not self._run:
            return
        log.warning("a thread goes on without its last run", instance_id=self.id, reason=sentence)
        self._is_restarting = True
        self._run.close()
        self._recorder.add(Restarted(reason, sentence))
        try:
            with suppress(Fenced):
                await self._recorder.flushed()
            self._reception.is_closed = True
            await self._run.stop(frees_contexts=False, is_hopeless=self.is_spent)
        finally:
            self._parts.die()

    async def _continue(self, continued: Continued) -> None:
        """Begin the program again, as a later life would."""
        if self._is_over or not self._run:
            return
        if self._watching:
            self._watching.cancel()
        is_stopped = await self._run.stop(frees_contexts=True)
        if self._is_over:
            return
        if remarks := self._parts.clean_up():
            log.info("continues in a process that is unfit for others", instance_id=self.id, remarks=remarks)
        self.is_spent = self.is_spent or not is_stopped or bool(remarks)
        self._start([self._launched, continued], is_again=False)

    @property
    def _is_thread(self) -> bool:
        return self._launched.program.startswith(AGENT)

    @property
    def _is_over(self) -> bool:
        """Here: nothing more is done."""
        return self._reception.ended is not None or self._recorder.is_fenced or self._reception.is_closed

    def _end(self, ended: Ended) -> None:
        """The first end counts."""
        if self._is_over:
            return
        self._reception.ended = ended
        self._recorder.add(ended)
        self._finishing = self.scope.start(self._finish(ended))

    async def _finish(self, ended: Ended) -> None:
        log.info("inferlet ended", instance_id=self.id, how=ended.how)
        with suppress(Fenced):
            await self._recorder.flushed()
        if self._run and not await self._run.stop(frees_contexts=True, is_hopeless=self.is_spent):
            self.is_spent = True
        if self._watching and self._watching is not asyncio.current_task():
            self._watching.cancel()
        try:
            await self._parts.directory.inferlet_ended(self.id, ended.how)
        except GreenroomError as error:
            log.warning("the directory was not told", instance_id=self.id, error=str(error))
        self._reception.used_at = time.time()
        if self.is_spent:
            log.warning("this process ends", instance_id=self.id)
            self._parts.die()

    def _indexed(self, written: Sequence[Record]) -> Sequence[IndexEntry]:
        self._lifetime.take(written)
        return self._index.take(written) if self._is_thread else ()

    def _expires_at(self) -> float | None:
        return self._lifetime.expires_at(time.time(), self.wakes_at)

    def _on_durable(self, written: Sequence[Record]) -> None:
        self._reception.on_durable(written)
        self._thread.log.append(written)
        for record in written:
            if isinstance(record, Continued):
                self.scope.start(self._continue(record))
        self._journal_use.take(written, self._recorder.num_bytes)
        if refusal := self._journal_use.refusal:
            self._fail(refusal, "budget")
        elif self._is_thread and self._journal_use.is_share_full and not (self._is_over or self._is_restarting):
            for run in self._thread.log.active.values():
                if run.state != "queued":
                    self._reception.put(f"exhausted/{run.id}", sent(Exhausted(run.id)))
