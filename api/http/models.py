"""The cluster, and the model that a request names."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from api.cluster import Cluster, ModelInfo
from api.errors import ModelNotFound, Unavailable


def cluster_of(connection: HTTPConnection) -> Cluster:
    """The cluster that answers."""
    cluster: Cluster = connection.app.state.cluster
    return cluster


async def find_model(cluster: Cluster, name: str | None) -> ModelInfo:
    """The model of this name or alias, the default one for None. One that has never been in memory is started for that.

    Raises:
        ModelNotFound: no such model.
        Unavailable: none is configured, or no actor has told yet what the model is, or it cannot be started.
    """
    model = await _find(cluster, name)
    if model.has_to_start:
        await cluster.tokenize(model.name, "")
        model = await _find(cluster, model.name)
    return model.known()


async def _find(cluster: Cluster, name: str | None) -> ModelInfo:
    models = await cluster.models()
    if name is None:
        if not models:
            raise Unavailable("no model is served here")
        return models[0]
    for model in models:
        if name in (model.name, *model.aliases):
            return model
    raise ModelNotFound(name)
