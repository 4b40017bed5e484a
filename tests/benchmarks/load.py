"""Many streams at once against one way of reaching a model, and what they measured."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

Stream = Callable[[int], AsyncIterator[int]]
"""Runs the next turn of stream i and yields how many tokens came, each time some came."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; times in milliseconds, medians over turns."""

    tokens_per_s: float
    first_token_ms: float
    per_token_ms: float
    num_tokens: int


async def measure(stream: Stream, num_streams: int, num_turns: int) -> Row:
    """Run so many streams at once, each so many turns one behind another."""
    began = time.perf_counter()
    streams = await asyncio.gather(*(_run(stream, index, num_turns) for index in range(num_streams)))
    seconds = time.perf_counter() - began
    turns = [turn for turns in streams for turn in turns]
    total = sum(count for _, _, count in turns)
    return Row(
        tokens_per_s=total / seconds,
        first_token_ms=statistics.median(first for first, _, _ in turns) * 1e3,
        per_token_ms=statistics.median(per_token for _, per_token, _ in turns) * 1e3,
        num_tokens=total,
    )


async def _run(stream: Stream, index: int, num_turns: int) -> list[tuple[float, float, int]]:
    return [await _one(stream, index) for _ in range(num_turns)]


async def _one(stream: Stream, index: int) -> tuple[float, float, int]:
    began = time.perf_counter()
    first, last, total = 0.0, began, 0
    async for count in stream(index):
        last = time.perf_counter()
        first = first or last
        total += count
    return first - began, (last - first) / max(1, total - 1), total
