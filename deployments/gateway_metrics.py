"""Prometheus metrics of a gateway, through Ray's metrics agent; tagged by route and status, never by client."""

from __future__ import annotations

from collections.abc import Iterator

from ray.util import metrics

from actors.counters import Counter
from api.errors import GreenroomError
from api.http.request_log import Served

_CLOSE_CODES = frozenset({1000, 1001, 1005, 1006, 1008, 1009, 1011, 1012, 1013, 4404})
"""A client can end a socket with a thousand others."""


class GatewayMetrics:
    """What an operator watches of the requests that this process serves."""

    def __init__(self) -> None:
        self._requests = metrics.Counter(
            "greenroom_requests_total", "Requests and sockets that have ended", tag_keys=("route", "status")
        )
        self._codes = frozenset(_codes_of(GreenroomError))
        errors = {"code": tuple(sorted(self._codes))}
        self._errors = Counter("greenroom_errors_total", "Requests that got an error, by its code", {}, errors)

    def observe(self, served: Served) -> None:
        """A request or a socket has ended."""
        status = str(served.status)
        if served.method == "WEBSOCKET":
            status = status if served.status in _CLOSE_CODES else "other"
        self._requests.inc(tags={"route": served.route or "none", "status": status})
        if served.error in self._codes:
            self._errors.inc(code=served.error)


def _codes_of(error: type[GreenroomError]) -> Iterator[str]:
    yield error.code
    for kind in error.__subclasses__():
        yield from _codes_of(kind)
