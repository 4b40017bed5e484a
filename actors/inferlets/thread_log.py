"""The log of a thread: what its program has logged, numbered, and its open blocks as far as they have come."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from actors.inferlets.records import Ended, Logged, Record, Restarted
from api import errors
from api.errors import BlockNotFound, GreenroomError, RunNotFound
from api.inferlet.work_effects import Shown
from api.threads.blocks import Block, BlockError, Part, is_within, top_of
from api.threads.contract import BlockQuery, EventName
from api.threads.runs import Label, Reason, Run, RunState


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: a block or a run as it was then."""

    seq: int
    name: EventName
    block: Block | None = None
    run: Run | None = None

    @property
    def run_id(self) -> str:
        """The run that it concerns."""
        return self.run.id if self.run else self.block.run_id if self.block else ""


@dataclass(frozen=True, slots=True)
class _Outcome:
    run_id: str | None
    error: GreenroomError | None
    seq_before: int


class ThreadLog:
    """Belongs to one event loop.

    Attributes:
        entries: the one of seq n stands at n - 1.
        blocks, runs: by id, as they are now; in the order of their creation.
        active: of the runs those that have not ended.
        labelled: the id of the last run that has a label.
        is_over: no more will come.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.blocks: dict[str, Block] = {}
        self.runs: dict[str, Run] = {}
        self.active: dict[str, Run] = {}
        self.labelled: dict[Label, str] = {}
        self.is_over = False
        self._open: dict[str, list[tuple[Part, bytearray]]] = {}
        self._outcomes: dict[int, _Outcome] = {}
        self._of_top: defaultdict[str, list[str]] = defaultdict(list)
        self._seqs: list[int] = []
        self._ids: list[str] = []
        self._watchers: set[asyncio.Event] = set()

    @property
    def end(self) -> int:
        """The seq of the last entry."""
        return len(self.entries)

    def append(self, records: Sequence[Record]) -> None:
        """These records are durable."""
        for record in records:
            match record:
                case Logged(value=value):
                    self._log(value)
                case Shown(value):
                    self._show(value)
                case Restarted() | Ended():
                    self._end_all(record)
                    self.is_over = isinstance(record, Ended)
        for watcher in self._watchers:
            watcher.set()

    def outcome(self, position: int) -> tuple[Run, int] | GreenroomError | None:
        """What became of a command: its run and the seq before that began, or an error; None until it is taken."""
        found = self._outcomes.get(position)
        if found is None:
            return None
        if found.error:
            return found.error
        return self.run(found.run_id or ""), found.seq_before

    def run(self, run_id: str) -> Run:
        """A run as it is now.

        Raises:
            RunNotFound
        """
        if run_id not in self.runs:
            raise RunNotFound(run_id)
        return self.runs[run_id]

    def block(self, block_id: str) -> Block:
        """A block, as far as it has come.

        Raises:
            BlockNotFound
        """
        block = self.blocks.get(block_id)
        if block is None:
            raise BlockNotFound(block_id)
        shown = self._open.get(block_id)
        if shown:
            parts = tuple(replace(part, text=data.decode()) for part, data in shown)
            block = replace(block, parts=parts)
        top = self.runs.get(top_of(block.run_id))
        reason = top.reason if top else None
        return replace(block, rolled_back=True) if reason == "rollback" else block

    def open_blocks(self) -> list[str]:
        """The ids of blocks that grow."""
        return list(self._open)

    def text_after(self, block_id: str, part: int, offset: int) -> Iterator[tuple[int, int, bytes]]:
        """What has come of a block after a byte of a part: number of the part, offset and bytes of each piece."""
        shown = self._open.get(block_id)
        parts = self.blocks[block_id].parts
        for number in range(part, len(parts if shown is None else shown)):
            data = parts[number].text.encode()[offset:] if shown is None else bytes(shown[number][1][offset:])
            if data:
                yield number, offset, data
            offset = 0

    def page(self, query: BlockQuery) -> tuple[tuple[Block, ...], bool]:
        """See ``ThreadHandle.blocks``."""
        found: list[Block] = []
        for block_id in self._between(query):
            block = self.block(block_id)
            if _is_asked_for(block, query):
                if len(found) == query.limit:
                    return tuple(found), True
                found.append(block)
        return tuple(found), False

    def _between(self, query: BlockQuery) -> Iterator[str]:
        """The ids of those between the seqs, of the run and those below it if one is asked for, in their order."""
        ids, seqs = self._ids, self._seqs
        if query.run_id is not None:
            self.run(query.run_id)
            ids = [id for id in self._of_top[top_of(query.run_id)] if is_within(self.blocks[id].run_id, query.run_id)]
            seqs = [self.blocks[id].seq for id in ids]
        first = bisect_right(seqs, query.after)
        end = len(seqs) if query.before is None else bisect_left(seqs, query.before)
        numbers = range(first, end)
        return (ids[number] for number in (reversed(numbers) if query.is_descending else numbers))

    def watch(self, event: asyncio.Event) -> None:
        """Set the event whenever something comes. Idempotent."""
        self._watchers.add(event)

    def unwatch(self, event: asyncio.Event) -> None:
        """Stop setting the event. Idempotent."""
        self._watchers.discard(event)

    def _log(self, value: Any) -> None:
        match value["log"]:
            case "run":
                self._take_run(Run.changed(value["run"], self.runs.get(value["run"]["id"])))
            case "created":
                self._create(Block.of(value["block"]))
            case "completed":
                self._complete(Block.of(value["block"]))
            case "outcome":
                failure = value["error"]
                error = getattr(errors, failure[0], GreenroomError)(*failure[1]) if failure else None
                first = next((e.seq for e in self._entries_of(value["run_id"])), self.end + 1)
                self._outcomes[value["position"]] = _Outcome(value["run_id"], error, first - 1)

    def _entries_of(self, run_id: str | None) -> list[Entry]:
        """Those that are near the end, where those of a run that begins are."""
        return [entry for entry in self.entries[-8:] if entry.run_id == run_id]

    def _take_run(self, run: Run) -> None:
        known = self.runs.get(run.id)
        self.labelled |= dict.fromkeys(run.labels.items() - (known.labels.items() if known else ()), run.id)
        self.runs[run.id] = run
        if run.is_over:
            self.active.pop(run.id, None)
        else:
            self.active[run.id] = run
        self.entries.append(Entry(self.end + 1, "run.ended" if run.is_over else "run.updated", run=run))

    def _create(self, block: Block) -> None:
        block = replace(block, seq=self.end + 1)
        self.blocks[block.id] = block
        self._ids.append(block.id)
        self._seqs.append(block.seq)
        self._of_top[top_of(block.run_id)].append(block.id)
        self._open[block.id] = [(part, bytearray(part.text.encode())) for part in block.parts]
        self.entries.append(Entry(block.seq, "block.created", block=block))

    def _complete(self, block: Block) -> None:
        block = replace(block, seq=self.blocks[block.id].seq)
        self.blocks[block.id] = block
        self._open.pop(block.id, None)
        self.entries.append(Entry(self.end + 1, "block.completed", block=block))

    def _show(self, value: Any) -> None:
        """Of a block that is closed nothing is missing: a program that runs again shows it again."""
        shown = self._open.get(value["block"])
        if shown is None:
            return
        if value["part"] == len(shown):
            shown.append((Part(value["type"], value["mime_type"]), bytearray()))
        shown[value["part"]][1].extend(value["text"].encode())

    def _end_all(self, record: Restarted | Ended) -> None:
        """The program has ended, or begins without what it worked on."""
        state, reason, error = ending_of(record)
        for block_id in list(self._open):
            block = self.block(block_id)
            at = max(block.created_at, self.runs[block.run_id].created_at)
            self._complete(replace(block, state=state, error=error, closed_at=at))
        lasting = [run for run in self.runs.values() if not run.is_over and ends_with(record, run.state)]
        children = [run for run in lasting if run.parent_run_id]
        for run in (*reversed(children), *(run for run in lasting if not run.parent_run_id)):
            self._take_run(run.ended_as(state, reason, error))


def ends_with(record: Restarted | Ended, state: RunState) -> bool:
    """Whether it is the end of a run in this state."""
    return isinstance(record, Ended) or state != "queued"


def ending_of(record: Restarted | Ended) -> tuple[Literal["cancelled", "failed"], Reason, BlockError | None]:
    """What becomes of the runs that have not ended by then: state, reason, error."""
    match record:
        case Restarted(reason, sentence):
            return "failed", reason, BlockError(reason, sentence)
        case Ended("terminated"):
            return "cancelled", "deleted", None
    return "failed", "worker_lost", BlockError("worker_lost", "the process of this thread was lost")


def _is_asked_for(block: Block, query: BlockQuery) -> bool:
    if block.parent_run_id and not query.has_children and block.run_id != query.run_id:
        return False
    if not query.kinds and not query.roles:
        is_of_transcript = block.kind == "message" and block.role in ("user", "assistant")
        return is_of_transcript and (query.run_id is not None or not block.rolled_back)
    return (not query.kinds or block.kind in query.kinds) and (not query.roles or block.role in query.roles)
