"""How much of its journal an instance has filled since it last began anew."""

from __future__ import annotations

from collections.abc import Sequence

from actors.inferlets.history import since_checkpoint
from actors.inferlets.records import Checkpointed, Continued, Record, Restarted

JOURNAL_FULL = (
    "the program's journal has more than {} MiB: one that is to run for ever now and then awaits "
    "continue_as_new(state), which begins it again with what it needs"
)
RUN_TOO_LARGE = "the run, and what was asked of its thread meanwhile, has more than {} MiB"

JOURNAL_PARTS = 3
"""A run of a thread ends when it has filled one of this number of parts of the journal's limit: its open blocks, which
are recorded once more as they close, and the commands that wait to be taken have the rest.
"""


class JournalUse:
    """Compares with ``limit``, bytes. Made with the history that there is, and the lines that it is kept as."""

    def __init__(self, limit: int, is_thread: bool, history: Sequence[Record], lines: Sequence[bytes]) -> None:
        self.limit = limit
        self._sentence = RUN_TOO_LARGE if is_thread else JOURNAL_FULL
        num_before = len(history) - len(since_checkpoint(history)[1])
        self._num_bytes_before = sum(map(len, lines[:num_before]))
        self._num_bytes = sum(map(len, lines))

    def take(self, written: Sequence[Record], num_bytes: int) -> None:
        """These are in it now, and it has this size."""
        self._num_bytes = num_bytes
        if any(isinstance(record, Checkpointed | Continued | Restarted) for record in written):
            self._num_bytes_before = num_bytes

    @property
    def refusal(self) -> str | None:
        """What is wrong, where it has more than it may."""
        return self._sentence.format(self.limit >> 20) if self._since > self.limit else None

    @property
    def is_share_full(self) -> bool:
        """A run of a thread has filled its part."""
        return self._since > self.limit // JOURNAL_PARTS

    @property
    def _since(self) -> int:
        return self._num_bytes - self._num_bytes_before
