"""Where Serve listens for clients."""

from __future__ import annotations

from ray.serve.context import _get_global_client


def serve_address() -> tuple[str, int] | None:
    """Host and port, of the cluster that this process is connected to; None where Serve does not run. Blocks."""
    client = _get_global_client(raise_if_no_controller_running=False)
    return (client.http_config.host, client.http_config.port) if client else None
