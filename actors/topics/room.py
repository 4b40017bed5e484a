"""Waiting for capacity in something that is full."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


class Room:
    """Wakes calls that wait when there might be room. Ask for ``next_change`` before looking whether there is."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def next_change(self) -> asyncio.Event:
        """Set once there may be more room than now."""
        return self._event

    def announce(self) -> None:
        """There might be room now."""
        self._event.set()
        self._event = asyncio.Event()


def num_that_fit(messages: Sequence[tuple[int, bytes]], num_left: int, num_bytes_left: int) -> int:
    """How many of the first of these messages there is room for."""
    for index, (_, data) in enumerate(messages[: max(0, num_left)]):
        num_bytes_left -= len(data)
        if num_bytes_left < 0:
            return index
    return max(0, min(num_left, len(messages)))
