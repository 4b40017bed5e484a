"""What the journal keeps of an instance's records, and which of them it keeps no longer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from actors.inferlets.mailbox import is_event
from actors.inferlets.records import Continued, Delivered, Record, Woken, encode, passes
from actors.inferlets.timer_rows import TimerRow
from actors.journal.cuts import Passing
from actors.journal.writer import Lines
from api.inferlet.work_effects import Shown


@dataclass(frozen=True, slots=True)
class _Kept:
    """The row in the record at ``position``, into which the ``num_merged`` records before it were merged."""

    row: TimerRow
    position: int
    num_merged: int
    num_bytes: int


class _Series:
    """Numbered records, of which those before ``first`` are not kept any longer, and their positions."""

    def __init__(self) -> None:
        self.first = 0
        self.positions: deque[int] = deque()

    def forgotten(self, first: int) -> Iterator[range]:
        """The positions of those before this one, which are kept no longer."""
        while self.first < first:
            begin = end = self.positions.popleft()
            self.first += 1
            while self.first < first and self.positions[0] == end + 1:
                end = self.positions.popleft()
                self.first += 1
            yield range(begin, end + 1)


class JournalLines:
    """Takes an instance's records in their order.

    A row of timers that run out between two calls is merged with the one before it, unless that has more: so there are
    few rows, and each timer is written some ten times at most.
    """

    MAX_ROW = 1 << 14
    """Timers of a row that is not merged any further."""

    def __init__(self) -> None:
        self._passing = Passing(passes)
        self._rows: list[_Kept] = []
        self._events, self._messages = _Series(), _Series()

    def recover(self, positions: Iterable[int], history: Sequence[Record]) -> None:
        """The journal has these at these positions."""
        if continued := next((record for record in history if isinstance(record, Continued)), None):
            self._events.first, self._messages.first = continued.first_event, continued.first_message
        for position, record in zip(positions, history, strict=True):
            self._take(position, record)

    def take(self, position: int, records: Sequence[Record]) -> Lines:
        """These come next, from this position on."""
        lines, drops, num_merged_bytes = list[bytes](), list[range](), 0
        kept = (record for record in records if not isinstance(record, Shown))
        for num_calls, group in groupby(kept, lambda one: one.num_calls if isinstance(one, Woken) else None):
            if num_calls is None:
                for record in group:
                    drops += self._take(position + len(lines), record)
                    lines.append(encode(record))
                continue
            row = TimerRow.of([one for one in group if isinstance(one, Woken)])
            earlier = self._merged_with(position + len(lines), row)
            drops += (range(one.position, one.position + 1) for one in earlier)
            num_merged_bytes += sum(one.num_bytes for one in earlier)
            lines.append(self._line(position + len(lines), row, earlier))
        return Lines(lines, drops, num_merged_bytes)

    def _take(self, position: int, record: Record) -> list[range]:
        """It has this position; returns those of earlier ones that are removed with it."""
        drops = list(self._passing.take(position, record))
        if is_event(record):
            self._events.positions.append(position)
        elif isinstance(record, Delivered):
            self._messages.positions.append(position)
        elif isinstance(record, Continued):
            drops += self._events.forgotten(record.first_event)
            drops += self._messages.forgotten(record.first_message)
        return drops

    def _merged_with(self, position: int, row: TimerRow) -> list[_Kept]:
        """The rows immediately before this position that become one with this, the last first."""
        num, earlier, last = row.num, list[_Kept](), self._rows[-1] if self._rows else None
        if last and (last.position + 1, last.row.num_calls) != (position, row.num_calls):
            self._rows.clear()
        while self._rows and self._rows[-1].row.num <= num < self.MAX_ROW:
            earlier.append(self._rows.pop())
            num += earlier[-1].row.num
        return earlier

    def _line(self, position: int, row: TimerRow, earlier: Sequence[_Kept]) -> bytes:
        for one in earlier:
            row = one.row.followed_by(row)
        num_merged = sum(1 + one.num_merged for one in earlier)
        record = row.record(num_merged)
        self._passing.take(position, record)
        line = encode(record)
        if row.num < self.MAX_ROW:
            self._rows.append(_Kept(row, position, num_merged, len(line)))
        else:
            self._rows.clear()
        return line
