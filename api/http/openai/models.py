"""The models, as OpenAI's clients list them."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from api.cluster import Cluster, ModelInfo


class ModelObject(TypedDict):
    """A model under one of its names; ``max_model_len`` is in tokens, as in vLLM."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    max_model_len: int | None


class ModelList(TypedDict):
    """All models, under each of their names, the default one first."""

    object: Literal["list"]
    data: list[ModelObject]


def model_view(model: ModelInfo, name: str) -> ModelObject:
    """A model under one of its names."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "greenroom",
        "root": model.name,
        "max_model_len": model.max_context_tokens or None,
    }


async def models_view(cluster: Cluster) -> ModelList:
    """All of them."""
    models = await cluster.models()
    return {
        "object": "list",
        "data": [model_view(model, name) for model in models for name in (model.name, *model.aliases)],
    }
