"""Calls to actors: where Ray's types end and our errors begin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayTaskError

from actors.calls.socket_client import connection_to
from actors.settings import NAMESPACE
from api.errors import GreenroomError, Unavailable

ActorGone = RayActorError
"""The actor died, or cannot be reached: the call has run, or has not."""


RETRY_S = 0.05

Answer = TypeVar("Answer")


async def patiently(
    attempt: Callable[[], Awaitable[Answer]],
    errors: type[Exception] | tuple[type[Exception], ...],
    timeout_s: float,
    retry_s: float | None = None,
) -> Answer:
    """The answer of the first attempt that fails with none of these errors: the second is made at once.

    Raises:
        Exception: one of ``errors``, of an attempt that ended after ``timeout_s``.
    """
    deadline, wait_s = time.monotonic() + timeout_s, 0.0
    while True:
        try:
            return await attempt()
        except errors:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(wait_s)
        wait_s = RETRY_S if retry_s is None else retry_s


@dataclass(frozen=True, slots=True)
class RestartedActor:
    """The transport to an actor that Ray restarts when it dies. Calls wait for that, so that each might run twice.

    ``name`` is for people.
    """

    name: str
    actor: Any
    timeout_s: float

    async def __call__(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """The answer.

        Raises:
            Unavailable: the actor is not back within ``timeout_s``.
        """
        try:
            return await patiently(partial(call, self.actor, method, arguments), ActorGone, self.timeout_s)
        except ActorGone as error:
            raise Unavailable(f"the {self.name} cannot be reached: {type(error).__name__}") from None


async def call(actor: Any, *arguments: Any) -> Any:
    """The answer of an actor's ``call``, by the shortest way to its process.

    Raises:
        GreenroomError: as the actor raised it.
        ActorGone: the actor died or cannot be reached.
        RayTaskError, ActorFailed: a bug in the actor.
    """
    if connection := await connection_to(actor):
        return await connection.call(arguments)
    return await ask(actor.call.remote(*arguments))


async def ask(answer: Any) -> Any:
    """The answer to an actor call that Ray makes.

    Raises:
        GreenroomError: as the actor raised it.
        ActorGone: the actor died or cannot be reached.
        RayTaskError: a bug in the actor.
    """
    try:
        return await answer
    except RayTaskError as error:
        if isinstance(error.cause, GreenroomError):
            raise error.cause from None
        raise


def named(name: str) -> Any:
    """The handle of a named actor of ours. Blocks: not for an event loop.

    Raises:
        Unavailable: there is none of this name.
    """
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        raise Unavailable(f"this Ray cluster runs no Greenroom (no actor {NAMESPACE}/{name})") from None
