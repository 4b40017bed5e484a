"""Agents among the models."""

from __future__ import annotations

from api.cluster import Cluster
from api.errors import ModelNotFound
from api.http.openai.models import ModelObject

PREFIX = "agent/"


def agent_of(model: str | None) -> str | None:
    """The name of the agent that stands for a model; None where it is none."""
    return model.removeprefix(PREFIX) if model and model.startswith(PREFIX) else None


async def agent_models(cluster: Cluster, owner: str) -> list[ModelObject]:
    """Those that this owner can prompt."""
    return [_view(PREFIX + agent.name) for agent in await cluster.agents.agents(owner)]


async def agent_model(cluster: Cluster, name: str, owner: str) -> ModelObject:
    """One of them.

    Raises:
        ModelNotFound
    """
    for view in await agent_models(cluster, owner):
        if view["id"] == name:
            return view
    raise ModelNotFound(name)


def _view(name: str) -> ModelObject:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "greenroom",
        "root": name,
        "max_model_len": None,
    }
