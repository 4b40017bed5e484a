"""A log as a test writes it, for what shows logs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from api.http.agents.shown import Frame, Shown
from api.threads.blocks import Ask, Block, BlockError, Part
from api.threads.contract import ThreadEvent
from api.threads.runs import Run, Usage

RUN = Run("t.r0", "helper", "t", "t", "hello", 1.0)


class ScriptedLog:
    """Numbers what happens, and keeps it in order."""

    def __init__(self, run: Run = RUN) -> None:
        self.events: list[ThreadEvent] = []
        self._run = run
        self._seq = 0
        self._num_blocks = 0

    def block(self, kind: Any, *texts: str, state: Any = "complete", **fields: Any) -> Block:
        """A block that is created, grows by these texts, and closes."""
        block = self.open(kind, **fields)
        for text in texts:
            self._add("block.delta", block_id=block.id, run_id=block.run_id, part=0, offset=0, text=text)
        parts = (*block.parts, *((Part(text="".join(texts)),) if texts else ()))
        return self.close(replace(block, parts=parts), state)

    def open(self, kind: Any, role: Any = "assistant", turn: int = 0, **fields: Any) -> Block:
        """A block that stays open."""
        self._num_blocks += 1
        block = Block(f"t.b{self._num_blocks}", self._run.id, turn, kind, role, "helper", 2.0, self._seq + 1, **fields)
        self._entry("block.created", block=block)
        return block

    def close(self, block: Block, state: Any = "complete", error: BlockError | None = None) -> Block:
        """The block has closed."""
        closed = replace(block, state=state, error=error, closed_at=3.0)
        self._entry("block.completed", block=closed)
        return closed

    def ask(self, kind: Any, call_id: str = "call_0_0_0") -> Block:
        """An ask that is open."""
        ask = Ask(kind, "May it?", {"type": "string"}, call_id, 4.0)
        return self.open("ask", call_id=call_id, parts=(Part(text="May it?"),), ask=ask)

    def run(self, state: Any, **fields: Any) -> None:
        """The run is like this now."""
        self._run = replace(self._run, state=state, usage=Usage(10, 5, 3, 1, 0), **fields)
        self._entry("run.ended" if self._run.is_over else "run.updated", run=self._run)

    def shown_by(self, shown: Shown) -> list[Frame]:
        """All frames of it."""
        return [*shown.opening(), *(frame for event in self.events for frame in shown.take(event))]

    def _entry(self, name: Any, **data: Any) -> None:
        self._seq += 1
        self._add(name, seq=self._seq, **data)

    def _add(self, name: Any, **data: Any) -> None:
        self.events.append(ThreadEvent(str(self._seq), name, data))
