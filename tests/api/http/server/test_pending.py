from __future__ import annotations

from api.http.server.pending import Awaited, ConnectionLimits, PendingConnections

LIMITS = ConnectionLimits(
    head_timeout_s=10, body_timeout_s=30, idle_timeout_s=60, close_timeout_s=5, max_waiting=3, max_connections=5
)


class Noted:
    """A connection that notes how it ended."""

    def __init__(self) -> None:
        self.end: str = ""

    def expire(self, awaited: Awaited) -> None:
        self.end = awaited

    def make_room(self) -> None:
        self.end = "made room"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pending() -> tuple[PendingConnections, Clock]:
    clock = Clock()
    return PendingConnections(LIMITS, clock), clock


def test_each_kind_has_its_own_time() -> None:
    waiting, clock = pending()
    kinds: tuple[Awaited, ...] = ("close", "head", "body", "idle")
    connections = {kind: Noted() for kind in kinds}
    for kind, connection in connections.items():
        waiting.set(connection, kind)
    for now, ended in ((4.9, ""), (5.1, "close"), (10.1, "head"), (30.1, "body"), (60.1, "idle")):
        clock.now = now
        waiting.sweep()
        assert [kind for kind, connection in connections.items() if connection.end][-1:] == ([ended] if ended else [])
    assert {kind: connection.end for kind, connection in connections.items()} == {kind: kind for kind in kinds}


def test_a_head_that_trickles_gets_no_more_time_and_a_body_does() -> None:
    waiting, clock = pending()
    head, body = Noted(), Noted()
    for clock.now in range(40):
        waiting.sweep()
        if not head.end:
            waiting.set(head, "head")
        waiting.set(body, "body")
    assert head.end == "head"
    assert body.end == ""


def test_the_longest_idle_one_makes_room_first_then_the_oldest_head() -> None:
    waiting, _ = pending()
    heads, idle, bodies = [Noted(), Noted()], [Noted(), Noted()], [Noted() for _ in range(9)]
    waiting.set(heads[0], "head")
    waiting.set(idle[0], "idle")
    for body in bodies:
        waiting.set(body, "body")
    waiting.set(idle[1], "idle")
    waiting.set(heads[1], "head")
    assert [each.end for each in (*heads, *idle)] == ["", "", "made room", ""]
    waiting.set(Noted(), "head")
    waiting.set(Noted(), "head")
    assert [each.end for each in (*heads, *idle)] == ["made room", "", "made room", "made room"]
    assert {body.end for body in bodies} == {""}


def test_one_that_has_been_served_or_has_left_is_not_ended() -> None:
    waiting, clock = pending()
    served = Noted()
    waiting.set(served, "head")
    waiting.set(served, None)
    waiting.set(served, None)
    clock.now = 100
    waiting.sweep()
    waiting.make_room()
    assert served.end == ""
