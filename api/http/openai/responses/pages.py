"""Lists in pages, and numbers in queries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from api.http.openai.envelope import InvalidField
from api.http.openai.responses.items import Item

DEFAULT_LIMIT, MAX_LIMIT = 20, 100

PAGE_QUERY = {
    "limit": Annotated[int, Field(ge=1, le=MAX_LIMIT)],
    "order": Literal["asc", "desc"],
    "after": str,
}
"""Types of what ``page_of`` reads."""

_NUMBER = re.compile(r"-?[0-9]{1,15}")


def number_of(text: str | None, name: str, default: int) -> int:
    """A number of the query.

    Raises:
        InvalidField: it is none.
    """
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise InvalidField(f"{name} must be a whole number", name)
    return int(text)


def page_of(items: Sequence[Item], query: Mapping[str, str]) -> dict[str, Any]:
    """The page of these items, the oldest of which comes first, that ``order``, ``after`` and ``limit`` name.

    Raises:
        InvalidField: there is no such page.
    """
    limit, order, after = (
        number_of(query.get("limit"), "limit", DEFAULT_LIMIT),
        query.get("order", "desc"),
        query.get("after"),
    )
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidField(f"limit must lie between 1 and {MAX_LIMIT}", "limit")
    if order not in ("asc", "desc"):
        raise InvalidField("order must be 'asc' or 'desc'", "order")
    ordered = list(items) if order == "asc" else list(reversed(items))
    if after is not None:
        place = next((place for place, item in enumerate(ordered) if item["id"] == after), None)
        if place is None:
            raise InvalidField(f"there is no item {after!r:.100}", "after")
        ordered = ordered[place + 1 :]
    page = ordered[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(ordered) > limit,
    }
