"""Runs of a thread as frames of another protocol: what every one of these has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final

from api.errors import GreenroomError, ThreadDeleted
from api.http.json_text import json_text
from api.threads.blocks import KINDS, Block, top_of
from api.threads.contract import BlockQuery, StreamQuery, ThreadEvent, ThreadHandle
from api.threads.runs import Run

Frame = dict[str, Any]
Frames = list[Frame]


class Shown(ABC):
    """Takes events from the first of some runs on; says frames, to the end of the last run or until one waits. What is
    in runs below them is theirs.

    Attributes:
        runs: their ids, in order.
        asks: blocks of kind ``ask`` that are open, by id.
        is_over: nothing is to be said any longer.
    """

    def __init__(self, runs: Sequence[str], past_asks: Iterable[str] = (), *, is_whole: bool = True) -> None:
        """
        Args:
            past_asks: no wait counts that comes before all of these are closed.
            is_whole: what comes before that is said too.
        """
        self.runs: Final = tuple(runs)
        self.asks: Final[dict[str, Block]] = {}
        self.is_over = False
        self._past = set(past_asks)
        self._is_whole = is_whole

    def take(self, event: ThreadEvent) -> Frames:
        """What is said of an event."""
        was_said = self._is_whole or not self._past
        frames = self._taken(event)
        return frames if was_said else []

    def _taken(self, event: ThreadEvent) -> Frames:
        data = event.data
        match data:
            case {"text": str(text), "run_id": str(run_id)} if self._has(run_id):
                return self.owned(run_id, self.grown(data["block_id"], text))
            case {"block": Block() as block} if self._has(block.run_id):
                is_new = event.name == "block.created"
                return self.owned(block.run_id, self._created(block) if is_new else self._completed(block))
            case {"run": Run() as run} if self._has(run.id):
                return self._changed(run) if run.id in self.runs else self.below(run)
        return []

    def _has(self, run_id: str) -> bool:
        return top_of(run_id) in self.runs

    def _created(self, block: Block) -> Frames:
        if block.kind == "ask":
            self.asks[block.id] = block
        frames = self.created(block)
        return [*frames, *self.grown(block.id, block.text)] if block.text else frames

    def _completed(self, block: Block) -> Frames:
        self.asks.pop(block.id, None)
        self._past.discard(block.id)
        return self.completed(block)

    def _changed(self, run: Run) -> Frames:
        if run.state == "waiting" and not self._past and not self.has_gone_on():
            self.is_over = True
            return self.waits(run)
        if run.is_over and run.id == self.runs[-1]:
            self.is_over = True
            return self.ended(run)
        return self.changed(run)

    @abstractmethod
    def opening(self) -> Frames:
        """The first frames."""

    @abstractmethod
    def created(self, block: Block) -> Frames:
        """A block is there; its text comes next."""

    @abstractmethod
    def grown(self, block_id: str, text: str) -> Frames:
        """More of a block's text."""

    @abstractmethod
    def completed(self, block: Block) -> Frames:
        """A block has closed."""

    def owned(self, run_id: str, frames: Frames) -> Frames:
        """The frames, as those of this run, which might be below one of ``runs``."""
        return frames

    def below(self, run: Run) -> Frames:
        """A run below one of ``runs`` has changed."""
        return []

    @abstractmethod
    def changed(self, run: Run) -> Frames:
        """A run is queued, runs, or has ended with another after it."""

    def has_gone_on(self) -> bool:
        """Whether the run that waits for ``asks`` here is known to have gone on, so that the frames do too."""
        return False

    @abstractmethod
    def waits(self, run: Run) -> Frames:
        """A run waits for ``asks``; these are the last frames."""

    @abstractmethod
    def ended(self, run: Run) -> Frames:
        """The last run has ended; these are the last frames."""

    @abstractmethod
    def failed(self, error: GreenroomError) -> Frames:
        """The runs cannot be read to their end; these are the last frames."""


async def frames_of(thread: ThreadHandle, shown: Shown) -> AsyncGenerator[Frame]:
    """Frames as they come. Leaving them changes nothing in the thread."""
    for frame in shown.opening():
        yield frame
    query = StreamQuery(shown.runs[0] if len(shown.runs) == 1 else None, has_children=True)
    try:
        events: Any = thread.stream(await _before(thread, shown.runs[0]), query)
        async with aclosing(events):
            async for event in events:
                for frame in shown.take(event):
                    yield frame
                if shown.is_over:
                    return
        raise ThreadDeleted(thread.thread_id)
    except GreenroomError as error:
        for frame in shown.failed(error):
            yield frame


async def texts_of(thread: ThreadHandle, shown: Shown) -> AsyncGenerator[str]:
    """The frames as server-sent events without names."""
    async with aclosing(frames_of(thread, shown)) as frames:
        async for frame in frames:
            yield f"data: {json_text(frame, is_ascii=True)}\n\n"


async def _before(thread: ThreadHandle, run_id: str) -> str | None:
    """A position before the first block of a run, near it; the start where it has ended without any."""
    every = frozenset(KINDS)
    newest, _ = await thread.blocks(BlockQuery(None, every, limit=1, is_descending=True, has_children=True))
    first, _ = await thread.blocks(BlockQuery(run_id, every, limit=1))
    if first:
        return str(first[0].seq - 1)
    has_ended = (await thread.run(run_id)).is_over
    return str(newest[0].seq) if newest and not has_ended else None
