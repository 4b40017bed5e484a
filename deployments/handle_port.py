"""The port on which a replica takes calls from other deployments."""

from __future__ import annotations

import importlib
from typing import Any


def keep_handle_port_closed() -> None:
    """Have the replica that this process is open no such port; called in its constructor. Ours call actors instead.

    Ray 2.60 (``Replica._on_initialized``) opens it on all interfaces, whatever address the node has, and unpickles what
    anybody sends to it. It would have to listen on the node's address, and to ask for the cluster's token.
    """
    replica: Any = importlib.import_module("ray.serve._private.replica")
    replica.add_port_to_grpc_server = lambda server, address: 0
