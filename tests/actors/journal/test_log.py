"""The log: positions, cursors, waking."""

import asyncio

import pytest

from actors.journal.log import Log
from api.errors import InvalidRequest


def test_a_reader_gets_every_record_once_from_its_cursor() -> None:
    log = Log[str]()
    log.append("ab")
    assert log.read(0) == ["a", "b"]
    log.append("c")
    assert log.read(2) == ["c"]
    assert log.read(3) == []
    assert log.end == 3


@pytest.mark.parametrize("position", [-1, 2])
def test_a_position_outside_the_log_is_refused(position: int) -> None:
    log = Log[str]()
    log.append("a")
    with pytest.raises(InvalidRequest, match="outside 0..1"):
        log.read(position)


async def test_one_event_watches_many_logs() -> None:
    first, second, event = Log[int](), Log[int](), asyncio.Event()
    first.watch(event)
    second.watch(event)
    second.append([1])
    await asyncio.wait_for(event.wait(), 30)
    event.clear()
    second.unwatch(event)
    second.append([2])
    assert not event.is_set()
    first.close()
    assert event.is_set()


async def test_waiting_for_the_end_survives_growth() -> None:
    log = Log[int]()
    waiting = asyncio.create_task(log.wait_closed())
    await asyncio.sleep(0)
    log.append([1])
    await asyncio.sleep(0)
    assert not waiting.done()
    log.close()
    await asyncio.wait_for(waiting, 30)
