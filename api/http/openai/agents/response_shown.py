"""A run as a response: what the agent says in all its steps, its calls and their results, as items.

An event's number is a function of the thread's log before it, so that it is the same on every reading. Text that was
told, but lost with the run's process before it was in the log, has lost its numbers too: what is told after it might
have these again. So the last event, which has the whole, comes after every number that a reader names.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from api.answers.events import ArgumentsDelta, CallBegun, ReasoningDelta, TextDelta
from api.errors import GreenroomError, sentence_of
from api.http.agents.shown import Frames, Shown
from api.http.openai.agents.begun import call_id, calls_of_caller, waits_for_person
from api.http.openai.agents.response_ids import AgentResponse
from api.http.openai.agents.shown import LENGTHS
from api.http.openai.envelope import openai_error_body
from api.http.openai.responses.item_events import ItemEvents
from api.http.openai.responses.output import ENCRYPTED_REASONING
from api.http.openai.responses.resource import EVENTS, State, resource
from api.http.openai.responses.resource import Usage as UsageShown
from api.threads.blocks import Block
from api.threads.runs import Run, Usage, spent

NUM_FAILED = 2
"""Events with which a response fails: who read it while it waited for a person has had them."""


class ResponseShown(Shown):
    """Frames are events.

    Attributes:
        error: why it failed.

    Args:
        fields: those that do not change.
        asks: those of its runs, as they are before it is read: a run has gone on from a wait for one that is closed.
        after: events up to this number are left out.
    """

    def __init__(
        self, response: AgentResponse, fields: Mapping[str, Any], asks: Sequence[Block], after: int = -1
    ) -> None:
        super().__init__(response.runs, response.asks_before(asks), is_whole=response.num_asked is None)
        self.error: GreenroomError | None = None
        self._id, self._fields = str(response), fields
        self._state = State("in_progress")
        self._items = ItemEvents(self._id, after, ENCRYPTED_REASONING in fields.get("include", ()))
        self._open: dict[str, Block] = {}
        self._of_caller: set[str | None] = set()
        self._closed = {ask.id for ask in asks if ask.state != "open"}
        self._ends_with: set[str] = set()
        self._usages: dict[str, Usage] = {}
        self._usage_before = Usage()

    def view(self) -> dict[str, Any]:
        """The response, as far as it has come."""
        return resource(self._id, self._fields, self._state)

    @override
    def opening(self) -> Frames:
        kinds = ("response.queued",) if self._fields["background"] else ()
        return self._items.opening("response.created", *kinds, "response.in_progress", response=self.view())

    @override
    def created(self, block: Block) -> Frames:
        if block.kind == "ask" and block.ask and block.ask.type == "client_tool":
            self._of_caller.add(block.call_id)
        is_said = block.kind in ("message", "reasoning", "tool_call") and block.role == "assistant"
        if not is_said or block.run_id not in self.runs or self._is_past:
            return []
        self._open[block.id] = block
        if block.kind == "tool_call":
            self._items.add([CallBegun(0, call_id(block), block.name or "")])
        return self._items.drain()

    @override
    def grown(self, block_id: str, text: str) -> Frames:
        block = self._open.get(block_id)
        if block is None or not text:
            return []
        match block.kind:
            case "message":
                self._items.add_text(TextDelta(text))
            case "reasoning":
                self._items.add_text(ReasoningDelta(text))
            case _:
                self._items.add_text(ArgumentsDelta(0, text))
        return self._items.drain()

    @override
    def completed(self, block: Block) -> Frames:
        if block.id in self._ends_with and block.answer:
            self.is_over = True
            return self._end("completed", block.created_at)
        status = "completed" if block.state == "complete" else "incomplete"
        if self._open.pop(block.id, None):
            self._items.close(status)
        is_own_result = block.kind == "tool_result" and block.call_id not in self._of_caller
        if is_own_result and block.run_id in self.runs and not self._is_past:
            text = block.told if block.error is None else f"Error: {block.error.message}"
            self._items.add_result(call_id(block), text, status)
        return self._items.drain()

    @override
    def changed(self, run: Run) -> Frames:
        self._usages[run.id] = run.usage
        if self._is_past:
            self._usage_before = run.usage
        return []

    @override
    def has_gone_on(self) -> bool:
        """From a wait for a person. An answer to a call of the caller's that was waited for too is the end."""
        calls = {ask.id for ask in calls_of_caller(list(self.asks.values()))}
        if calls == self.asks.keys() or self._closed.isdisjoint(self.asks):
            return False
        self._ends_with |= calls
        self._items.number += NUM_FAILED
        return True

    @override
    def waits(self, run: Run) -> Frames:
        self._usages[run.id] = run.usage
        if calls_of_caller(asks := list(self.asks.values())) != asks:
            return self.failed(waits_for_person(run.id))
        return self._end("completed", max(ask.created_at for ask in self.asks.values()))

    @override
    def ended(self, run: Run) -> Frames:
        self._usages[run.id] = run.usage
        if run.state == "failed" and run.reason == "budget":
            is_length = run.error is not None and run.error.code in LENGTHS
            return self._end("incomplete", run.ended_at, "max_output_tokens" if is_length else "max_tool_calls")
        if run.state == "failed":
            return self.failed(GreenroomError(f"the run failed: {run.error.message if run.error else run.reason}"))
        return self._end("completed" if run.state == "succeeded" else "cancelled", run.ended_at)

    @override
    def failed(self, error: GreenroomError) -> Frames:
        self.error = error
        told = openai_error_body(error.status, error.code, sentence_of(error))["error"]
        self._items.close("incomplete")
        self._items.emit("error", error=told)
        return self._end("failed", None)

    @property
    def _is_past(self) -> bool:
        """What comes was told in an earlier response."""
        return bool(self._past) and not self._is_whole

    def _end(self, status: str, at: float | None, why_incomplete: str = "max_output_tokens") -> Frames:
        items = self._items
        items.close("incomplete")
        self._state = State(status, items.items, self._usage(), self.error, at or time.time(), why_incomplete)
        items.end(EVENTS[status], response=self.view())
        return items.drain()

    def _usage(self) -> UsageShown:
        """Of this response alone."""
        total = spent(self._usages.values(), self._usage_before)
        return UsageShown(total.prompt_tokens, total.cached_tokens, total.completion_tokens, 0)
