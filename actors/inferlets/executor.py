"""Performs the effects of a program."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from typing_extensions import override

from actors.calls.scope import Scope
from actors.inferlets import records
from actors.inferlets.bridge import Crossing
from actors.inferlets.contexts import Contexts
from actors.inferlets.mailbox import Inbox, Outbox
from actors.inferlets.ports import Surroundings
from actors.inferlets.records import Answer, Called, Continued, Record, Returned
from actors.inferlets.replayer import Desk
from actors.inferlets.topics import Exchange
from actors.inferlets.works import Works
from actors.journal.writer import Recorder
from api.errors import NotFound
from api.inferlet import context_effects, effects
from api.inferlet.context_effects import Notice
from api.inferlet.effects import Effect
from api.inferlet.work_effects import Abandoned, AnswerWork, NextOutput, Output, Shown
from api.inferlet_events import value_of
from api.values import decode, encode

_OUTWARD = (effects.Broadcast, effects.Push, effects.SendToChild)
"""What takes effect when called, whether the program waits for it or not."""


class EffectDesk(Desk):
    """See ``actors.inferlets.replayer.Desk``. What others see of an effect waits until all before it is recorded."""

    def __init__(
        self,
        instance_id: str,
        owner: str,
        surroundings: Surroundings,
        contexts: Contexts,
        inbox: Inbox,
        outbox: Outbox,
        recorder: Recorder[Record],
        is_again: bool,
        works: Works,
        scope: Scope,
    ) -> None:
        self.arrived: Callable[[Answer], object]
        self._id, self._owner = instance_id, owner
        self._around = surroundings
        self._contexts = contexts
        self._inbox, self._outbox = inbox, outbox
        self._recorder = recorder
        self._scope = scope
        self._crossing = Crossing(scope)
        self._exchange = Exchange(instance_id, owner, surroundings.topics, scope, is_again)
        self._works = works
        self._running: dict[int, tuple[Effect[Any], asyncio.Task[None]]] = {}
        self._outward = asyncio.Lock()
        self._receiving = asyncio.Lock()
        self._received: tuple[int, int] | None = None

    @property
    def is_blocking(self) -> bool:
        """The program's thread waits for an answer."""
        return self._crossing.is_blocking

    @property
    def waits_for_clients_only(self) -> bool:
        """The program has asked for nothing but the next message from a client, and none is there; and for times."""
        asked = [effect for effect, _ in self._running.values() if not isinstance(effect, effects.Until)]
        return bool(asked) and self._inbox.is_empty and all(effect == effects.Receive(None) for effect in asked)

    @property
    def wakes_at(self) -> float | None:
        """The first of the times that the program waits for, in seconds since the epoch."""
        asked = (effect for effect, _ in self._running.values())
        return min((effect.at for effect in asked if isinstance(effect, effects.Until)), default=None)

    @override
    def emit(self, record: Record) -> None:
        self._crossing.call(self._add, record)

    @override
    def hold(self, record: Record) -> None:
        self._crossing.call(self._hold, record)

    @override
    def start(self, call: int, digest: str, effect: Effect[Any]) -> None:
        self._crossing.call(self._start, call, digest, effect)

    @override
    def ask(self, call: int, digest: str, effect: Effect[Any]) -> Answer:
        answer: Answer = self._crossing.wait(self._answer(call, digest, effect))
        return answer

    @override
    def cancel(self, call: int) -> None:
        self._crossing.call(self._cancel, call)

    @override
    def undo(self, answer: Answer) -> None:
        self._crossing.call(self._undo, answer)

    @override
    def take_room(self, num_bytes: int) -> bool:
        if self._outbox.is_full(times=2):
            self._crossing.wait(self._outbox.wait_for_room(times=2))
        self._outbox.took(num_bytes)
        return not self._outbox.is_full()

    @override
    def tell(self, notice: Notice) -> None:
        self._crossing.call(self._tell, notice)

    @override
    def settle(self) -> None:
        self._crossing.wait(self._settled())

    def close(self) -> None:
        """Record nothing of the program any longer, and perform nothing."""
        self._crossing.close()

    async def stop(self, is_over: bool) -> None:
        """The same, and cancel the calls that wait; ``is_over`` where no later life follows."""
        self.close()
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._works.stop()
        if is_over:
            await self._exchange.leave()
        await self._exchange.close()

    def _add(self, record: Record) -> None:
        if not self._crossing.is_closed:
            if isinstance(record, Returned) and self._received and self._received[0] == record.call:
                self._next_may_receive()
            if isinstance(record, Continued):
                self._recorder.add(self._kept_after(record))
                self._crossing.close()
            else:
                self._recorder.add(record)

    def _kept_after(self, continued: Continued) -> Continued:
        """With what is kept of the messages and events before it."""
        inbox, outbox = self._inbox, self._outbox
        first_message = inbox.first_kept(continued.num_received)
        return replace(
            continued, first_event=outbox.first_kept(), first_message=first_message, num_read=outbox.read_position
        )

    def _hold(self, record: Record) -> None:
        if not self._crossing.is_closed:
            self._recorder.hold(record)

    def _tell(self, notice: Notice) -> None:
        if self._crossing.is_closed:
            return
        match notice:
            case Shown():
                self._recorder.add(notice)
            case Abandoned(work_id):
                self._works.abandon(work_id)
            case _:
                self._contexts.tell(notice)

    def _start(self, call: int, digest: str, effect: Effect[Any]) -> None:
        if not self._crossing.is_closed:
            self._running[call] = (effect, self._scope.start(self._run(call, digest, effect)))

    async def _settled(self) -> None:
        await asyncio.gather(
            *(task for effect, task in self._running.values() if isinstance(effect, _OUTWARD)), return_exceptions=True
        )

    async def _run(self, call: int, digest: str, effect: Effect[Any]) -> None:
        try:
            answer = await self._answer(call, digest, effect)
        finally:
            self._running.pop(call, None)
        self.arrived(answer)

    def _cancel(self, call: int) -> None:
        if call in self._running:
            self._running[call][1].cancel()
        elif self._received and self._received[0] == call:
            self._inbox.put_back(self._received[1])
            self._next_may_receive()

    def _undo(self, answer: Answer) -> None:
        if isinstance(answer, Returned) and isinstance(answer.result, effects.Pulled):
            self._exchange.release_soon(answer.result)

    def _next_may_receive(self) -> None:
        self._received = None
        self._receiving.release()

    async def _answer(self, call: int, digest: str, effect: Effect[Any]) -> Answer:
        name = type(effect).__name__
        try:
            return Returned(call, name, digest, await self._perform(call, digest, effect))
        except Exception as error:
            return records.raised(call, name, digest, error)

    async def _perform(self, call: int, digest: str, effect: Effect[Any]) -> Any:
        match effect:
            case effects.Send():
                return await self._outbox.wait_for_room()
            case effects.Receive(timeout_s):
                return await self._receive(call, timeout_s)
            case effects.Until(at):
                return await _until(at)
            case context_effects.Models():
                return await self._around.directory.models()
            case context_effects.Encode():
                return await self._contexts.encode(effect)
            case context_effects.Decode():
                return await self._contexts.decode(effect)
            case context_effects.Generate(turn):
                return await self._contexts.of(turn).generate(turn)
            case context_effects.NextPiece(turn, delivered):
                return await self._contexts.of(turn).next_piece(turn, delivered)
            case context_effects.NextDistribution(turn):
                return await self._contexts.of(turn).distribution(turn)
            case context_effects.ResidentTokens(context_id):
                return await self._contexts.resident(context_id)
            case context_effects.Mask():
                return await self._contexts.of(effect).mask(effect)
            case effects.BeginTopic(topic, replay):
                return await self._exchange.begin(topic, replay)
            case effects.NextTopicEvent():
                return await self._exchange.next_event(effect)
            case effects.Pull(queue, timeout_s):
                return await self._exchange.pull(queue, timeout_s, call)
            case NextOutput():
                return await self._next_output(call, digest, effect)
            case AnswerWork(work_id, value):
                return self._works.answer(work_id, value)
            case effects.NextChildEvent(child_id, after, timeout_s):
                return await self._next_child_event(child_id, after, timeout_s)
        return await self._perform_outward(call, digest, effect)

    async def _perform_outward(self, call: int, digest: str, effect: Effect[Any]) -> Any:
        """What others see: in the order of the calls, and never ahead of the journal."""
        async with self._outward:
            self._recorder.add(Called(call, type(effect).__name__, digest))
            await self._recorder.flushed()
            match effect:
                case effects.Broadcast(topic, value):
                    accepted = self._exchange.publish(topic, value, call)
                case effects.Push(queue, value):
                    accepted = self._exchange.push(queue, value, call)
                case _:
                    return await self._change(call, effect)
        return await accepted

    async def _change(self, call: int, effect: Effect[Any]) -> Any:
        family, journal = self._around.family, self._around.journal
        match effect:
            case effects.Launch(program, arguments, name):
                child_id = f"{self._id}-{call}"
                await family.launch_child(child_id, program, arguments, self._owner, name, self._id)
                return child_id
            case effects.SendToChild(child_id, value):
                return await family.deliver(child_id, self._owner, f"{self._id}/{call}", value)
            case effects.TerminateChild(child_id):
                return await family.terminate(child_id, self._owner)
            case effects.Acknowledge(item):
                return await self._exchange.acknowledge(item)
            case effects.Release(item):
                return await self._exchange.release(item)
            case effects.StoreGet(key):
                found = await journal.get_item(f"store/{self._owner}", key)
                return None if found is None else decode(found)
            case effects.StorePut(key, value):
                return await journal.put_item(f"store/{self._owner}", key, encode(value))
            case effects.StoreDelete(key):
                return await journal.delete_item(f"store/{self._owner}", key)
            case effects.StoreList(prefix):
                return await journal.list_items(f"store/{self._owner}", prefix)
            case context_effects.Export(name, prefix):
                return await self._export(name, prefix)
            case context_effects.Import(model, name):
                return await self._import(model, name)
        raise AssertionError(f"no such effect: {effect}")

    async def _next_output(self, call: int, digest: str, effect: NextOutput) -> Output:
        """A function begins once that is recorded, so that no later life begins it without knowing."""
        if self._works.begins(effect):
            self._recorder.add(Called(call, type(effect).__name__, digest))
            await self._recorder.flushed()
        return await self._works.next_output(call, effect)

    async def _receive(self, call: int, timeout_s: float | None) -> effects.Received | None:
        """The next takes none before the program has this message or has left the call: they come in their order."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._receiving.acquire()
                try:
                    position = await self._inbox.take()
                except BaseException:
                    self._receiving.release()
                    raise
        except TimeoutError:
            return None
        self._received = call, position
        return effects.Received(position, self._inbox.values[position])

    async def _next_child_event(self, child_id: str, after: int, timeout_s: float | None) -> effects.ChildEvent | None:
        event = await self._around.family.next_event(child_id, self._owner, after, timeout_s)
        return effects.ChildEvent(type(event).__name__, event.position, value_of(event)) if event else None

    async def _export(self, name: str, prefix: context_effects.Prefix) -> None:
        kept_id = f"prefix/{self._owner}/{prefix.model}/{name}/{len(prefix.tokens)}"
        await self._contexts.export(prefix, kept_id)
        kept = records.encode(replace(prefix, context_id=kept_id))
        await self._around.journal.put_item(f"prefix/{self._owner}", f"{prefix.model}/{name}", kept)

    async def _import(self, model: str, name: str) -> context_effects.Prefix:
        kept = await self._around.journal.get_item(f"prefix/{self._owner}", f"{model}/{name}")
        if kept is None:
            raise NotFound(f"no context of model {model!r} was exported as {name!r}")
        prefix: context_effects.Prefix = records.decode(kept)
        return prefix


async def _until(at: float) -> None:
    while (left_s := at - time.time()) > 0:  # noqa: ASYNC110 - the clock might have been set meanwhile
        await asyncio.sleep(left_s)
