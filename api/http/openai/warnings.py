"""What a request was not given, as ``Warning`` headers of its answer."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response


def with_warnings(response: Response, warnings: Iterable[str]) -> Response:
    """The response, with a header for each."""
    for warning in warnings:
        response.headers.append("Warning", f'199 greenroom "{quotable(warning)}"')
    return response


def quotable(text: str) -> str:
    """A text that can stand between quotes in a header."""
    plain = text.encode("ascii", "backslashreplace").decode()
    return "".join("'" if one in '"\\' else one for one in plain if one.isprintable())[:1000]
