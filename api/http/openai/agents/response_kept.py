"""What a thread keeps of a response beside what was said: with its run, or with the answer that it goes on after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile
from typing import Any

from api.errors import BlockNotFound
from api.http.agents.taken import asks_of
from api.http.openai.agents.begun import NO_RESULTS, Results, call_id, calls_of_caller
from api.http.openai.agents.response_ids import AgentResponse
from api.http.openai.responses.draft import Draft
from api.http.openai.responses.items import Item, with_ids
from api.threads.blocks import Block, Role, number_of, top_of
from api.threads.commands import OF_RESPONSE, Prompt
from api.threads.contract import ThreadHandle
from api.threads.runs import Run


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one response.

    Attributes:
        fields: those that do not change.
        items: of its input. A result of a tool that is an answer in the thread has the number of its ask as output; as
            it is kept with a run, what the run itself says has its place there as text.
    """

    fields: Mapping[str, Any]
    items: Sequence[Item]

    @property
    def is_stored(self) -> bool:
        """Whether it is to be found again."""
        return bool(self.fields["store"])

    @property
    def last_result(self) -> int | None:
        """The number of the last ask that it answers: where it begins a run, that begins after this."""
        return max((item["output"] for item in self.items if isinstance(item.get("output"), int)), default=None)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is to be kept of a response; the same for a request that is sent again. Of one that is not stored: that."""

    draft: Draft

    def with_run(self, prompt: Prompt, results: Results = NO_RESULTS) -> dict[str, Any]:
        """With the run that this prompt begins after these results."""
        items = _without_texts(self._items(results), _said(prompt.history, prompt.text))
        return {OF_RESPONSE: {"fields": self._fields, "items": items}}

    def with_answer(self, run: Run, results: Results) -> dict[str, Any]:
        """With the last of these results for a run: what differs from what is kept with that."""
        known = _of_run(run) or Kept({}, ())
        missing = object()
        fields = {name: value for name, value in self._fields.items() if known.fields.get(name, missing) != value}
        items = self._items(results)
        num_same = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(items, known.items, strict=False)))
        return {OF_RESPONSE: {"fields": fields, "num_same": num_same, "items": items[num_same:]}}

    @property
    def _fields(self) -> dict[str, Any]:
        if not self.draft.is_stored:
            return {"store": False}
        return {name: value for name, value in self.draft.fields.items() if name != "created_at"}

    def _items(self, results: Results) -> list[Item]:
        return [_without_result(item, results) for item in self.draft.items] if self.draft.is_stored else []


def _without_result(item: Item, results: Results) -> Item:
    number = results.get((item.get("call_id", ""), item.get("output", "")))
    return item if number is None else {**item, "output": number}


def is_stored(run: Run) -> bool:
    """Whether the response that began it is to be found again."""
    kept = _of_run(run)
    return kept is not None and kept.is_stored


async def kept_of(thread: ThreadHandle, response: AgentResponse) -> Kept | None:
    """What is kept; None where the thread has no such response.

    Raises:
        RunNotFound, BlockNotFound
    """
    run = await thread.run(response.runs[-1])
    known = _of_run(run)
    if response.num_asked is None:
        return _at(known, run.created_at) if known and known.last_result is None else None
    ask = await thread.block(response.last_ask)
    if ask.answer is None or top_of(ask.run_id) != response.runs[0]:
        return None
    if not response.goes_on:
        return _at(known, run.created_at) if known and known.last_result == response.num_asked else None
    if OF_RESPONSE not in ask.answer.metadata:
        asks = calls_of_caller(await asks_of(thread, run.id))
        return _answered_elsewhere(known, ask.answer.at, asks) if known and ask in _told_again(asks) else None
    kept, known = ask.answer.metadata[OF_RESPONSE], known or Kept({}, ())
    items = (*known.items[: kept["num_same"]], *kept["items"])
    return _at(Kept({**known.fields, **kept["fields"]}, items), ask.answer.at)


async def names_of(thread: ThreadHandle, response: AgentResponse) -> list[str]:
    """The ids under which it is hidden: its own, and those of what goes on after answers with which nothing is kept,
    since that might tell the same again."""
    asks = [ask for run_id in response.runs for ask in calls_of_caller(await asks_of(thread, run_id))]
    again = (ask for ask in _told_again(asks) if number_of(ask.id) >= (response.num_asked or 0))
    others = (AgentResponse(thread.thread_id, (top_of(ask.run_id),), number_of(ask.id)) for ask in again)
    return [str(response), *map(str, others)]


def _told_again(asks: Sequence[Block]) -> list[Block]:
    """Of these, the last of those that were answered at one time, where nothing is kept with that."""
    last = {ask.answer.at: ask for ask in sorted(asks, key=lambda ask: number_of(ask.id)) if ask.answer}
    return [ask for ask in last.values() if ask.answer and OF_RESPONSE not in ask.answer.metadata]


async def items_of(thread: ThreadHandle, response: AgentResponse, kept: Kept) -> list[Item]:
    """The items of its input, with their ids.

    Raises:
        BlockNotFound
    """
    return with_ids([await _with_result(thread, item) for item in kept.items], str(response))


async def _with_result(thread: ThreadHandle, item: Item) -> Item:
    if not isinstance(item.get("output"), int):
        return item
    ask = await thread.block(f"{thread.thread_id}.b{item['output']}")
    if ask.answer is None:
        raise BlockNotFound(ask.id)
    return {**item, "output": str(ask.answer.value)}


def _of_run(run: Run) -> Kept | None:
    kept = run.metadata.get(OF_RESPONSE)
    return kept and Kept(kept["fields"], _with_texts(kept["items"], _said(run.history, run.prompt)))


def _said(history: Sequence[tuple[Role, str]], text: str) -> str:
    """What the model is told at the beginning; more might follow where a run is steered."""
    return "\n".join((*(said for _, said in history), text))


def _without_texts(items: Sequence[Item], said: str) -> list[Item]:
    """The items, with the places of texts that are said, as they come one after the other."""
    found, start = list[Item](), 0
    for item in items:
        parts = item["content"] if item["type"] == "message" else ()
        texts = [part[_text_name(part)] for part in parts]
        length = len("\n".join(texts))
        if not length or not said.startswith("\n".join(texts), start):
            found.append(item)
            continue
        places = accumulate((len(text) + 1 for text in texts), initial=start)
        content = [
            {**part, _text_name(part): [place, place + len(text)]}
            for part, place, text in zip(parts, places, texts, strict=False)
        ]
        found.append({**item, "content": content})
        start += length + 1
    return found


def _with_texts(items: Sequence[Item], said: str) -> list[Item]:
    return [
        {**item, "content": [_with_text(part, said) for part in item["content"]]} if "content" in item else item
        for item in items
    ]


def _with_text(part: Item, said: str) -> Item:
    text = part[_text_name(part)]
    return part if isinstance(text, str) else {**part, _text_name(part): said[slice(*text)]}


def _text_name(part: Item) -> str:
    return "refusal" if part["type"] == "refusal" else "text"


def _at(kept: Kept, at: float) -> Kept:
    return replace(kept, fields={**kept.fields, "created_at": int(at)})


def _answered_elsewhere(known: Kept, at: float, asks: Sequence[Block]) -> Kept:
    """Of one whose results were given before, over another way or with a message."""
    items = [
        {"type": "function_call_output", "call_id": call_id(ask), "output": number_of(ask.id), "status": "completed"}
        for ask in sorted(asks, key=lambda ask: ask.seq)
        if ask.answer and ask.answer.at == at
    ]
    return _at(Kept({**known.fields, "previous_response_id": None}, items), at)
