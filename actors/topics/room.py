"""Waiting for room in something that is full."""

from __future__ import annotations

import asyncio


class Room:
    """Tells those who wait that there may be room now. Ask for ``next_change`` before looking whether there is."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def next_change(self) -> asyncio.Event:
        """Set once there may be more room than now."""
        return self._event

    def announce(self) -> None:
        """There may be."""
        self._event.set()
        self._event = asyncio.Event()
