"""Who is asking: API keys, and the owner of each."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.requests import HTTPConnection

from api.errors import Unauthorized
from api.http.settings import settings_of
from api.settings import ApiKey, digest_of

SUBPROTOCOL = "greenroom"
"""The WebSocket subprotocol that this server selects."""

_KEY_SUBPROTOCOL = "bearer."


def owner_of(connection: HTTPConnection) -> str:
    """The owner whose API key the connection carries; "" where no keys are configured. It stays what it was first.

    The key comes in ``Authorization: Bearer <key>``. Browsers cannot set headers on a WebSocket: there it may come
    as an offered subprotocol ``bearer.<key>``, beside ``greenroom``.

    Raises:
        Unauthorized: keys are configured, and this is none of them.
    """
    state: dict[str, str] = connection.scope.setdefault("state", {})
    if "owner" not in state:
        state["owner"] = _owner_now(connection)
    return state["owner"]


def key_of(connection: HTTPConnection) -> ApiKey | None:
    """The API key that the connection carries; None where it carries none that is configured.

    It is compared with every key, in time that does not depend on where they differ.
    """
    keys, given = settings_of(connection).api_keys, _key_in(connection)
    if not keys or given is None:
        return None
    digest = digest_of(given)
    found = [key for key in keys if hmac.compare_digest(key.sha256, digest)]
    return found[0] if found else None


def account_of(connection: HTTPConnection) -> str | None:
    """Whose share of this process a connection counts against: the owner of its key; without one, its client's address.

    None without keys for clients of this machine: they have one address, and are the operator's own. Of IPv6 the first
    64 bits count, which is what one subscriber has.
    """
    if key := key_of(connection):
        return f"owner {key.owner}"
    try:
        address = ip_address(connection.client.host if connection.client else "")
    except ValueError:
        return "unknown address"
    address = (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
    if address.is_loopback and not settings_of(connection).api_keys:
        return None
    return str(address if address.version == 4 else ip_network((address, 64), strict=False))


def selected_subprotocol(connection: HTTPConnection) -> str | None:
    """What to accept a WebSocket with: ``greenroom`` where the client offers it."""
    return SUBPROTOCOL if SUBPROTOCOL in _offered(connection) else None


def _owner_now(connection: HTTPConnection) -> str:
    if not settings_of(connection).api_keys:
        return ""
    if _key_in(connection) is None:
        raise Unauthorized("an API key is needed: Authorization: Bearer <key>")
    key = key_of(connection)
    if key is None:
        raise Unauthorized("this API key is not known here")
    return key.owner


def _key_in(connection: HTTPConnection) -> str | None:
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    offered = (name for name in _offered(connection) if name.startswith(_KEY_SUBPROTOCOL))
    return next((name.removeprefix(_KEY_SUBPROTOCOL) for name in offered), None)


def _offered(connection: HTTPConnection) -> Sequence[str]:
    subprotocols: Sequence[str] = connection.scope.get("subprotocols") or ()
    return subprotocols
