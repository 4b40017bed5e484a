"""Free TCP ports of this machine."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """So many ports, anywhere."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def is_free(host: str, port: int) -> bool:
    """Whether this machine can listen there."""
    try:
        try_to_listen(host, port)
    except OSError:
        return False
    return True


def try_to_listen(host: str, port: int) -> None:
    """Listen there, and no longer.

    Raises:
        OSError: this machine cannot.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
