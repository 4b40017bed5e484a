"""Where Serve's proxies listen for clients."""

from __future__ import annotations

import ray
from ray.serve.config import ProxyLocation
from ray.serve.context import _get_global_client


def proxy_address() -> tuple[str, int] | None:
    """Host and port, of the cluster that this process is connected to; None where there are no proxies. Blocks."""
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None or ray.get(client._controller.get_proxy_location.remote()) == ProxyLocation.Disabled:
        return None
    return (client.http_config.host, client.http_config.port)


def runs_serve() -> bool:
    """Whether Serve runs there. Blocks."""
    return _get_global_client(raise_if_no_controller_running=False) is not None
