"""The gateway: the Serve ingress, stateless, any number of replicas."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.calls.priority import stand_back
from actors.cluster.greenroom import Greenroom
from api.http.app import build_app
from api.http.request_log import REQUEST_ID_HEADER
from api.logs import start_logging
from deployments.config import GreenroomConfig
from deployments.listening import serve_address

GATEWAY = "Gateway"
"""Its name in Serve."""


class Gateway:
    """Serves the routes of ``api`` on a Ray cluster. Every open socket or stream holds one of its ongoing requests."""

    async def __init__(self, config: GreenroomConfig, pools: list[Any]) -> None:  # type: ignore[misc]
        start_logging()
        stand_back()
        self._settings = config.api
        self._pools = pools
        self._greenroom = await Greenroom.ensure(config.settings())
        self._host = (await asyncio.to_thread(serve_address) or ("",))[0]

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Serve calls this once, on the replica."""
        return WithoutRequestId(build_app(self._greenroom, self._settings, host=self._host))


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
    deployment = serve.deployment(serve.ingress()(Gateway)).options(
        name=GATEWAY,
        num_replicas=config.num_gateways,
        max_ongoing_requests=10_000,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=1,
        graceful_shutdown_timeout_s=10,
    )
    return deployment.bind(config, pools)
