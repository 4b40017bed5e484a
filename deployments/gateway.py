"""The gateway: the Serve ingress, stateless, any number of replicas."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from starlette.applications import Starlette

from actors.calls.priority import stand_back
from actors.cluster.greenroom import Greenroom
from api.http.app import build_app
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

    async def __serve_build_asgi_app__(self) -> Starlette:
        """Serve calls this once, on the replica."""
        return build_app(self._greenroom, self._settings, host=self._host)


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
