"""The turns of one request: one for each choice, read together; the choices of one prompt share its computation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Protocol

from api.cluster import TurnStream, Warmth
from api.errors import GreenroomError
from api.turns import Frame, TurnRequest, TurnStart

_MAX_UNREAD = 64
"""Frames of several turns that wait for a slow client; each turn's own log keeps what comes after."""


class Generate(Protocol):
    """Begins a turn, of one model and one owner."""

    async def __call__(self, request: TurnRequest, *, warmth: Warmth) -> TurnStream:
        """See ``Cluster.generate``."""
        ...


class Turns:
    """Turns of which the first of each prompt have begun, and keep their contexts; to be cancelled in the end.

    The others begin once the first one of their prompt has a token, and with it the whole prompt computed.
    """

    def __init__(self, generate: Generate, requests: Sequence[TurnRequest], num_choices: int) -> None:
        self._generate = generate
        self._requests = requests
        self._num_choices = num_choices
        self._streams: dict[int, TurnStream] = {}
        self._computed = [asyncio.Event() for _ in requests]

    @classmethod
    async def begin(cls, generate: Generate, requests: Sequence[TurnRequest], num_choices: int = 1) -> Turns:
        """Begin the first one of each prompt, or none.

        Raises:
            GreenroomError: one of them cannot be.
        """
        turns = cls(generate, requests, num_choices)
        try:
            for number in turns._firsts:
                await turns._begin(number, "kept")
        except BaseException:
            await turns.cancel()
            raise
        return turns

    @property
    def starts(self) -> tuple[TurnStart, ...]:
        """Of the first one of each prompt."""
        return tuple(self._streams[number].start for number in self._firsts)

    async def frames(self) -> AsyncGenerator[tuple[int, Frame]]:
        """All frames with the numbers of their turns, as they come.

        Raises:
            GreenroomError: a turn failed.
        """
        merged = self._read(0) if len(self._requests) == 1 else self._merged()
        async with aclosing(merged):
            async for item in merged:
                yield item

    async def cancel(self) -> None:
        """End those that run, within a step."""
        await asyncio.gather(*(stream.cancel() for stream in self._streams.values()), return_exceptions=True)

    @property
    def _firsts(self) -> range:
        return range(0, len(self._requests), self._num_choices)

    async def _begin(self, number: int, warmth: Warmth) -> None:
        """Begin one; also where the caller is cancelled meanwhile, so that nothing runs that nobody knows of."""
        task = asyncio.ensure_future(self._generate(self._requests[number], warmth=warmth))
        try:
            self._streams[number] = await asyncio.shield(task)
        except asyncio.CancelledError:
            with suppress(GreenroomError):
                self._streams[number] = await task
            raise

    async def _read(self, number: int) -> AsyncGenerator[tuple[int, Frame]]:
        first = number - number % self._num_choices
        if number != first:
            await self._computed[first].wait()
            await self._begin(number, "shared")
        frames = aiter(self._streams[number])
        try:
            async for frame in frames:
                self._computed[number].set()
                if frame.finish is not None:
                    del self._streams[number]
                yield number, frame
        finally:
            if isinstance(frames, AsyncGenerator):
                await frames.aclose()

    async def _merged(self) -> AsyncGenerator[tuple[int, Frame]]:
        items: asyncio.Queue[tuple[int, Frame] | Exception] = asyncio.Queue(_MAX_UNREAD)

        async def read(number: int) -> None:
            try:
                async with aclosing(self._read(number)) as frames:
                    async for item in frames:
                        await items.put(item)
            except Exception as error:
                await items.put(error)

        tasks = [asyncio.create_task(read(number)) for number in range(len(self._requests))]
        try:
            num_left = len(tasks)
            while num_left:
                item = await items.get()
                if isinstance(item, Exception):
                    raise item
                num_left -= item[1].finish is not None
                yield item
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
