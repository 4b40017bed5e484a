"""Answering the long poll of a reader."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping

from actors.topics.messages import Batch
from actors.topics.topic import Reader

MAX_REPLY_MESSAGES = 20_000
MAX_REPLY_BYTES = 8 << 20


async def wait_for_batches(
    reader: Reader, wanted: Mapping[str, int], wait_s: float, interval_s: float
) -> Mapping[str, Batch]:
    """What is new from these positions on: at once where the last reply is ``interval_s`` ago, and else then.

    A reader has one poll at a time: the next one ends the one that waits, which then answers that nothing is new. So
    sparse messages are read at once, and many come in batches.
    """
    reader.wake()
    event = reader.waiting = asyncio.Event()
    reader.num_polls += 1
    deadline = time.monotonic() + wait_s
    try:
        while True:
            event.clear()
            batches = _batches(reader, wanted)
            now = time.monotonic()
            due = min(deadline, reader.replied_at + interval_s) if batches else deadline
            if now >= due:
                return batches
            if batches:
                await asyncio.sleep(due - now)
            else:
                await _wait(event, due - now)
            if reader.waiting is not event:
                return {}
    finally:
        if reader.waiting is event:
            reader.waiting = None
            reader.replied_at = time.monotonic()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return


def _batches(reader: Reader, wanted: Mapping[str, int]) -> dict[str, Batch]:
    """Batches up to the size of a reply, beginning with another subscription each time.

    Subscriptions at the same place of a topic share one batch, which then travels once.
    """
    batches: dict[str, Batch] = {}
    shared: dict[tuple[int, int], Batch | None] = {}
    num_messages = num_bytes = 0
    for subscription_id, position in _rotated(wanted, reader.num_polls):
        subscription = reader.subscriptions.get(subscription_id)
        if subscription is None:
            continue
        topic = subscription.topic
        if topic.retained.end <= position and topic.retained.first <= position:
            continue
        place = (id(topic), position)
        if place not in shared:
            batch = shared[place] = topic.batch(position)
            num_bytes += sum(len(entry[2]) for entry in batch.entries) if batch else 0
        batch = shared[place]
        if batch:
            batches[subscription_id] = batch
            num_messages += len(batch.entries)
        if num_messages >= MAX_REPLY_MESSAGES or num_bytes >= MAX_REPLY_BYTES:
            break
    return batches


def _rotated(wanted: Mapping[str, int], start: int) -> Iterator[tuple[str, int]]:
    items = list(wanted.items())
    start = start % len(items) if items else 0
    yield from items[start:]
    yield from items[:start]
