"""Serve's ``user_config``: settings that running replicas take in place, laid over those of ``args``.

It has the shape of ``args``: of the whole for the gateway, of one model for its pool. Sections are merged, and settings
replace what ``args`` say. Serve shows it to everybody, so there are no secrets in what is made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from api.errors import InvalidRequest
from deployments.config import MCP, GreenroomConfig, ModelConfig
from deployments.failures import sentence_of_validation

GATEWAY_SETTINGS = frozenset({"models", "sessions", "broker", "inferlets", "agents", "api", "recovery_timeout_s"})
"""Of the whole, in place; without the MCP servers of agents, and of models only what the directory knows of each."""

MODEL_SETTINGS = frozenset(
    {
        *("aliases", "adapters", "owner_share", "max_warm_contexts"),
        *("orphan_timeout_s", "drain_timeout_s", "start_timeout_s"),
    }
)
"""Of one model, in place."""

SCALE = frozenset({"num_replicas", "autoscaling", "num_gateways"})
"""What Serve itself does in place."""

_NOT_IN_PLACE = "cannot change in place, say it under args"
_OF_SERVE = "it is Serve's: say num_replicas or autoscaling_config beside user_config"
_KNOWN_OF_MODEL = frozenset({"name", "path", "engine", "aliases", "autoscaling", "start_timeout_s"})

Config = TypeVar("Config", GreenroomConfig, ModelConfig)


def gateway_settings(config: GreenroomConfig) -> dict[str, Any]:
    """What the gateways take in place."""
    said = config.model_dump(mode="json", include=set(GATEWAY_SETTINGS))
    said["models"] = [model.model_dump(mode="json", include=set(_KNOWN_OF_MODEL)) for model in config.models]
    said["agents"] = {name: path for name, path in config.agents.items() if name != MCP}
    return said


def model_settings(model: ModelConfig) -> dict[str, Any]:
    """What the pool of a model takes in place."""
    return model.model_dump(mode="json", include=set(MODEL_SETTINGS))


def overlaid_config(config: GreenroomConfig, user_config: Any) -> GreenroomConfig:
    """The configuration that a gateway runs with.

    Raises:
        InvalidRequest: one sentence on what is wrong in ``user_config``.
    """
    said = _mapping(user_config)
    if isinstance(agents := said.get("agents"), Mapping):
        if MCP in agents:
            raise InvalidRequest(f"user_config: agents.{MCP}: {_NOT_IN_PLACE}")
        said["agents"] = {**agents, **{name: servers for name, servers in config.agents.items() if name == MCP}}
    return _overlaid(config, said, GATEWAY_SETTINGS)


def overlaid_model(model: ModelConfig, user_config: Any) -> ModelConfig:
    """The configuration that the pool of a model runs with.

    Raises:
        InvalidRequest: one sentence on what is wrong in ``user_config``.
    """
    return _overlaid(model, _mapping(user_config), MODEL_SETTINGS)


def _mapping(user_config: Any) -> dict[str, Any]:
    if user_config is None:
        return {}
    if not isinstance(user_config, Mapping):
        raise InvalidRequest("user_config: settings by their names are expected")
    return dict(user_config)


def _overlaid(config: Config, said: Mapping[str, Any], in_place: frozenset[str]) -> Config:
    for name in sorted((set(said) & set(type(config).model_fields)) - in_place):
        raise InvalidRequest(f"user_config: {name}: {_NOT_IN_PLACE if name not in SCALE else _OF_SERVE}")
    try:
        return type(config).model_validate(_merged(config, said))
    except ValidationError as error:
        raise InvalidRequest(f"user_config: {sentence_of_validation(error)}") from None


def _merged(section: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    """A section's settings by name; those that are said replace it, and sections in it are merged."""
    merged = {name: getattr(section, name) for name in _names(section)}
    for name, value in said.items():
        part = merged.get(name)
        merged[name] = _merged(part, value) if _names(part) and isinstance(value, Mapping) else value
    return merged


def _names(section: Any) -> list[str]:
    """Of the settings in a section; none of what is a setting itself."""
    if isinstance(section, BaseModel):
        return list(type(section).model_fields)
    return [one.name for one in fields(section)] if is_dataclass(section) and not isinstance(section, type) else []
