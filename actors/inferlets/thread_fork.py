"""The records of a thread that begins with what another one has said and done up to a block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from actors.inferlets.digest import FORMAT
from actors.inferlets.history import since_checkpoint
from actors.inferlets.program import AGENT
from actors.inferlets.records import Checkpointed, Launched, Logged, Record
from actors.inferlets.thread_log import Entry, ThreadLog
from api.errors import BlockNotFound
from api.threads.blocks import Block, number_of, top_of
from api.threads.runs import Run

MIN_TASKS = 1_000
"""A program has begun no more tasks than this when it takes note of where it begins."""


class ThreadFork:
    """Of a thread with this id and these records, up to the block of this seq, or to nothing; of another id, name, and
    idle timeout.

    Blocks that began later are left out, and those that are open; a run that has come no further than that has ended.
    """

    def __init__(
        self,
        source_id: str,
        history: Sequence[Record],
        fork_id: str,
        seq: int,
        name: str,
        idle_timeout_s: float | None = None,
    ) -> None:
        assert isinstance(history[0], Launched), "the first record launches it"
        self._launched = history[0]
        self._source_id, self._fork_id, self._seq = source_id, fork_id, seq
        self._name, self._idle_timeout_s = name, idle_timeout_s
        self._history = history
        self._log = ThreadLog()
        self._checkpoints: list[tuple[int, int]] = []
        for index, record in enumerate(history):
            self._log.append((record,))
            if isinstance(record, Checkpointed):
                self._checkpoints.append((self._log.end, index))

    def records(self) -> list[Record]:
        """What the other thread begins with.

        Raises:
            BlockNotFound: none that is closed has this seq.
        """
        name, idle_timeout_s = self._name, self._idle_timeout_s
        launched = replace(
            self._launched, arguments=(name,), name=name, parent=None, format=FORMAT, idle_timeout_s=idle_timeout_s
        )
        if not self._seq:
            return [launched]
        logged = [Logged(0, "", value) for value in self._values()]
        return [launched, *logged, self._checkpoint()]

    @cached_property
    def _end(self) -> int:
        """The seq of the entry that closed the block."""
        entries = self._log.entries
        block = entries[self._seq - 1].block if self._seq <= len(entries) else None
        for entry in entries[self._seq :]:
            if block and entry.name == "block.completed" and entry.block and entry.block.id == block.id:
                return entry.seq
        raise BlockNotFound(str(self._seq))

    @cached_property
    def _blocks(self) -> dict[str, Block]:
        """By id, in their order."""
        return {
            block.id: block for block in self._log.blocks.values() if block.seq <= self._seq and block.state != "open"
        }

    @cached_property
    def _runs(self) -> dict[str, Run]:
        """Those that have begun by then, by id in their order, as they have ended."""
        begun = self._with_those_above(block.run_id for block in self._blocks.values())
        found = {
            entry.run.id: entry.run for entry in self._log.entries if entry.run and self._is_kept(entry, entry.run)
        }
        return {id: run if run.is_over else self._cut(run) for id, run in found.items() if id in begun}

    @cached_property
    def _unfinished(self) -> frozenset[str]:
        """The runs that have something, or something below them, that is left out."""
        blocks = (block.run_id for block in self._log.blocks.values() if block.id not in self._blocks)
        return self._with_those_above((*blocks, *self._log.active))

    def _with_those_above(self, run_ids: Iterable[str]) -> frozenset[str]:
        found: set[str] = set()
        for run_id in run_ids:
            above: str | None = run_id
            while above and above not in found:
                found.add(above)
                above = self._log.runs[above].parent_run_id
        return frozenset(found)

    def _is_kept(self, entry: Entry, run: Run) -> bool:
        """Whether this is a state that a run, which has begun by then, was in."""
        return run.id not in self._unfinished or (entry.seq <= self._end and not run.is_over)

    def _cut(self, run: Run) -> Run:
        at = self._log.entries[self._end - 1].block
        assert at is not None, "it is the end of a block"
        return replace(
            run, state="cancelled", reason="parent" if run.parent_run_id else "interrupted", ended_at=at.closed_at
        )

    def _values(self) -> Iterator[dict[str, object]]:
        """What its log has."""
        known: dict[str, Run] = {}

        def logged(run: Run) -> dict[str, object]:
            changes = self._renamed_run(run).changes_since(known.get(run.id))
            known[run.id] = run
            return {"log": "run", "run": changes}

        for entry in self._log.entries:
            if entry.block and entry.block.id in self._blocks:
                kind = entry.name.removeprefix("block.")
                yield {"log": kind, "block": self._renamed_block(entry.block).kept}
            elif entry.run and entry.run.id in self._runs and self._is_kept(entry, entry.run):
                yield logged(entry.run)
        cut = [run for run in self._runs.values() if run.id in self._unfinished]
        for run in sorted(cut, key=lambda run: len(run.id), reverse=True):  # those below end first
            yield logged(run)

    def _checkpoint(self) -> Checkpointed:
        """What its program knows: what the source's did at its last checkpoint before what is left out, and more."""
        from api.agents.forks import Fork  # only here: what it imports no other program needs
        from api.agents.transcript import messages_known

        limit = self._first_left_out
        checkpoint = next(((end, index) for end, index in reversed(self._checkpoints) if end < limit), (0, 0))
        start, _ = since_checkpoint(self._history[: checkpoint[1] + 1])
        notes = start.beginning.notes
        after = [block for block in self._blocks.values() if block.seq > checkpoint[0]]
        runs = [self._runs[run_id] for run_id in dict.fromkeys(top_of(block.run_id) for block in after)]
        agent = (notes[-1].get("agent", "") if notes else "") or self._launched.program.removeprefix(AGENT)
        fork = Fork(
            notes,
            tuple(messages_known(run, after) for run in runs),
            runs[-1].agent if runs and runs[-1].agent != agent else None,
            self._renamed(top_of(next(reversed(self._blocks.values())).run_id)),
            max(int(top_of(run_id).rpartition(".r")[2]) for run_id in self._runs) + 1,
            max(map(number_of, self._blocks)),
        )
        counts = start.counts
        num_ids = counts.num_ids + 1
        return replace(
            counts,
            num_ids=num_ids,
            num_tasks=max(counts.num_tasks, MIN_TASKS),
            note=fork.note(f"{self._fork_id}.{num_ids}"),
            is_addition=True,
            num_received=0,
        )

    @property
    def _first_left_out(self) -> int:
        """The seq of the first entry that is left out of what has begun."""
        blocks = (block.seq for block in self._log.blocks.values() if block.id not in self._blocks)
        ends = (one.seq for one in self._log.entries if one.name == "run.ended" and one.run_id in self._unfinished)
        return min((*blocks, *ends, self._log.end + 1))

    def _renamed(self, entry_id: str) -> str:
        return self._fork_id + entry_id.removeprefix(self._source_id)

    def _renamed_block(self, block: Block) -> Block:
        parent = block.parent_run_id and self._renamed(block.parent_run_id)
        return replace(block, id=self._renamed(block.id), run_id=self._renamed(block.run_id), parent_run_id=parent)

    def _renamed_run(self, run: Run) -> Run:
        run_id, parent = self._renamed(run.id), run.parent_run_id and self._renamed(run.parent_run_id)
        return replace(run, id=run_id, parent_run_id=parent, thread_id=self._fork_id, context_id=self._name)
