"""Lists in pages, and numbers in queries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page is asked for: at most ``limit`` items, after this one or from the first on."""

    limit: int
    is_newest_first: bool
    after: str | None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> PageQuery:
        """That of a query with ``order``, ``after`` and ``limit``.

        Raises:
            InvalidField: there is no such page.
        """
        limit, order = number_of(query.get("limit"), "limit", DEFAULT_LIMIT), query.get("order", "desc")
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidField(f"limit must lie between 1 and {MAX_LIMIT}", "limit")
        if order not in ("asc", "desc"):
            raise InvalidField("order must be 'asc' or 'desc'", "order")
        return cls(limit, order == "desc", query.get("after"))


def page_of(items: Sequence[Item], query: Mapping[str, str]) -> dict[str, Any]:
    """The page of these items, the oldest of which comes first, that the query asks for.

    Raises:
        InvalidField: there is no such page.
    """
    asked = PageQuery.of(query)
    ordered = list(reversed(items)) if asked.is_newest_first else list(items)
    if asked.after is not None:
        place = next((place for place, item in enumerate(ordered) if item["id"] == asked.after), None)
        if place is None:
            raise no_such_item(asked.after)
        ordered = ordered[place + 1 :]
    return page_view(ordered[: asked.limit], len(ordered) > asked.limit)


def no_such_item(item_id: str) -> InvalidField:
    """``after`` names an item that is not in the list."""
    return InvalidField(f"there is no item {item_id!r:.100}", "after")


def page_view(page: Sequence[Item], has_more: bool) -> dict[str, Any]:
    """A page as clients see it."""
    return {
        "object": "list",
        "data": list(page),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": has_more,
    }
