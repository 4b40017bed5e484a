"""The application builder: what ``import_path`` in cluster.yaml names."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from ray import serve

from api.errors import InvalidRequest
from deployments.config import GreenroomConfig
from deployments.failures import sentence_of_validation
from deployments.gateway import gateway_deployment
from deployments.pool import pool_deployment


def build(args: dict[str, Any]) -> serve.Application:
    """The whole application from ``args`` of the YAML. Serve shows the error to everybody, so no value is in it.

    Raises:
        InvalidRequest: a setting is wrong; says which and how.
    """
    try:
        config = GreenroomConfig.model_validate(args)
    except ValidationError as error:
        raise InvalidRequest(sentence_of_validation(error)) from None
    return application(config)


def application(config: GreenroomConfig) -> serve.Application:
    """A gateway, and a pool for each model.

    Raises:
        InvalidRequest: a model of the hub cannot be found.
    """
    config = config.pinned()
    return gateway_deployment(config, [pool_deployment(model, config.share) for model in config.models])
