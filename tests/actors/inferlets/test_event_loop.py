"""The selector of a program's event loop, with real pipes."""

from __future__ import annotations

import os
import selectors

import pytest

from actors.inferlets.event_loop import IdleSelector


@pytest.mark.parametrize("idle_s", [None, 30 * 86_400.0, 1e300, float("inf")])
def test_a_program_that_waits_for_ever_or_for_a_month_is_woken_by_what_comes(idle_s: float | None) -> None:
    reader, writer = os.pipe()
    selector = IdleSelector(lambda: idle_s)
    try:
        selector.register(reader, selectors.EVENT_READ)
        os.write(writer, b"x")
        [(key, _)] = selector.select(None)
        assert key.fd == reader
    finally:
        selector.close()
        os.close(reader)
        os.close(writer)
