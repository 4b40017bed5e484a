"""Whether this process lives, and whether a model can answer."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from api.cluster import Cluster
from api.errors import Unavailable


def health_routes() -> list[BaseRoute]:
    """``/healthz`` for who restarts processes, ``/readyz`` for who sends them requests; neither asks for a key."""
    return [Route("/healthz", _healthz), Route("/readyz", _readyz)]


async def _healthz(request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


async def _readyz(request: Request) -> JSONResponse:
    cluster: Cluster = request.app.state.cluster
    ready = {model.name: model.num_ready for model in await cluster.models()}
    if not any(ready.values()):
        raise Unavailable("no model can answer yet")
    return JSONResponse({"ok": True, "models": ready})
