"""The hosts that an HTTP tool may reach, by the names in its list and by the addresses that those lead to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from api.errors import InvalidRequest

if TYPE_CHECKING:
    import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = {"http": 80, "https": 443}


class NotAllowed(Exception):
    """The tool may not reach this."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A name, ``*.`` and a name, or a network; with a port, or for the ports that a scheme has by itself."""

    name: str
    network: Network | None
    port: int | None

    @classmethod
    def of(cls, text: str) -> _Entry:
        try:
            return cls(text, ip_network(text), None)
        except ValueError:
            name, colon, port = text.rpartition(":")
        if not colon:
            name = text
        elif not port.isascii() or not port.isdigit():
            raise InvalidRequest(f"{text!r:.200} is no host: a name, *.name, an address, a network; perhaps with :port")
        name = name.removeprefix("[").removesuffix("]").lower()
        try:
            network: Network | None = ip_network(name)
        except ValueError:
            network = None
        return cls(name, network, int(port) if colon else None)

    def has(self, host: str, port: int, usual_port: int) -> bool:
        """Whether it names this host."""
        if port != (usual_port if self.port is None else self.port):
            return False
        if self.network is not None:
            return (address := _address(host)) is not None and address in self.network
        if self.name == "*":
            return True
        return host.endswith(self.name[1:]) if self.name.startswith("*.") else host == self.name


class AllowedHosts:
    """See the module. A private address is reached only where the list has the address itself, or its network.

    ``localhost`` is the addresses of this machine.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._entries = [_Entry.of(host) for host in hosts]
        self._networks = [entry.network for entry in self._entries if entry.network is not None]
        if any(entry.name == "localhost" for entry in self._entries):
            self._networks += [ip_network("127.0.0.0/8"), ip_network("::1")]

    async def addresses(self, url: httpx.URL) -> list[str]:
        """Where a URL leads: connecting to these instead of to the name, nothing can change in between.

        Raises:
            NotAllowed: to no host of the list, or to an address that is not public.
        """
        if url.scheme not in PORTS:
            raise NotAllowed("the URL begins with http:// or https://")
        if url.userinfo:
            raise NotAllowed("the URL has a user's name")
        host, usual_port = url.raw_host.decode().lower().removesuffix("."), PORTS[url.scheme]
        port = url.port or usual_port
        if not any(entry.has(host, port, usual_port) for entry in self._entries):
            raise NotAllowed(f"{host!r:.200} (port {port}) is not among the hosts that this tool may reach")
        found = await self._resolved(host, port)
        if not all(map(self._is_open, found)):
            raise NotAllowed(f"{host!r:.200} leads to an address that is not public")
        return [str(address) for address in found]

    async def _resolved(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise ConnectionError(f"{host!r:.200} has no address") from None
        return [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]

    def _is_open(self, address: Address) -> bool:
        return _is_public(address) or any(address in network for network in self._networks)


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    """Neither private nor for many, also not as an IPv4 address inside one of IPv6."""
    if isinstance(address, IPv6Address):
        if inner := address.ipv4_mapped or address.sixtofour:
            return _is_public(inner)
        if address.is_site_local or address.teredo:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
