"""Routes that say what they take and answer, of which ``/openapi.json`` is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

JsonObject = dict[str, Any]
"""A JSON body without a schema."""

EVENTS = "text/event-stream"

Content = Any
"""The type of a JSON body, a media type, a tuple of these, or None for no body."""


class Operation(Route):
    """One method of one path.

    Args:
        takes: the content of its body.
        query: the types of its query parameters.
        answers: content by status; errors have one form each and are not named.
        is_open: no key is asked for.
        answers_head: whether a GET answers HEAD as well.
    """

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Any,
        *,
        takes: Content = None,
        query: Mapping[str, Any] | None = None,
        answers: Mapping[int, Content],
        is_open: bool = False,
        answers_head: bool = True,
    ) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.method = method
        if not answers_head:
            self.methods = {method}
        self.takes = takes
        self.query = query or {}
        self.answers = answers
        self.is_open = is_open


def kinds_of(content: Content) -> tuple[Any, ...]:
    """The types and media types of a content."""
    if content is None:
        return ()
    return content if isinstance(content, tuple) else (content,)
