"""The asks of one run, and whether it waits for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from api.agents.tools import IfExpired
from api.agents.writer import OpenBlock
from api.errors import AlreadyAnswered, AskNotFound, InvalidRequest
from api.inferlet import now
from api.inferlet.effects import Until
from api.inferlet.host import host
from api.threads.blocks import Answer
from api.threads.commands import GivenAnswer

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


class Expired(Exception):
    """Nobody answered in time."""


@dataclass(slots=True)
class _Waiting:
    block: OpenBlock
    answer: asyncio.Future[Answer]
    if_expired: IfExpired
    is_taken: bool = False


class Asks:
    """Counts what goes on in a run: ``on_change`` is called with whether it can only wait for answers."""

    def __init__(self, on_change: Callable[[bool], object]) -> None:
        self._waiting: dict[str, _Waiting] = {}
        self._closed: set[str] = set()
        self._on_change = on_change
        self._num_active = 1
        self._below: list[Asks] = []
        self._num_waiting_below = 0
        self._is_idle = False

    def active(self, change: int) -> None:
        """Change the number of things that the run works on by this."""
        self._num_active += change
        is_idle = self._num_active == 0 and (bool(self._waiting) or self._num_waiting_below > 0)
        if is_idle != self._is_idle:
            self._is_idle = is_idle
            self._on_change(is_idle)

    def end(self, has_failed: bool) -> None:
        """A call has ended. One that fails its run stays active, since the run works on its own end then."""
        if not has_failed:
            self.active(-1)

    def add(self, asks: Asks) -> None:
        """Those of a run below this one, which are answered at this one too."""
        self._below.append(asks)

    def waits_below(self, is_waiting: bool) -> None:
        """A run below this one can only wait for answers, or goes on."""
        self._num_waiting_below += 1 if is_waiting else -1
        self.active(-1 if is_waiting else 1)

    async def answer_to(self, block: OpenBlock, if_expired: IfExpired) -> Answer:
        """The answer to an ask; what asked goes on after it.

        Raises:
            Expired: there is none, and the run is to fail of that.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[block.block.id] = _Waiting(block, answer, if_expired)
        expiry = self._expiry(waiting)
        self.active(-1)
        try:
            return await answer
        finally:
            if expiry:
                expiry.cancel()
            self._close(waiting)
            if not waiting.is_taken:
                self.active(1)

    def take(self, answers: tuple[GivenAnswer, ...]) -> None:
        """Answers from outside: all of them, or none. What asked counts as active at once.

        Raises:
            AskNotFound, AlreadyAnswered
            InvalidRequest: one is not what was asked for.
        """
        if len({given.ask_id for given in answers}) < len(answers):
            raise InvalidRequest("answers: an ask is answered once")
        asked = [self._that_has(given.ask_id) for given in answers]
        for asks, given in zip(asked, answers, strict=True):
            asks._check(given)
        at = now()
        for asks, given in zip(asked, answers, strict=True):
            asks._take(given, at)

    def _that_has(self, ask_id: str) -> Asks:
        """These, or those of a run below that has asked this."""
        below = (asks for one in self._below if ask_id in (asks := one._that_has(ask_id)))
        return self if ask_id in self else next(below, self)

    def __contains__(self, ask_id: str) -> bool:
        return ask_id in self._waiting or ask_id in self._closed

    def _take(self, given: GivenAnswer, at: float) -> None:
        waiting = self._waiting[given.ask_id]
        answer = Answer(at, given.approve, given.value, given.reason, given.metadata)
        waiting.block.close(answer=answer)
        self._closed.add(given.ask_id)
        waiting.answer.set_result(answer)
        waiting.is_taken = True
        self.active(1)

    def _check(self, given: GivenAnswer) -> None:
        if given.ask_id in self._closed:
            raise AlreadyAnswered(f"ask {given.ask_id!r} is answered, or has expired")
        waiting = self._waiting.get(given.ask_id)
        ask = waiting.block.block.ask if waiting else None
        if ask is None:
            raise AskNotFound(given.ask_id)
        if ask.type == "approval":
            if given.approve is None:
                raise InvalidRequest(f"ask {given.ask_id!r} is an approval: approve is true or false")
        elif given.approve is not False and not _fits(given.value, ask.schema):
            raise InvalidRequest(f"ask {given.ask_id!r}: the value is not of its schema")

    def _expiry(self, waiting: _Waiting) -> asyncio.Future[None] | None:
        """What has the ask expire in time, if it is to, until it is cancelled."""
        ask = waiting.block.block.ask
        if ask is None or ask.expires_at is None:
            return None
        expiry = asyncio.ensure_future(host().begin(Until(ask.expires_at)))
        expiry.add_done_callback(lambda _: None if expiry.cancelled() else self._expire(waiting))
        return expiry

    def _expire(self, waiting: _Waiting) -> None:
        if waiting.answer.done():
            return
        if waiting.if_expired == "fail":
            waiting.answer.set_exception(Expired(waiting.block.text))
        else:
            waiting.answer.set_result(Answer(now(), approve=False, reason="expired"))

    def _close(self, waiting: _Waiting) -> None:
        block_id = waiting.block.block.id
        self._waiting.pop(block_id, None)
        self._closed.add(block_id)
        future = waiting.answer
        is_answered = future.done() and not future.cancelled() and future.exception() is None
        waiting.block.close("complete" if is_answered else "cancelled", answer=future.result() if is_answered else None)


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    """As far as the schema's own type and its list of values say."""
    choices, types = schema.get("enum"), schema.get("type")
    if isinstance(choices, list) and value not in choices:
        return False
    names = types if isinstance(types, list) else [types]
    known = [_JSON_TYPES[name] for name in names if isinstance(name, str) and name in _JSON_TYPES]
    return len(known) < len(names) or any(_is_of(value, kinds) for kinds in known)


def _is_of(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
