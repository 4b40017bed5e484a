"""Who may do what is an operator's act, as to upload a program, which is code: see ``ApiSettings.allow_upload``."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from api.errors import Forbidden
from api.http.origins import is_own_origin
from api.http.settings import settings_of
from api.loopback import is_loopback

_SIGNS_OF_A_PROXY = ("forwarded", "x-forwarded-for", "via")


def check_upload(request: HTTPConnection, act: str = "programs may be uploaded") -> None:
    """Whether this client may upload programs, or do another act, which is for the refusal.

    Without ``allow_upload`` it takes a server that listens on loopback only (``state.host``), a client on this machine
    that comes through no proxy, and no page of another site: any page that the operator's browser shows can send
    requests to a port on loopback, and by a name of its own (DNS rebinding) even as the same origin.

    Raises:
        Forbidden: it is not allowed to.
    """
    if settings_of(request).allow_upload:
        return
    if not (is_loopback(request.app.state.host) and _is_local(request)):
        raise Forbidden(f"{act} from this machine only: elsewhere it takes allow_upload and API keys")
    if not _is_own_page(request):
        raise Forbidden(f"{act} by no page of another site: that takes allow_upload and API keys")


def _is_local(request: HTTPConnection) -> bool:
    if any(header in request.headers for header in _SIGNS_OF_A_PROXY):
        return False
    ends = (request.scope.get("client"), request.scope.get("server"))
    return all(end is not None and is_loopback(end[0]) for end in ends)


def _is_own_page(request: HTTPConnection) -> bool:
    origin = request.headers.get("origin")
    if origin is None:
        return True
    host = request.headers.get("host", "")
    return is_loopback(urlsplit(f"//{host}").hostname or "") and is_own_origin(origin, host)
