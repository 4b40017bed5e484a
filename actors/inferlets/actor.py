"""The actor that hosts an inferlet: one program in a process."""

from __future__ import annotations

import gc
import os
from dataclasses import replace

import ray
from typing_extensions import override

import actors.models.actor  # noqa: F401  Ray does when the first handle to one comes: not in a turn
from actors.calls.priority import lower_priority
from actors.calls.socket_server import listen
from actors.inferlets.event_loop import pass_over_sleeps
from actors.inferlets.instance import Instance
from actors.inferlets.leftovers import ProcessState
from actors.inferlets.messages import INFERLET_CALLS
from actors.inferlets.output import route_streams
from actors.inferlets.ports import InferletParts
from actors.inferlets.task_order import order_sets
from actors.journal.keys import INFERLET
from actors.pool.actor import Slot, SlotDirectory


class InferletSlot(Slot):
    """Holds no inferlet or one; see ``Slot``."""

    def __init__(self, name: str, parts: InferletParts, directory: SlotDirectory) -> None:
        super().__init__(INFERLET, name, parts, Instance.open, INFERLET_CALLS, directory, parts.die)


class HostedInferlet(InferletSlot):
    """The same in a Ray actor of its own, which ends with the programs that spoil it."""

    def __init__(self, name: str, parts: InferletParts, directory: SlotDirectory) -> None:
        lower_priority()
        super().__init__(name, replace(parts, clean_up=self.clean_up), directory)
        route_streams()
        order_sets()
        pass_over_sleeps()
        self._before = ProcessState()
        gc.freeze()  # what is imported stays: a program's own objects are collected without a look at it

    @override
    def clean_up(self) -> tuple[str, ...]:
        return self._before.restore()

    @override
    async def ready(self) -> str | None:
        await listen(self.call)
        return await super().ready()


def end_process() -> None:
    """At once."""
    os._exit(1)


InferletActor = ray.remote(HostedInferlet)
