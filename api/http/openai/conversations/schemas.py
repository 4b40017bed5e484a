"""The bodies of conversations' routes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.http.openai.responses.items import InputItem
from api.http.openai.responses.schemas import MAX_ITEMS, Metadata
from api.http.openai.schemas import Lenient

Items = Annotated[tuple[InputItem, ...], Field(max_length=MAX_ITEMS)]


class ConversationBody(Lenient):
    """``POST /v1/conversations``."""

    items: Items | None = None
    metadata: Metadata | None = None


class UpdateBody(Lenient):
    """``POST /v1/conversations/{id}``; these metadata take the place of those before."""

    metadata: Metadata | None


class ItemsBody(Lenient):
    """``POST /v1/conversations/{id}/items``."""

    items: Items
