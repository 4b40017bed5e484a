"""Events of a thread's log after a position: its entries, and what has come of each open block between them."""

from __future__ import annotations

from typing import Any

from actors.inferlets.thread_log import Entry, ThreadLog
from api.errors import InvalidRequest
from api.threads.blocks import Block, is_within, number_of
from api.threads.contract import EventBatch, StreamQuery, ThreadEvent
from api.threads.positions import Position

MAX_EVENTS = 256


class ThreadReader:
    """Reads once, from a position to the end or a batch's; keeps nothing of its readers."""

    def __init__(self, log: ThreadLog, position: Position, query: StreamQuery) -> None:
        self._log = log
        self._position = position
        self._query = query
        self._events: list[ThreadEvent] = []

    def read(self) -> EventBatch:
        """The next events.

        Raises:
            InvalidRequest: the position lies within a character.
            RunNotFound: there is no such run.
        """
        log, query = self._log, self._query
        run_id = None if query.run_id is None else log.run(query.run_id).id
        for index in range(self._position.seq, log.end):
            if len(self._events) >= MAX_EVENTS:
                return self._batch()
            entry = log.entries[index]
            self._read_entry(entry)
            if run_id is not None and entry.name == "run.ended" and entry.run_id == run_id:
                return self._batch(is_over=True)
        for block_id in log.open_blocks():
            block = log.blocks[block_id]
            if block.seq <= self._position.seq and self._is_shown(block):
                self._read_block(block)
        return self._batch(log.is_over or (run_id is not None and log.run(run_id).is_over))

    def _batch(self, is_over: bool = False) -> EventBatch:
        return EventBatch(tuple(self._events), self._position, is_over)

    def _read_entry(self, entry: Entry) -> None:
        block = entry.block
        if block is None:
            assert entry.run is not None, "an entry is of a block or of a run"
            is_shown = self._is_of(entry.run.id, entry.run.parent_run_id)
            self._pass(entry, {"seq": entry.seq, "run": entry.run}, is_shown)
            return
        is_shown = self._is_shown(block)
        if entry.name == "block.completed" and is_shown:
            self._read_block(block)
        self._pass(entry, {"seq": entry.seq, "block": block}, is_shown)

    def _pass(self, entry: Entry, data: dict[str, Any], is_shown: bool) -> None:
        closed = number_of(entry.block.id) if entry.block and entry.name == "block.completed" else None
        self._position = self._position.after_entry(entry.seq, closed)
        if is_shown:
            self._events.append(ThreadEvent(str(self._position), entry.name, data))

    def _read_block(self, block: Block) -> None:
        """What of a block was not read yet; what it was created with has been read with its creation."""
        if not self._query.has_deltas:
            return
        created = self._log.entries[block.seq - 1].block
        assert created is not None, "a block's seq is that of its creation"
        number = number_of(block.id)
        read = self._position.offsets.get(number, _end_of(created))
        for part, offset, data in self._log.text_after(block.id, *read):
            self._position = self._position.after_delta(number, part, offset + len(data))
            delta = {"block_id": block.id, "run_id": block.run_id, "part": part, "offset": offset, "text": _text(data)}
            self._events.append(ThreadEvent(str(self._position), "block.delta", delta))

    def _is_shown(self, block: Block) -> bool:
        is_of_kind = not self._query.kinds or block.kind in self._query.kinds
        return is_of_kind and self._is_of(block.run_id, block.parent_run_id)

    def _is_of(self, run_id: str, parent_run_id: str | None) -> bool:
        """Whether the run is one that is read: not one that another began, unless it is asked for."""
        query = self._query
        if query.run_id is None:
            return query.has_children or parent_run_id is None
        return is_within(run_id, query.run_id) if query.has_children else run_id == query.run_id


def _end_of(block: Block) -> tuple[int, int]:
    """Its last part, and how many bytes that has."""
    last = len(block.parts) - 1
    return (last, len(block.parts[last].text.encode())) if block.parts else (0, 0)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("after: this position lies within a character") from None
