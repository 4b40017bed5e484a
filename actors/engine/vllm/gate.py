"""What waits before vLLM: it computes requests in the order in which they come, without regard to owners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.engine.owners import FairQueue, Owners

if TYPE_CHECKING:
    from actors.engine.turn import Turn


class Gate:
    """Sends turns on while vLLM can begin with them at once; the others wait, and owners take turns.

    One owner has at most its share of vLLM's places, and of a step's tokens for prompts, while others have turns too;
    alone it leaves a share of the places free, for vLLM ends no turn for another.

    Args:
        max_turns: vLLM's ``max_num_seqs``.
        max_tokens: vLLM's ``max_num_batched_tokens``.
    """

    def __init__(self, owners: Owners, max_turns: int, max_tokens: int) -> None:
        self._owners = owners
        self._max_turns = max_turns
        self._max_tokens = max_tokens
        self._waiting: FairQueue[Turn] = FairQueue()
        self._sends: dict[Turn, Callable[[], None]] = {}
        self._num_sent: Counter[str] = Counter()
        self._num_tokens: Counter[str] = Counter()
        self._sent: dict[Turn, int] = {}

    def __contains__(self, turn: Turn) -> bool:
        """Whether a turn waits here."""
        return turn in self._waiting

    def count(self, owner: str) -> int:
        """How many turns of an owner wait here."""
        return self._waiting.count(owner)

    def add(self, turn: Turn, send: Callable[[], None]) -> None:
        """A turn that has been admitted; ``send`` is called when it may go, or not at all."""
        self._owners.note(turn.owner)
        self._sends[turn] = send
        self._waiting.add(turn)
        self._open()

    def started(self, turn: Turn) -> None:
        """vLLM has computed the prompt of a turn."""
        self._num_tokens[turn.owner] -= self._sent.get(turn, 0)
        if turn in self._sent:
            self._sent[turn] = 0
        self._open()

    def ended(self, turn: Turn) -> None:
        """A turn has ended, here or there."""
        self._owners.note(turn.owner)
        self._waiting.discard(turn)
        self._sends.pop(turn, None)
        if turn in self._sent:
            self._num_tokens[turn.owner] -= self._sent.pop(turn)
            self._num_sent[turn.owner] -= 1
        self._open()

    def _open(self) -> None:
        are_several = self._owners.are_several(self._num_sent)
        while turn := self._waiting.pop(self._num_sent, lambda turn: self._may_go(turn, are_several)):
            missing = max(0, len(turn.context.ids) - turn.context.num_resident)
            self._sent[turn] = missing
            self._num_sent[turn.owner] += 1
            self._num_tokens[turn.owner] += missing
            self._sends.pop(turn)()

    def _may_go(self, turn: Turn, are_several: bool) -> bool:
        share = self._owners.share_of(self._max_turns)
        if share >= self._max_turns:
            return True
        num_sent, num_tokens = self._num_sent[turn.owner], self._num_tokens[turn.owner]
        max_turns = share if are_several else max(share, self._max_turns - share)
        # Alone, two steps' tokens: while one step is computed the next one's are there.
        max_tokens = self._owners.share_of(self._max_tokens) if are_several else 2 * self._max_tokens
        missing = len(turn.context.ids) - turn.context.num_resident
        return num_sent < max_turns and (not num_tokens or num_tokens + missing <= max_tokens)
