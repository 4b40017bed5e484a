"""Ids of the responses that agents give: each names its thread and its runs there, and from where on they are told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from api.http.openai.agents.begun import Begun, calls_of_caller
from api.http.openai.responses.ids import response_of_key
from api.threads.blocks import Block, number_of

_ID = re.compile(r"resp_([0-9a-f]{32})r([0-9]{1,15})(?:a([0-9]{1,15})(?:r([0-9]{1,15}))?)?", re.ASCII)
_ITEM = re.compile(r"[a-z]+_(\w+)_[io][0-9]{1,6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AgentResponse:
    """One response.

    Attributes:
        runs: the run that it tells, and one that began after that in the same request.
        num_asked: the number of the last ask of the first run that was answered before it; None where it begins with
            the run.
    """

    thread_id: str
    runs: tuple[str, ...]
    num_asked: int | None = None

    @classmethod
    def begun(cls, begun: Begun) -> AgentResponse:
        """Of what a request has begun."""
        num_asked = max(map(number_of, (ask.id for ask in begun.asks)), default=None)
        return cls(begun.thread.thread_id, begun.runs, num_asked)

    @classmethod
    def of(cls, response_id: str) -> AgentResponse | None:
        """Of an id; None where no agent's response has such a one."""
        found = _ID.fullmatch(response_id)
        if found is None:
            return None
        thread_id, first, num_asked, second = found.groups()
        runs = tuple(f"{thread_id}.r{number}" for number in (first, second) if number)
        return cls(thread_id, runs, None if num_asked is None else int(num_asked))

    @classmethod
    def of_item(cls, item_id: str) -> AgentResponse | None:
        """Of the id of an item of its input or output; None where no agent's response has such a one."""
        found = _ITEM.fullmatch(item_id)
        return cls.of(response_of_key(found[1])) if found else None

    def __str__(self) -> str:
        first, *others = (run_id.rpartition(".")[2] for run_id in self.runs)
        asked = "" if self.num_asked is None else f"a{self.num_asked}"
        return f"resp_{self.thread_id}{first}{asked}{''.join(others)}"

    @property
    def goes_on(self) -> bool:
        """Whether it tells how a run goes on after answers, and began none."""
        return len(self.runs) == 1 and self.num_asked is not None

    @property
    def last_ask(self) -> str:
        """The id of the ask of this number."""
        return f"{self.thread_id}.b{self.num_asked}"

    def asks_before(self, asks: Sequence[Block]) -> list[str]:
        """The ids of those that its caller had answered before it, of all of the first run."""
        last = self.num_asked
        return [] if last is None else [ask.id for ask in calls_of_caller(asks) if number_of(ask.id) <= last]
