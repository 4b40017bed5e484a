"""The host of a function that is an agent: its thread's, but that what models say counts in the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, NoReturn, Protocol, TypeVar

from typing_extensions import override

from api.agents.activity import Activity
from api.agents.budget import Budget, too_long
from api.agents.failures import Failed
from api.errors import InvalidRequest
from api.inferlet.context_effects import Generate, Generated, NextDistribution, NextPiece, Notice
from api.inferlet.effects import Effect, Receive
from api.inferlet.host import Beginning, Host, Place
from api.values import Value

Result = TypeVar("Result")


class Charged(Protocol):
    """The run that pays."""

    budget: Budget

    def count(self, **more: int) -> None:
        """So much more has been used."""
        ...

    def fail(self, error: Failed) -> None:
        """End the run so."""
        ...


class FunctionHost(Host):
    """See the module. A thread's messages are its commands, so the function receives none."""

    def __init__(self, host: Host, task: Charged, activity: Activity) -> None:
        self.instance_id = host.instance_id
        self.places: dict[str, Place] = {}
        self._host, self._task, self._activity = host, task, activity

    @override
    def perform(self, effect: Effect[Result]) -> Result:
        return self._host.perform(effect)

    @override
    def begin(self, effect: Effect[Result]) -> Awaitable[Result]:
        if isinstance(effect, Receive):
            raise InvalidRequest("an agent receives no messages: it is given prompts, and can ask()")
        try:
            limited = self._limited(effect)
        except Failed as error:
            self._task.fail(error)
            return asyncio.get_running_loop().create_future()  # the function is cancelled meanwhile
        result = asyncio.ensure_future(self._host.begin(limited))
        if not result.done():
            self._activity.working(1)
            result.add_done_callback(lambda done: self._ended(effect, done))
        return result

    @override
    def tell(self, notice: Notice) -> None:
        self._host.tell(notice)

    @override
    def checkpoint(self, note: Any) -> bool:
        raise InvalidRequest("an agent has no checkpoints of its own")

    @override
    def begin_from_checkpoint(self) -> Beginning:
        raise InvalidRequest("an agent has no checkpoints of its own")

    @override
    def continue_as_new(self, state: Value) -> Awaitable[NoReturn]:
        raise InvalidRequest("an agent does not continue as new: its thread goes on from where its last run ended")

    @override
    def unique_id(self) -> str:
        return self._host.unique_id()

    def _limited(self, effect: Effect[Any]) -> Effect[Any]:
        """With no more tokens than the run has left.

        Raises:
            Failed: it has none.
        """
        if not isinstance(effect, Generate | NextPiece | NextDistribution):
            return effect
        left = self._task.budget.left()
        if isinstance(effect, NextDistribution):
            return effect
        request = effect.turn.request
        said = len(effect.delivered.ids) if isinstance(effect, NextPiece) else 0
        if left is None or request.stop.max_tokens <= left + said:
            return effect
        stop = replace(request.stop, max_tokens=left + said)
        return replace(effect, turn=replace(effect.turn, request=replace(request, stop=stop)))

    def _ended(self, effect: Effect[Any], done: asyncio.Future[Any]) -> None:
        self._activity.working(-1)
        if done.cancelled() or done.exception():
            return
        match effect, done.result():
            case (Generate(turn), Generated() as output):
                self._count(len(turn.tokens), output, turn.request.stop.max_tokens, len(output.ids))
            case (NextPiece(turn, delivered), Generated() as piece):
                num_said = len(delivered.ids) + len(piece.ids)
                num_read = None if delivered.ids else len(turn.tokens)
                self._count(num_read, piece, turn.request.stop.max_tokens, num_said)
            case (NextDistribution(turn), (prompt_ids, _)):
                self._count(len(turn.tokens), Generated(prompt_ids, (0,), ("",)), 1, 1)

    def _count(self, num_read: int | None, output: Generated, max_tokens: int, num_said: int) -> None:
        """``num_read`` tokens, besides the prompt, were read for it, if it is the first of its turn."""
        if num_read is not None:
            num_prompt = num_read + len(output.prompt_ids)
            self._task.count(model_calls=1, prompt_tokens=num_prompt, cached_tokens=output.num_resident)
        is_within = self._task.budget.say(len(output.ids))
        self._task.count(completion_tokens=len(output.ids))
        is_cut = output.finish is not None and output.finish.reason == "length" and num_said < max_tokens
        if is_cut or not is_within:
            self._task.fail(too_long())
