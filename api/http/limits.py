"""What one process takes on at once: so many calls, event streams and sockets, and of each a share for one account."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from operator import attrgetter

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from api.errors import GreenroomError, TooBusy, Unavailable
from api.http.responses import CLOSE_TRY_LATER, close_socket, error_response
from api.http.security import account_of
from api.http.settings import settings_of
from api.settings import ApiSettings

_UNLIMITED_PATHS = frozenset({"/healthz", "/readyz"})


class Shares:
    """How many of one kind are in progress, by account; ``kind`` is its name in the plural, ``limit_of`` its limit."""

    def __init__(self, kind: str, limit_of: Callable[[ApiSettings], int]) -> None:
        self._kind = kind
        self._limit_of = limit_of
        self._counts: Counter[str | None] = Counter()
        self._total = 0

    def take(self, account: str | None, settings: ApiSettings) -> None:
        """Count one more; None means clients that need no protection from each other, who may have all.

        Raises:
            TooBusy: the account has its share.
            Unavailable: this process has as many as it serves at once.
        """
        limit = self._limit_of(settings)
        per_account = math.ceil(limit * settings.owner_share)
        if self._total >= limit:
            raise Unavailable(f"{self._kind}: this server serves {limit} at a time")
        if account is not None and self._counts[account] >= per_account:
            raise TooBusy(f"{self._kind}: one owner may have {per_account} at a time")
        self._counts[account] += 1
        self._total += 1

    def release(self, account: str | None) -> None:
        """Count one less."""
        self._total -= 1
        self._counts[account] -= 1
        if not self._counts[account]:
            del self._counts[account]


class Place:
    """One request's place in this process, from its head on: a body that is sent in part takes a place of its sender.

    Raises:
        TooBusy, Unavailable: as ``Shares.take``.
    """

    def __init__(self, account: str | None, shares: Shares, streams: Shares, settings: ApiSettings) -> None:
        shares.take(account, settings)
        self._account = account
        self._shares = shares
        self._streams = streams

    @property
    def is_stream(self) -> bool:
        """Whether it counts as an event stream."""
        return self._shares is self._streams

    def become_stream(self, settings: ApiSettings) -> None:
        """Count as an event stream from now on. Idempotent.

        Raises:
            TooBusy, Unavailable: as ``Shares.take``.
        """
        if not self.is_stream:
            self._streams.take(self._account, settings)
            self._shares.release(self._account)
            self._shares = self._streams

    def leave(self) -> None:
        """The request has ended."""
        self._shares.release(self._account)


def become_stream(scope: Scope) -> None:
    """To be called before an answer that has no end of its own begins; see ``Place.become_stream``."""
    place: Place = scope["state"]["place"]
    place.become_stream(settings_of(scope))


def is_stream(scope: Scope) -> bool:
    """Whether the answer has no end of its own."""
    place: Place | None = scope.get("state", {}).get("place")
    return place is not None and place.is_stream


class ConcurrencyLimit:
    """Refuses what is more than this process serves at once, and what is more than an account's share of that.

    A request gets 503 or 429, with ``Retry-After``; a socket is accepted and closed with 1013, because a browser shows
    no status of a socket that was never opened. Health checks always pass. Limits that become smaller end nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._streams = Shares("event streams", attrgetter("max_streams"))
        self._shares = {
            "http": Shares("calls", attrgetter("max_concurrent_requests")),
            "websocket": Shares("sockets", attrgetter("max_sockets")),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        shares = self._streams if _is_for_events(scope) else self._shares.get(scope["type"])
        if shares is None or scope["path"] in _UNLIMITED_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            place = Place(account_of(HTTPConnection(scope)), shares, self._streams, settings_of(scope))
        except GreenroomError as error:
            await _refuse(error, scope, receive, send)
            return
        scope.setdefault("state", {})["place"] = place
        try:
            await self._app(scope, receive, send)
        finally:
            place.leave()


def _is_for_events(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "GET" and str(scope["path"]).endswith("/events")


async def _refuse(error: GreenroomError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        reason = f"{error}; retry after {error.retry_after_s:g} s"
        await close_socket(WebSocket(scope, receive, send), CLOSE_TRY_LATER, reason)
        return
    await error_response(error, scope["path"])(scope, receive, send)
