"""The waits of a program, without one."""

from __future__ import annotations

import time

from actors.inferlets.timers import Clock, Waits


def test_waits_are_over_in_the_order_of_their_times() -> None:
    clock, ended = Clock(), list[str]()
    waits = Waits(clock)
    for name, delay_s in (("late", 60.0), ("second", -1.0), ("first", -2.0), ("third", -1.0)):
        waits.begin_timer(delay_s, lambda name=name: ended.append(name))  # type: ignore[misc]
    while number := waits.first():
        waits.end(number)
    assert ended == ["first", "second", "third"]
    assert waits.over_in_s is not None
    assert 59 < waits.over_in_s <= 60
    assert waits.end(1), "a timer may be ended before"
    assert ended[-1] == "late"
    assert waits.is_empty
    assert waits.over_in_s is None


def test_a_thread_ends_once_it_has_come_back() -> None:
    ended = list[int]()
    waits = Waits(Clock())
    number = waits.begin_thread(lambda: ended.append(1))
    assert waits.first() is None
    assert not waits.end(number)
    assert not waits.is_empty
    waits.came_back(number)
    assert waits.first() == number
    assert waits.end(number)
    assert not waits.end(number)
    assert ended == [1]


def test_what_was_dropped_never_ends_and_takes_no_room() -> None:
    waits = Waits(Clock())
    kept = waits.begin_timer(30.0, list)
    for _ in range(10_000):
        waits.drop(waits.begin_timer(60.0, list))
    thread = waits.begin_thread(list)
    waits.drop(thread)
    waits.came_back(thread)
    assert not waits.end(thread)
    assert waits.first() is None
    assert len(waits._over_at) < 200
    assert waits.end(kept)
    assert waits.is_empty


def test_the_clock_stands_until_it_is_let_go_and_goes_on_from_where_it_is_put() -> None:
    clock = Clock()
    assert clock.time() == 0
    time.sleep(0.002)
    assert clock.time() == 0
    assert clock.elapsed() >= 0.002
    stands_at = clock.stand()
    assert clock.time() == stands_at >= 0.002
    clock.put_to(1000.0)
    assert clock.time() == 1000
    assert 1000 <= clock.elapsed() < 1010
    clock.go()
    assert 1000 <= clock.time() < 1010
