"""The HTTP application: routes, limits and errors around whatever cluster it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute

from api.cluster import Cluster
from api.errors import GreenroomError
from api.http.adapter_routes import adapter_routes
from api.http.agent_routes import agent_routes
from api.http.agents.agui.routes import agui_routes
from api.http.agents.ui.routes import ui_routes
from api.http.block_routes import block_routes
from api.http.cors import Cors
from api.http.errors import Faults
from api.http.health import health_routes
from api.http.inferlet_routes import inferlet_routes
from api.http.limits import ConcurrencyLimit
from api.http.openai.routes import openai_routes
from api.http.openapi import openapi_route
from api.http.origins import OriginCheck
from api.http.pages import page_routes
from api.http.petals.routes import petals_routes
from api.http.queue_routes import queue_routes
from api.http.request_log import RequestLog, Served
from api.http.responses import on_client_disconnect, on_greenroom_error, on_http_exception
from api.http.revocation import Opened, Revocation
from api.http.session_routes import session_routes
from api.http.size_limit import SizeLimit
from api.http.thread_routes import thread_routes
from api.http.topic_routes import topic_routes
from api.settings import ApiSettings


def build_app(
    cluster: Cluster,
    settings: ApiSettings,
    routes: Sequence[BaseRoute] = (),
    *,
    host: str = "127.0.0.1",
    observe: Callable[[Served], None] = lambda served: None,
) -> Starlette:
    """The application, with ``state.cluster``, ``state.settings`` and ``state.host`` for its handlers.

    It keeps nothing between requests that another process would have to know: any number of them serve one cluster.
    Settings can be exchanged while it runs: ``reconfigure``.
    ``routes`` are tried after its own; ``host`` is where the server listens for its clients; ``observe`` is told of
    each request and socket that has ended.
    """
    handlers: dict[Any, Any] = {
        ClientDisconnect: on_client_disconnect,
        GreenroomError: on_greenroom_error,
        HTTPException: on_http_exception,
    }
    all_routes = [
        *health_routes(),
        *petals_routes(cluster),
        *openai_routes(),
        *session_routes(),
        *adapter_routes(),
        *topic_routes(),
        *queue_routes(),
        *inferlet_routes(),
        *agent_routes(),
        *agui_routes(),
        *ui_routes(),
        *thread_routes(),
        *block_routes(),
        *page_routes(),
        *routes,
    ]
    app = Starlette(
        routes=[*all_routes, openapi_route(all_routes)],
        exception_handlers=handlers,
        middleware=[
            Middleware(RequestLog, observe),
            Middleware(OriginCheck, host),
            Middleware(Cors),
            Middleware(Faults),
            Middleware(ConcurrencyLimit),
            Middleware(Revocation),
            Middleware(SizeLimit),
        ],
    )
    app.router.redirect_slashes = False
    app.state.cluster = cluster
    app.state.settings = settings
    app.state.host = host
    app.state.opened = set()
    return app


def reconfigure(app: Starlette, settings: ApiSettings) -> None:
    """Have the application of ``build_app`` go by other settings: from the next request on, and the next message.

    What is open stays open, and counts against the new limits, except what came with a key that is no more, or has
    another owner now: such a socket is closed with 1008, the connection of such a stream is broken, and other calls
    go on to their ends. What came without a key, or is open when the last key goes, stays too, with the owner that it
    had. To be called in the event loop that serves.
    """
    app.state.settings = settings
    opened: set[Opened] = app.state.opened
    for one in opened if settings.api_keys else ():
        one.check(settings.api_keys)
