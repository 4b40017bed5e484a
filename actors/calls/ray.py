"""Calls to actors: where Ray's types end and our errors begin."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from actors.calls.socket_client import connection_to
from actors.settings import NAMESPACE
from api.errors import GreenroomError, Unavailable

ActorGone = RayActorError
"""The actor died, or cannot be reached: the call may or may not have run."""


async def call(actor: Any, method: str, *arguments: Any) -> Any:
    """The answer of an actor's method, by the shortest way to its process.

    Raises:
        GreenroomError: as the actor raised it.
        ActorGone: the actor died or cannot be reached.
        RayTaskError, ActorFailed: a bug in the actor.
    """
    if connection := await connection_to(actor):
        return await connection.call(method, arguments)
    return await ask(getattr(actor, method).remote(*arguments))


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
