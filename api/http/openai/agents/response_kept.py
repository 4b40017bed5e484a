"""What a thread keeps of a response beside what was said: with its run, or with the answer that it goes on after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.http.agents.taken import asks_of
from api.http.openai.agents.begun import call_id
from api.http.openai.agents.response_ids import AgentResponse, calls_of_caller
from api.http.openai.responses.draft import Draft
from api.http.openai.responses.items import Item, with_ids
from api.threads.blocks import Block, top_of
from api.threads.contract import ThreadHandle
from api.threads.runs import Run

_KEPT = "response"
"""In the metadata of a run, or of the last answer."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one response.

    Attributes:
        fields: those that do not change.
        items: of its input, with their ids; none where it is not stored.
    """

    fields: Mapping[str, Any]
    items: list[Item]

    @property
    def is_stored(self) -> bool:
        """Whether it is to be found again."""
        return bool(self.fields["store"])


def metadata_of(draft: Draft) -> dict[str, Any]:
    """What is to be kept; the same for a request that is sent again."""
    fields = {name: value for name, value in draft.fields.items() if name != "created_at"}
    return {_KEPT: {"fields": fields, "items": list(draft.items) if draft.is_stored else []}}


def is_stored(run: Run) -> bool:
    """Whether the response that began it is to be found again."""
    return _KEPT in run.metadata and bool(run.metadata[_KEPT]["fields"]["store"])


async def kept_of(thread: ThreadHandle, response: AgentResponse) -> Kept | None:
    """What is kept; None where the thread has no such response.

    Raises:
        RunNotFound, BlockNotFound
    """
    run = await thread.run(response.runs[-1])
    if not response.goes_on:
        return _kept(response, run.metadata, run.created_at)
    ask = await thread.block(response.last_ask)
    if ask.answer is None or top_of(ask.run_id) != run.id:
        return None
    found = _kept(response, ask.answer.metadata, ask.answer.at)
    return found or _answered_elsewhere(response, run, ask.answer.at, await asks_of(thread, run.id))


def _kept(response: AgentResponse, metadata: Mapping[str, Any], at: float) -> Kept | None:
    if _KEPT not in metadata:
        return None
    kept = metadata[_KEPT]
    return Kept({**kept["fields"], "created_at": int(at)}, with_ids(kept["items"], str(response)))


def _answered_elsewhere(response: AgentResponse, run: Run, at: float, asks: tuple[Block, ...]) -> Kept | None:
    """Of one whose results were given before, over another way or with a message."""
    found = _kept(response, run.metadata, at)
    if found is None:
        return None
    items = [
        {
            "type": "function_call_output",
            "call_id": call_id(ask),
            "output": str(ask.answer.value),
            "status": "completed",
        }
        for ask in sorted(calls_of_caller(asks), key=lambda ask: ask.seq)
        if ask.answer and ask.answer.at == at
    ]
    return Kept({**found.fields, "previous_response_id": None}, with_ids(items, str(response)))
