"""What a client asks for, read and checked; the items that it only names are found."""

from __future__ import annotations

from api.cluster import Cluster
from api.errors import TooLarge
from api.http.models import find_model
from api.http.openai.agents.models import agent_of
from api.http.openai.envelope import InvalidField
from api.http.openai.responses.draft import Draft, draft_of
from api.http.openai.responses.references import resolved
from api.http.openai.responses.schemas import ResponseBody
from api.settings import ApiSettings
from api.tools import check_tools


async def drafted(cluster: Cluster, body: ResponseBody, owner: str, settings: ApiSettings, hint: str = "") -> Draft:
    """The response of a model that this body asks for.

    Args:
        hint: what the client calls the conversation, where the body does not.

    Raises:
        InvalidRequest: it cannot be.
        ItemNotFound, ModelNotFound: there is none of this name.
        TooLarge: its input has too many characters.
    """
    if agent_of(body.model):
        raise InvalidField("an agent answers POST /v1/responses only", "model", "unsupported")
    draft = await _drafted(cluster, body, owner, settings, body.model, hint)
    check_tools(draft.tools, draft.tool_choice)
    return draft


async def drafted_for_agent(cluster: Cluster, body: ResponseBody, owner: str, settings: ApiSettings) -> Draft:
    """The same of an agent, as if the default model gave it; its tools are not all."""
    return await _drafted(cluster, body, owner, settings, None)


async def _drafted(
    cluster: Cluster, body: ResponseBody, owner: str, settings: ApiSettings, model: str | None, hint: str = ""
) -> Draft:
    body.check()
    room = settings.max_prompt_chars - len(body.instructions or "")
    if room < 0:
        raise TooLarge(f"the instructions have more than {settings.max_prompt_chars} characters")
    items = await resolved(cluster, owner, body.entries(), room)
    return draft_of(body, items, await find_model(cluster, model), hint)
