"""Errors as OpenAI's clients read them: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing_extensions import TypedDict

from api.errors import InvalidRequest

PREFIX = "/v1"

_CODES = {
    "unauthorized": "invalid_api_key",
    "length_exceeded": "context_length_exceeded",
    "too_busy": "rate_limit_exceeded",
    "not_found": "unknown_url",
}
_PARAMS = {
    "model_not_found": "model",
    "previous_response_not_found": "previous_response_id",
    "conversation_not_found": "conversation",
}


class OpenAIError(TypedDict):
    """What went wrong; ``param`` is the field of the body."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIErrorBody(TypedDict):
    """An error of OpenAI's API."""

    error: OpenAIError


class InvalidField(InvalidRequest):
    """A field of the body that cannot be served as it stands."""

    def __init__(self, message: str, param: str | None, code: str = "invalid_value") -> None:
        super().__init__(message, param, code)
        self.message = message
        self.param = param
        self.code = code

    def __str__(self) -> str:
        return self.message


def is_openai_path(path: str) -> bool:
    """Whether errors of this path have this form."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def openai_error_body(status: int, code: str, message: str, param: str | None = None) -> OpenAIErrorBody:
    """The JSON form of an error whose code in our own tree is ``code``."""
    error: OpenAIError = {
        "message": message,
        "type": _type(status),
        "param": param or _PARAMS.get(code),
        "code": _CODES.get(code, code),
    }
    return {"error": error}


def _type(status: int) -> str:
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"
