"""The models, as OpenAI's clients list them."""

from __future__ import annotations

from api.cluster import Cluster, ModelInfo
from api.errors import ModelNotFound, Unavailable


async def find_model(cluster: Cluster, name: str | None) -> ModelInfo:
    """The model of this name or alias, the default one for None.

    Raises:
        ModelNotFound: no such model.
        Unavailable: none is configured, or no actor has told yet what the model is.
    """
    models = await cluster.models()
    if name is None:
        if not models:
            raise Unavailable("no model is served here")
        return models[0].known()
    for model in models:
        if name in (model.name, *model.aliases):
            return model.known()
    raise ModelNotFound(name)


def model_view(model: ModelInfo, name: str) -> dict[str, object]:
    """A model under one of its names; ``max_model_len`` is in tokens, as in vLLM."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "greenroom",
        "root": model.name,
        "max_model_len": model.max_context_tokens or None,
    }


async def models_view(cluster: Cluster) -> dict[str, object]:
    """All of them, under each of their names, the default one first."""
    models = await cluster.models()
    return {
        "object": "list",
        "data": [model_view(model, name) for model in models for name in (model.name, *model.aliases)],
    }
