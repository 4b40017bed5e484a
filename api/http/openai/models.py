"""The models, as OpenAI's clients list them."""

from __future__ import annotations

from api.cluster import Cluster, ModelInfo


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
