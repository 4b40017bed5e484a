"""The turns of one request: one for each choice, begun together and read together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress

from api.cluster import TurnStream
from api.errors import GreenroomError
from api.turns import Frame, TurnRequest

_MAX_UNREAD = 64
"""Frames of several turns that wait for a slow client; each turn's own log keeps what comes after."""

Generate = Callable[[TurnRequest], Awaitable[TurnStream]]


class Turns:
    """Turns that have begun. To be cancelled in the end, which costs nothing where they have been read to theirs."""

    def __init__(self, streams: Sequence[TurnStream]) -> None:
        self.starts = tuple(stream.start for stream in streams)
        self._streams = streams
        self._running = set(range(len(streams)))

    @classmethod
    async def begin(cls, generate: Generate, requests: Sequence[TurnRequest]) -> Turns:
        """Begin all of them, or none.

        Raises:
            GreenroomError: one of them cannot be.
        """
        streams: list[TurnStream] = []
        try:
            for request in requests:
                await _begin(generate(request), streams)
        except BaseException:
            await _cancel(streams)
            raise
        return cls(streams)

    async def frames(self) -> AsyncGenerator[tuple[int, Frame]]:
        """All frames with the numbers of their turns, as they come.

        Raises:
            GreenroomError: a turn failed.
        """
        merged = _single(self._streams[0]) if len(self._streams) == 1 else _merged(self._streams)
        async with aclosing(merged):
            async for number, frame in merged:
                if frame.finish is not None:
                    self._running.discard(number)
                yield number, frame

    async def cancel(self) -> None:
        """End those that run, within a step."""
        await _cancel([self._streams[number] for number in self._running])


async def _begin(starting: Awaitable[TurnStream], streams: list[TurnStream]) -> None:
    """Begin one more; also where the caller is cancelled meanwhile, so that nothing runs that nobody knows of."""
    task = asyncio.ensure_future(starting)
    try:
        streams.append(await asyncio.shield(task))
    except asyncio.CancelledError:
        with suppress(GreenroomError):
            streams.append(await task)
        raise


async def _cancel(streams: Sequence[TurnStream]) -> None:
    await asyncio.gather(*(stream.cancel() for stream in streams), return_exceptions=True)


async def _single(stream: TurnStream) -> AsyncGenerator[tuple[int, Frame]]:
    frames = aiter(stream)
    try:
        async for frame in frames:
            yield 0, frame
    finally:
        if isinstance(frames, AsyncGenerator):
            await frames.aclose()


async def _merged(streams: Sequence[TurnStream]) -> AsyncGenerator[tuple[int, Frame]]:
    items: asyncio.Queue[tuple[int, Frame] | Exception] = asyncio.Queue(_MAX_UNREAD)

    async def read(number: int, stream: TurnStream) -> None:
        try:
            async with aclosing(_single(stream)) as frames:
                async for _, frame in frames:
                    await items.put((number, frame))
        except Exception as error:
            await items.put(error)

    tasks = [asyncio.create_task(read(number, stream)) for number, stream in enumerate(streams)]
    try:
        num_left = len(streams)
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
