"""A command's connection to a Greenroom that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from deployments.failures import CommandFailed
from deployments.home import Home, Record
from deployments.ray_connection import connect, find_cluster

if TYPE_CHECKING:
    from actors.cluster.greenroom import Greenroom
    from actors.settings import ClusterSettings

ANSWER_S = 15.0
NO_CLUSTER = "no Ray cluster runs here: `greenroom up` starts one, RAY_ADDRESS names another"

Answer = TypeVar("Answer")


def with_greenroom(scenario: Callable[[Greenroom, Record], Coroutine[Any, Any, Answer]]) -> Answer:
    """Connect, run a coroutine function with the Greenroom and where it is, and disconnect.

    Raises:
        CommandFailed: there is no Ray cluster, or it cannot be used.
        Unavailable: it runs no Greenroom, or that does not answer.
    """

    async def run(record: Record) -> Answer:
        from actors.cluster.greenroom import Greenroom  # imports Ray, which takes seconds

        return await scenario(await Greenroom.connect(ANSWER_S), record)

    return with_cluster(run)


def with_cluster(scenario: Callable[[Record], Coroutine[Any, Any, Answer]]) -> Answer:
    """Connect to the Ray cluster, run a coroutine function with where it is, and disconnect.

    Raises:
        CommandFailed: there is no Ray cluster, or it cannot be used.
    """
    record = find_cluster(Home.of_environment())
    if record is None:
        raise CommandFailed(NO_CLUSTER)
    ray = connect(record)
    try:
        return asyncio.run(scenario(record))
    finally:
        ray.shutdown()


async def running_settings() -> ClusterSettings:
    """Those of the connected Greenroom.

    Raises:
        Unavailable: there is none, or it does not answer.
    """
    from actors.cluster.greenroom import Greenroom

    greenroom = await Greenroom.connect(ANSWER_S)
    return await greenroom.directory.settings()
