"""What a program prints: taken from the process's own streams, told apart by whose code writes."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TextIO

from typing_extensions import override

from actors.inferlets.records import OutputCut, Printed

STREAMS = ("stdout", "stderr")


class Output:
    """The printed text of one program, as records. What earlier lives printed is passed over; beyond a limit it is cut
    for good.

    Any thread may write.

    Attributes:
        num_kept: characters, those of runs before this one too.
        is_cut: the rest is left out, whatever the limit becomes.
        limit: characters.
    """

    FLUSH_CHARS = 4096

    def __init__(
        self, emit: Callable[[Printed | OutputCut], object], limit: int, num_kept: int = 0, is_cut: bool = False
    ) -> None:
        self.num_kept = num_kept
        self.is_cut = is_cut
        self._emit = emit
        self.limit = limit
        self._passed_over = dict.fromkeys(STREAMS, 0)
        self._waiting: list[tuple[str, str]] = []
        self._num_waiting = 0
        self._lock = threading.RLock()

    def recover(self, record: Printed | OutputCut) -> None:
        """An earlier life has printed this."""
        if isinstance(record, OutputCut):
            self.is_cut = True
            return
        self.num_kept += len(record.text)
        self._passed_over[record.stream] += len(record.text)

    def write(self, stream: str, text: str) -> None:
        """Take what was printed; it is recorded soon, or by ``flush``."""
        with self._lock:
            passed_over = min(len(text), self._passed_over[stream])
            self._passed_over[stream] -= passed_over
            num_left = 0 if self.is_cut else max(0, self.limit - self.num_kept)
            kept = text[passed_over : passed_over + num_left]
            if kept:
                self._waiting.append((stream, kept))
                self.num_kept += len(kept)
                self._num_waiting += len(kept)
            if self._num_waiting >= self.FLUSH_CHARS:
                self.flush()
            if len(kept) < len(text) - passed_over and not self.is_cut:
                self.is_cut = True
                self.flush()
                self._emit(OutputCut(self.limit))

    def flush(self) -> None:
        """Record what waits."""
        with self._lock:
            waiting, self._waiting, self._num_waiting = self._waiting, [], 0
            while waiting:
                stream = waiting[0][0]
                end = next((index for index, (other, _) in enumerate(waiting) if other != stream), len(waiting))
                self._emit(Printed(stream, "".join(text for _, text in waiting[:end])))
                del waiting[:end]


class RoutedStream(io.TextIOBase):
    """Stands for ``sys.stdout`` or ``sys.stderr``: what a program writes goes to its output, the rest through."""

    def __init__(self, name: str, behind: TextIO) -> None:
        self._name = name
        self._behind = behind

    @override
    def write(self, text: str) -> int:
        output = current_output.get(None)
        if output is None:
            return self._behind.write(text)
        output.write(self._name, text)
        return len(text)

    @override
    def flush(self) -> None:
        """A program's text needs none."""
        if current_output.get(None) is None:
            self._behind.flush()

    def fileno(self) -> int:
        """The file that it writes to."""
        return self._behind.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream that it replaces."""
        return self._behind.encoding


current_output: ContextVar[Output] = ContextVar("greenroom-output")
"""The output of the program whose code runs."""


def route_streams() -> None:
    """Route this process's standard streams. Idempotent."""
    for name in STREAMS:
        stream = getattr(sys, name)
        if not isinstance(stream, RoutedStream):
            setattr(sys, name, RoutedStream(name, stream))
