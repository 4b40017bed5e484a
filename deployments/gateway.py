"""The gateway: stateless, any number of replicas."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.calls.priority import ALL_TOKENS, lower_priority
from actors.cluster.greenroom import HEAD, Greenroom
from api.http.app import build_app
from api.http.request_log import REQUEST_ID_HEADER
from api.http.server.listener import Listener
from api.logs import start_logging
from deployments.config import GreenroomConfig
from deployments.gateway_metrics import GatewayMetrics
from deployments.handle_port import keep_handle_port_closed
from deployments.listening import proxy_address

GATEWAY = "Gateway"
"""Its name in Serve."""


class ListeningGateway:
    """Listens for clients itself, in the event loop that does its work; Serve watches over it and replaces it.

    Replicas on one node share its address, so that a new one listens before the one that it replaces ends.
    """

    async def __init__(self, config: GreenroomConfig, pools: list[Any]) -> None:  # type: ignore[misc]
        assert config.listen is not None
        keep_handle_port_closed()
        self._pools = pools
        greenroom = await _connect(config)
        app = build_app(greenroom, config.api, host=config.listen.host, observe=GatewayMetrics().observe)
        listener = Listener(app, config.listen.host, config.listen.port, max_message_bytes=config.api.max_body_bytes)
        await listener.start()
        self._listener = listener

    async def check_health(self) -> None:
        """Serve calls this."""
        self._listener.check()

    async def __del__(self) -> None:
        """Serve calls this when the replica is to go."""
        if listener := getattr(self, "_listener", None):
            await listener.stop()


class ProxiedGateway:
    """Gets its requests from a proxy of Serve's. Every open socket or stream holds one of its ongoing requests.

    Of these proxies Ray's HAProxy costs a token least, but its template (``ray/serve/_private/haproxy_templates.py`` of
    Ray 2.60) would have to change before strangers may reach it:

    - ``timeout http-request``, a ``timeout client`` of seconds for bodies rather than an hour, and half-sent requests
      not counted to ``maxconn 4096``: 4,100 half heads keep everybody out, health checks too;
    - ``stats socket``: mode 600 rather than 666, in a folder of mode 700: it lets any local user redirect all traffic;
    - statistics and metrics bound to the host that is configured rather than to all interfaces.
    """

    async def __init__(self, config: GreenroomConfig, pools: list[Any]) -> None:  # type: ignore[misc]
        self._settings = config.api
        self._pools = pools
        self._greenroom = await _connect(config)
        self._host = (await asyncio.to_thread(proxy_address) or ("",))[0]

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Serve calls this once, on the replica."""
        observe = GatewayMetrics().observe
        return WithoutRequestId(build_app(self._greenroom, self._settings, host=self._host, observe=observe))


class WithoutRequestId:
    """Removes ``X-Request-Id`` from answers: Serve appends the header to every answer, and would send it twice.

    Serve's value is the request's own, which the application takes too where it is well-formed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""

        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)[REQUEST_ID_HEADER]
            await send(message)

        await self._app(scope, receive, send_without)


async def _connect(config: GreenroomConfig) -> Greenroom:
    start_logging()
    lower_priority(ALL_TOKENS)
    return await Greenroom.ensure(config.settings())


def gateway_deployment(config: GreenroomConfig, pools: list[serve.Application]) -> serve.Application:
    """The ingress in front of these pools."""
    listens = config.listen is not None
    deployment = serve.deployment(ListeningGateway if listens else serve.ingress()(ProxiedGateway)).options(
        name=GATEWAY,
        num_replicas=config.num_gateways,
        max_ongoing_requests=10_000,
        max_surge_percent=100 if listens else 0,
        ray_actor_options={"num_cpus": 0, "resources": HEAD if config.gateways_need_head else {}},
        health_check_period_s=1,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=10,
    )
    return deployment.bind(config, pools)
