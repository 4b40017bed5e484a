"""What a client asks for, read and checked; the items that it only names are found."""

from __future__ import annotations

from api.cluster import Cluster
from api.errors import TooLarge
from api.http.models import find_model
from api.http.openai.responses.conversation import find_item
from api.http.openai.responses.draft import Draft, draft_of
from api.http.openai.responses.items import num_chars
from api.http.openai.responses.schemas import ResponseBody
from api.settings import ApiSettings


async def drafted(cluster: Cluster, body: ResponseBody, owner: str, settings: ApiSettings, hint: str = "") -> Draft:
    """The response that this body asks for.

    Args:
        hint: what the client calls the conversation, where the body does not.

    Raises:
        InvalidRequest: it cannot be.
        ItemNotFound, ModelNotFound: there is none of this name.
        TooLarge: its input has too many characters.
    """
    body.check()
    entries = body.entries()
    items = [await find_item(cluster, entry, owner) if isinstance(entry, str) else entry for entry in entries]
    if num_chars(items) + len(body.instructions or "") > settings.max_prompt_chars:
        raise TooLarge(f"the input has more than {settings.max_prompt_chars} characters")
    return draft_of(body, items, await find_model(cluster, body.model), hint)
