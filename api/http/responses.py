"""Views and errors as HTTP answers, and errors as WebSocket closes."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from typing_extensions import TypedDict

from api.errors import GreenroomError, NotFound, TooLarge, Unauthorized, sentence_of
from api.http.openai.envelope import InvalidField, OpenAIErrorBody, is_openai_path, openai_error_body
from api.http.security import selected_subprotocol

logger = logging.getLogger("greenroom.http")

ERROR_HEADER = "X-Greenroom-Error"

INTERNAL_MESSAGE = "Something inside the server went wrong; it has been logged."

CLOSE_POLICY, CLOSE_TOO_LARGE, CLOSE_INTERNAL, CLOSE_TRY_LATER, CLOSE_NOT_FOUND = 1008, 1009, 1011, 1013, 4404
"""WebSocket close codes (RFC 6455, the IANA registry for 1013, and one of the range for applications)."""


class ErrorFields(TypedDict):
    """What went wrong; ``retryable`` where the same request might succeed later."""

    code: str
    message: str
    retryable: bool


class ErrorBody(TypedDict):
    """An error of our own API."""

    error: ErrorFields


def error_headers(error: GreenroomError) -> dict[str, str]:
    """The headers that go with an error, whatever the body's form."""
    headers = {ERROR_HEADER: error.code}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def error_response(error: GreenroomError, path: str) -> JSONResponse:
    """An error of the tree as an HTTP answer: in the form of our own API, or in OpenAI's under its paths."""
    message = sentence_of(error)
    body: ErrorBody | OpenAIErrorBody = {
        "error": {"code": error.code, "message": message, "retryable": error.retryable}
    }
    if is_openai_path(path):
        param = error.param if isinstance(error, InvalidField) else None
        body = openai_error_body(error.status, error.code, message, param)
    return JSONResponse(body, error.status, error_headers(error))


def internal_error_response(path: str) -> JSONResponse:
    """The answer to an unexpected exception; tells no internals."""
    return error_response(GreenroomError(INTERNAL_MESSAGE), path)


async def on_greenroom_error(connection: Request | WebSocket, error: Exception) -> Response | None:
    """Exception handler for the whole error tree."""
    assert isinstance(error, GreenroomError)
    if error.status >= 500 and not error.retryable:
        logger.error("%s: %s", error.code, sentence_of(error), exc_info=error)
    if isinstance(connection, WebSocket):
        await close_socket(connection, close_code(error), error.code)
        return None
    return error_response(error, connection.scope["path"])


def close_code(error: GreenroomError) -> int:
    """The close code of a socket that this error ends."""
    if error.retryable:
        return CLOSE_TRY_LATER
    if error.status >= 500:
        return CLOSE_INTERNAL
    match error:
        case NotFound():
            return CLOSE_NOT_FOUND
        case TooLarge():
            return CLOSE_TOO_LARGE
    return CLOSE_POLICY


async def on_http_exception(connection: Request | WebSocket, error: Exception) -> Response | None:
    """Exception handler for what the router refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    if isinstance(connection, WebSocket):
        await close_socket(connection, CLOSE_POLICY, "not_found")
        return None
    code = HTTPStatus(error.status_code).name.lower()
    headers = dict(error.headers or {}) | {ERROR_HEADER: code}
    body: ErrorBody | OpenAIErrorBody = {"error": {"code": code, "message": error.detail, "retryable": False}}
    if is_openai_path(connection.scope["path"]):
        scope = connection.scope
        body = openai_error_body(error.status_code, code, f"{error.detail}: {scope['method']} {scope['path']}")
    return JSONResponse(body, error.status_code, headers)


CLIENT_CLOSED_REQUEST = 499
"""The status in our log of a request whose client left; nobody receives it."""


async def on_client_disconnect(connection: Request | WebSocket, error: Exception) -> Response:
    """Exception handler for a client that leaves before its whole body has come: not a fault, and not answered."""
    assert isinstance(error, ClientDisconnect)
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def close_socket(socket: WebSocket, code: int, reason: str = "") -> None:
    """Close a socket in whatever state it is, accepting it first so that the client sees the code."""
    try:
        if socket.client_state is WebSocketState.CONNECTING:
            await socket.accept(selected_subprotocol(socket))
        if socket.application_state is WebSocketState.CONNECTED:
            await socket.close(code, reason)
    except (WebSocketDisconnect, RuntimeError, OSError):
        logger.debug("the client had left before its socket was closed with %d", code)


def answer(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A view as JSON."""
    return Response(view.model_dump_json(), status, headers, "application/json")
