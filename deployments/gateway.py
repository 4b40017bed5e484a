"""The gateway: stateless, any number of replicas."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

from actors.calls.priority import ALL_TOKENS, lower_priority
from actors.cluster.greenroom import HEAD, Greenroom
from api.errors import InvalidRequest, Unavailable
from api.http.app import build_app
from api.http.app import reconfigure as reconfigure_app
from api.http.request_log import REQUEST_ID_HEADER
from api.http.server.listener import Listener
from api.logs import event_logger, start_logging
from deployments.config import MCP, GreenroomConfig
from deployments.gateway_metrics import GatewayMetrics
from deployments.handle_port import keep_handle_port_closed
from deployments.listening import proxy_address
from deployments.overlay import gateway_settings, overlaid_config
from deployments.version import version_of

log = event_logger("greenroom.gateway")

GATEWAY = "Gateway"
"""Its name in Serve."""


class _Gateway:
    """What both gateways are: an application, whose settings Serve changes while it runs.

    Wrong settings are not taken: a replica that runs keeps those that it has, and a new one does not start.
    """

    def __init__(self, config: GreenroomConfig, pools: list[Any]) -> None:
        self._config = config
        self._pools = pools
        self._greenroom: Greenroom | None = None
        self._app: Starlette | None = None

    async def reconfigure(self, user_config: Any, rank: Any = None) -> None:
        """Serve calls this before the replica gets its first request, and when ``user_config`` is another.

        With ``rank`` in its signature it is called too where there is no ``user_config``.
        """
        try:
            await self._take(overlaid_config(self._config, user_config))
        except InvalidRequest as error:
            if self._app is None:
                raise
            log.warning("these settings are not taken, the earlier ones hold", error=str(error))

    async def _take(self, config: GreenroomConfig) -> None:
        if self._app is None or self._greenroom is None:
            start_logging()
            lower_priority(ALL_TOKENS)
            self._greenroom = await Greenroom.ensure(config.settings())
            self._app = await self._begin(self._greenroom, config)
        else:
            await self._greenroom.configure(config.settings())
            reconfigure_app(self._app, config.api)

    async def _begin(self, greenroom: Greenroom, config: GreenroomConfig) -> Starlette:
        raise NotImplementedError


class ListeningGateway(_Gateway):
    """Listens for clients itself, in the event loop that does its work; Serve watches over it and replaces it.

    Replicas on one node share its address, so that a new one listens before the one that it replaces ends.
    """

    def __init__(self, config: GreenroomConfig, pools: list[Any]) -> None:
        super().__init__(config, pools)
        keep_handle_port_closed()
        self._listener: Listener | None = None

    async def check_health(self) -> None:
        """Serve calls this."""
        if self._listener is None:
            raise Unavailable("this gateway does not listen yet")
        self._listener.check()

    async def __del__(self) -> None:
        """Serve calls this when the replica is to go."""
        if self._listener:
            await self._listener.stop()

    @override
    async def _take(self, config: GreenroomConfig) -> None:
        await super()._take(config)
        assert self._listener is not None
        self._listener.limit_messages(config.api.max_body_bytes)

    @override
    async def _begin(self, greenroom: Greenroom, config: GreenroomConfig) -> Starlette:
        assert config.listen is not None
        app = _application(greenroom, config, config.listen.host)
        listener = Listener(app, config.listen.host, config.listen.port, max_message_bytes=config.api.max_body_bytes)
        await listener.start()
        self._listener = listener
        return app


class ProxiedGateway(_Gateway):
    """Gets its requests from a proxy of Serve's. Every open socket or stream holds one of its ongoing requests.

    Of these proxies Ray's HAProxy costs a token least, but its template (``ray/serve/_private/haproxy_templates.py`` of
    Ray 2.60) would have to change before strangers may reach it:

    - ``timeout http-request``, a ``timeout client`` of seconds for bodies rather than an hour, and half-sent requests
      not counted to ``maxconn 4096``: 4,100 half heads keep everybody out, health checks too;
    - ``stats socket``: mode 600 rather than 666, in a folder of mode 700: it lets any local user redirect all traffic;
    - statistics and metrics bound to the host that is configured rather than to all interfaces.
    """

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Serve calls this once, on the replica, and starts what it returns before there are settings."""
        starting = Starlette()

        async def current(scope: Scope, receive: Receive, send: Send) -> None:
            await (self._app or starting)(scope, receive, send)

        return WithoutRequestId(current)

    @override
    async def _begin(self, greenroom: Greenroom, config: GreenroomConfig) -> Starlette:
        host = (await asyncio.to_thread(proxy_address) or ("",))[0]
        return _application(greenroom, config, host)


def _application(greenroom: Greenroom, config: GreenroomConfig, host: str) -> Starlette:
    return build_app(greenroom, config.api, host=host, observe=GatewayMetrics().observe)


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


def gateway_deployment(config: GreenroomConfig, pools: list[serve.Application]) -> serve.Application:
    """The ingress in front of these pools."""
    listens = config.listen is not None
    restarts = {"mcp_servers": config.agents.get(MCP), "on_head": config.gateways_need_head}
    deployment = serve.deployment(ListeningGateway if listens else serve.ingress()(ProxiedGateway)).options(
        name=GATEWAY,
        version=version_of(config.model_dump(mode="json", include={"listen"}) | restarts),
        user_config=gateway_settings(config),
        num_replicas=config.num_gateways,
        max_ongoing_requests=10_000,
        max_surge_percent=100 if listens else 0,
        ray_actor_options={"num_cpus": 0, "resources": HEAD if config.gateways_need_head else {}},
        health_check_period_s=1,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=10,
        _internal=True,  # a version of our own
    )
    return deployment.bind(config, pools)
