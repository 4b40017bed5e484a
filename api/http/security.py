"""Who is asking: API keys, and the owner that each stands for."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from starlette.requests import HTTPConnection

from api.errors import Unauthorized
from api.settings import ApiKey, ApiSettings

SUBPROTOCOL = "greenroom"
"""The WebSocket subprotocol that this server selects."""

_KEY_SUBPROTOCOL = "bearer."


def owner_of(connection: HTTPConnection) -> str:
    """The owner whose API key the connection carries; "" where no keys are configured.

    The key comes in ``Authorization: Bearer <key>``. Browsers cannot set headers on a WebSocket: there it may come
    as an offered subprotocol ``bearer.<key>``, beside ``greenroom``.

    Raises:
        Unauthorized: keys are configured, and this is none of them.
    """
    settings: ApiSettings = connection.app.state.settings
    if not settings.api_keys:
        return ""
    key = _key_in(connection)
    if key is None:
        raise Unauthorized("an API key is needed: Authorization: Bearer <key>")
    return _owner_of_key(key, settings.api_keys)


def selected_subprotocol(connection: HTTPConnection) -> str | None:
    """What to accept a WebSocket with: ``greenroom`` where the client offers it."""
    return SUBPROTOCOL if SUBPROTOCOL in _offered(connection) else None


def _key_in(connection: HTTPConnection) -> str | None:
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    offered = (name for name in _offered(connection) if name.startswith(_KEY_SUBPROTOCOL))
    return next((name.removeprefix(_KEY_SUBPROTOCOL) for name in offered), None)


def _offered(connection: HTTPConnection) -> Sequence[str]:
    subprotocols: Sequence[str] = connection.scope.get("subprotocols") or ()
    return subprotocols


def _owner_of_key(key: str, api_keys: Sequence[ApiKey]) -> str:
    """Compare with every key, in time that does not depend on where they differ."""
    owner: str | None = None
    for api_key in api_keys:
        if hmac.compare_digest(key.encode(), api_key.key.get_secret_value().encode()):
            owner = api_key.owner
    if owner is None:
        raise Unauthorized("this API key is not known here")
    return owner
