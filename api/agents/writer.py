"""Writes a thread's log: blocks while they grow, changes of runs, and what became of commands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from api.errors import GreenroomError
from api.inferlet import now
from api.inferlet.host import host
from api.inferlet.work_effects import Log, Shown
from api.threads.blocks import Answer, Ask, Block, BlockError, Kind, Part, Role
from api.threads.runs import Run


class Writer:
    """Numbers the blocks of one thread.

    Attributes:
        num_blocks: the last number.
    """

    def __init__(self) -> None:
        self.num_blocks = 0

    def run(self, run: Run, known: Run | None, asked: dict[str, Any] | None = None) -> None:
        """The run is as this says from now on; ``known`` is what of it was logged last.

        ``asked`` is what else is to be known of one that waits for its place; empty where it is known.
        """
        changes = run.changes_since(known)
        _log({"log": "run", "run": changes} if asked is None else {"log": "run", "run": changes, "asked": asked})

    def outcome(self, position: int, run_id: str | None, error: GreenroomError | None = None) -> None:
        """What became of the command at this position of the inbox."""
        failure = None if error is None else [type(error).__name__, list(error.args)]
        _log({"log": "outcome", "position": position, "run_id": run_id, "error": failure})

    def open(
        self,
        run: Run,
        turn: int,
        kind: Kind,
        role: Role,
        *,
        name: str | None = None,
        call_id: str | None = None,
        parts: tuple[Part, ...] = (),
        ask: Ask | None = None,
    ) -> OpenBlock:
        """A new block."""
        self.num_blocks += 1
        block_id = f"{run.thread_id}.b{self.num_blocks}"
        fields: dict[str, Any] = {"name": name, "call_id": call_id, "parts": parts, "ask": ask}
        block = Block(block_id, run.id, turn, kind, role, run.agent, now(), parent_run_id=run.parent_run_id, **fields)
        _log({"log": "created", "block": block.kept})
        return OpenBlock(block)


class OpenBlock:
    """A block that grows. Its text is shown as it comes, and kept when it closes."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self._texts: list[list[str]] = [[part.text] for part in block.parts]
        self._parts = list(block.parts)

    @property
    def is_open(self) -> bool:
        """It has not been closed."""
        return self.block.state == "open"

    @property
    def text(self) -> str:
        """Of all its parts, so far."""
        return "".join("".join(pieces) for pieces in self._texts)

    def say(self, text: str) -> None:
        """More text, in a part of its own after one of another kind."""
        if self._parts and self._parts[-1].type != "text":
            self.begin_part(Part())
        self.show(text)

    def begin_part(self, part: Part) -> None:
        """Another part; its text is shown."""
        self._parts.append(replace(part, text=""))
        self._texts.append([])
        self.show(part.text)

    def show(self, text: str) -> None:
        """More of the last part, which is a text where there is none."""
        if not self._parts:
            self.begin_part(Part())
        self._texts[-1].append(text)
        part = self._parts[-1]
        host().tell(
            Shown(
                {
                    "block": self.block.id,
                    "part": len(self._parts) - 1,
                    "type": part.type,
                    "mime_type": part.mime_type,
                    "text": text,
                }
            )
        )

    def close(
        self,
        state: Literal["complete", "failed", "cancelled"] = "complete",
        *,
        error: BlockError | None = None,
        answer: Answer | None = None,
    ) -> Block:
        """It does not grow any longer. Again: nothing."""
        if self.is_open:
            parts = tuple(
                replace(part, text="".join(pieces)) for part, pieces in zip(self._parts, self._texts, strict=True)
            )
            self.block = replace(self.block, state=state, parts=parts, closed_at=now(), error=error, answer=answer)
            _log({"log": "completed", "block": self.block.kept})
        return self.block


def _log(entry: dict[str, Any]) -> None:
    host().begin(Log(entry))
