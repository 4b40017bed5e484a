"""Errors as Petals clients read them: ``{"ok": false, "traceback": ...}``, where one line names the error."""

from __future__ import annotations

from starlette.responses import JSONResponse

from api.errors import (
    CapacityExhausted,
    GreenroomError,
    InvalidRequest,
    ModelNotFound,
    SessionNotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
    sentence_of,
)
from api.http.responses import INTERNAL_MESSAGE, error_headers


class BadParameter(InvalidRequest):
    """A parameter that cannot be used; ``kind`` is the Python exception that clients of Petals would have seen."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


def error_line(error: GreenroomError) -> str:
    """The last line of the traceback that a Petals server would have sent.

    Clients look for ``Maximum length exceeded``, ``Session … expired`` and ``attention cache is full`` in it.
    """
    match error:
        case BadParameter():
            return f"{error.kind}: {error.message}"
        case ModelNotFound():
            return f"KeyError: {error.name!r}"
        case SessionNotFound():
            return f"KeyError: {_quoted(error.name)!r}"
        case CapacityExhausted():
            return f"RuntimeError: attention cache is full: {sentence_of(error)}"
        case InvalidRequest() | TooLarge():
            return f"ValueError: {sentence_of(error)}"
        case Unauthorized():
            return f"PermissionError: {sentence_of(error)}"
        case _ if error.status >= 500 and not error.retryable:
            return f"RuntimeError: {INTERNAL_MESSAGE}"
        case _:
            return f"RuntimeError: {sentence_of(error)}"


def failure_body(error: GreenroomError) -> dict[str, object]:
    """The body of an answer, or the last message of a socket, which has no header to say when to try again."""
    hint = f"; try again in {error.retry_after_s:g} s" if isinstance(error, Unavailable) else ""
    return {"ok": False, "traceback": error_line(error) + hint}


def failure_response(error: GreenroomError) -> JSONResponse:
    """An error of a handler: status 200, as the protocol has it; 401 for a key that is missing or wrong."""
    status = error.status if isinstance(error, Unauthorized) else 200
    return JSONResponse(failure_body(error), status, error_headers(error))


def _quoted(session_id: str) -> str:
    return f"Session '{session_id}' expired or does not exist"
