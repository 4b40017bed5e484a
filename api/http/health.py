"""Whether this process lives, and whether a model can answer."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute

from api.errors import ModelNotFound, Unavailable
from api.http.models import cluster_of
from api.http.operations import JsonObject, Operation


def health_routes() -> list[BaseRoute]:
    """``/healthz``: the process lives; ``/readyz``: a model can answer, ``/readyz?model=NAME``: this one can.

    A passive model can: it starts with the next request. Neither asks for a key.
    """
    return [
        Operation("GET", "/healthz", check_health, answers={200: JsonObject}, is_open=True),
        Operation("GET", "/readyz", check_readiness, query={"model": str}, answers={200: JsonObject}, is_open=True),
    ]


async def check_health(request: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


async def check_readiness(request: Request) -> JSONResponse:
    models = await cluster_of(request).models()
    if (name := request.query_params.get("model")) is not None:
        models = tuple(model for model in models if name in (model.name, *model.aliases))
        if not models:
            raise ModelNotFound(name)
    ready = {model.name: model.num_ready for model in models}
    if not any(model.num_ready or model.is_passive for model in models):
        raise Unavailable("no model can answer yet" if name is None else f"model {name!r} cannot answer yet")
    return JSONResponse({"ok": True, "models": ready})
