"""What a thread takes of a transcript that its client sends whole, each time: what is new in it, once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from api.errors import AlreadyAnswered, IdempotencyConflict, InvalidRequest, RunNotFound
from api.threads.blocks import Block
from api.threads.commands import GivenAnswer, Prompt
from api.threads.contract import BlockQuery, ThreadHandle
from api.threads.runs import Label

Id = Annotated[str, Field(min_length=1, max_length=256)]
"""Of what the client has named."""

MAX_NEW = 32
"""Messages that begin one run: their ids are in all that is told of it."""

MAX_ASKS = 1000
"""Of one run, that can be answered in another protocol."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the transcript. ``text`` is None for those that are not the user's."""

    id: str
    text: str | None


class Taker:
    """For one protocol: runs have labels with the ids of the messages that began them.

    Args:
        protocol: its name, with which the labels begin.
    """

    def __init__(self, thread: ThreadHandle, protocol: str) -> None:
        self._thread = thread
        self._protocol = protocol

    def label(self, message_id: str) -> Label:
        """The label of a run that a message began."""
        return f"{self._protocol}.message.{message_id}", ""

    async def begun_by(self, messages: Iterable[Said]) -> dict[str, str]:
        """The runs that messages of the user have begun, by the messages' ids."""
        labels = {self.label(message.id): message.id for message in messages if message.text is not None}
        found = await self._thread.labelled(frozenset(labels))
        return {labels[label]: run_id for label, run_id in found.items()}

    async def prompt(self, new: Sequence[Said], prompt: Prompt) -> str:
        """The run of new messages, which is begun where another request has not done so meanwhile; its id.

        Raises:
            InvalidRequest: they are more than one run is begun by.
        """
        if len(new) > MAX_NEW:
            raise InvalidRequest(f"messages: {len(new)} are new, and a run is begun by {MAX_NEW} at most")
        labels = {**prompt.labels, **dict(self.label(message.id) for message in new)}
        text = "\n\n".join(message.text or "" for message in new)
        key = f"{self._protocol}/{new[-1].id}"
        try:
            return (await self._thread.prompt(replace(prompt, text=text, labels=labels), key)).run.id
        except IdempotencyConflict:
            begun = await self.begun_by(new[-1:])
            if not begun:
                raise
            return begun[new[-1].id]


def new_messages(messages: Sequence[Said], known: Iterable[str]) -> tuple[Said, ...]:
    """Those of the user after the last one that is known; where none is, after the last that is not the user's."""
    ids = frozenset(known)
    begin = max((index + 1 for index, one in enumerate(messages) if one.id in ids), default=0)
    if not begin:
        begin = max((index + 1 for index, one in enumerate(messages) if one.text is None), default=0)
    return tuple(one for one in messages[begin:] if one.text is not None)


async def asks_of(thread: ThreadHandle, run_id: str) -> tuple[Block, ...]:
    """The asks of a run and of those below it; none where there is no such run."""
    query = BlockQuery(run_id, frozenset(("ask",)), limit=MAX_ASKS, is_descending=True, has_children=True)
    try:
        blocks, _ = await thread.blocks(query)
    except RunNotFound:
        return ()
    return blocks


async def give(thread: ThreadHandle, run_id: str, asks: Iterable[Block], answers: Sequence[GivenAnswer]) -> None:
    """Answer asks of a run. Those that have this same answer already are left as they are.

    Raises:
        AlreadyAnswered: one has another answer, or has expired.
    """
    by_id = {ask.id: ask for ask in asks}
    new = tuple(one for one in answers if not (one.ask_id in by_id and has_answer(by_id[one.ask_id], one)))
    if new:
        await thread.answer(run_id, new)


def has_answer(ask: Block, given: GivenAnswer) -> bool:
    """Whether the ask has this answer.

    Raises:
        AlreadyAnswered: it has another one, or has expired.
    """
    if ask.state == "open":
        return False
    known = ask.answer
    if known is None or (known.approve, known.value, known.reason) != (given.approve, given.value, given.reason):
        raise AlreadyAnswered(f"ask {ask.id!r} is answered, or has expired")
    return True
