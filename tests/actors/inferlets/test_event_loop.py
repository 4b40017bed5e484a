"""The selector of a program's event loop, with real pipes."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys

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


SLOT = """
import asyncio
from types import SimpleNamespace
from typing import Any
from actors.inferlets.actor import HostedInferlet
from actors.inferlets.event_loop import ProgramLoop
from actors.inferlets.ports import InferletParts
from actors.inferlets.timers import Clock, Waits

async def main() -> None:
    nothing: Any = None
    slot = HostedInferlet("name", InferletParts(nothing, nothing, nothing, 1.0, nothing), nothing)
    clock = Clock()
    host = SimpleNamespace(clock=clock, waits=Waits(clock), on_idle=lambda: None, sleeps_again=lambda: False)
    ProgramLoop(host).close()
    print(slot.clean_up())

asyncio.run(main())
"""


def test_a_loop_of_a_program_leaves_its_process_fit_for_others() -> None:
    """What it replaces in asyncio was replaced before."""
    done = subprocess.run([sys.executable, "-c", SLOT], capture_output=True, text=True, timeout=60)
    assert done.stdout == "()\n", done.stderr
