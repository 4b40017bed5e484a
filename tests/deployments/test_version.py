"""Which settings restart a deployment, in the words of Serve's own comparison, and which reach it in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.serve import Application
from ray.serve._private.version import DeploymentVersion

from deployments.app import application
from deployments.config import GreenroomConfig, ModelConfig, embedded_model
from deployments.version import changed_settings, version_of
from tests.deployments.checkpoints import write_checkpoint

POCKET = {"name": "pocket"}
ANOTHER = {"name": "another", "num_cpus": 1}

MODEL_CHANGES: dict[str, tuple[Any, bool]] = {
    "aliases": (["tiny"], False),
    "adapters": ({"pirate": "/models/pirate"}, False),
    "owner_share": (0.5, False),
    "max_warm_contexts": (7, False),
    "orphan_timeout_s": (7, False),
    "drain_timeout_s": (7, False),
    "start_timeout_s": (7, False),
    "num_replicas": (3, False),
    "autoscaling": ({"max_replicas": 3}, False),
    "path": (str(Path(embedded_model()).parent), True),
    "engine": ("torch", True),
    "engine_args": ({"max_running": 7}, True),
    "tool_format": ("hermes", True),
    "embeddings": (True, True),
    "num_gpus": (1, True),
    "num_cpus": (2, True),
}
"""A change of each setting of a model, and whether its actors must be started anew for it."""

GATEWAY_CHANGES: dict[str, tuple[Any, bool]] = {
    "models": ([POCKET, ANOTHER], False),
    "sessions": ({"max_sessions": 7}, False),
    "broker": ({"max_topics": 7}, False),
    "inferlets": ({"max_inferlets": 7}, False),
    "agents": ({"helper": "package.module:helper"}, False),
    "journal": ({"path": "/elsewhere"}, False),
    "api": ({"api_keys": [{"key": "key-of-ada", "owner": "ada"}], "max_sockets": 7}, False),
    "num_gateways": (3, False),
    "recovery_timeout_s": (7, False),
    "listen": ({"port": 9000}, True),
    "agents.mcp": ({"mcp": {"files": {"command": ["npx"], "env": {"TOKEN": "hunter2-hunter2"}}}}, True),
}


def versions(config: dict[str, Any]) -> dict[str, DeploymentVersion]:
    """Of each deployment, as Serve makes them of what it is sent."""
    return {one.name: _version(one) for one in deployments_of(application(GreenroomConfig.model_validate(config)))}


def deployments_of(app: Application) -> list[Any]:
    gateway = app._bound_deployment
    return [gateway, *(pool._bound_deployment for pool in gateway.init_args[1])]


def _version(one: Any) -> DeploymentVersion:
    replica = one._replica_config
    bundles, strategy = replica.placement_group_bundles, replica.placement_group_strategy
    return DeploymentVersion(one.version, one._deployment_config, replica.ray_actor_options, bundles, strategy)


def restarted(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The deployments whose replicas Serve would start anew."""
    old, new = versions(before), versions(after)
    return {name for name in set(old) & set(new) if old[name].requires_actor_restart(new[name])}


@pytest.mark.parametrize("name", sorted(set(ModelConfig.model_fields) - {"name"}))
def test_a_changed_model_restarts_alone_and_only_for_what_it_is_made_of(name: str) -> None:
    value, restarts = MODEL_CHANGES[name]
    before, after = {"models": [POCKET, ANOTHER]}, {"models": [{**POCKET, name: value}, ANOTHER]}
    assert restarted(before, after) == ({"Model-pocket"} if restarts else set())
    old, new = versions(before), versions(after)
    changed = {part for part in old if old[part] != new[part]}
    if not restarts and name not in ("num_replicas", "autoscaling"):
        assert "Model-pocket" in changed
    assert "Model-another" not in changed


@pytest.mark.parametrize("name", sorted({*GreenroomConfig.model_fields, "agents.mcp"}))
def test_the_gateway_restarts_only_for_where_it_listens_and_for_what_is_secret(name: str) -> None:
    value, restarts = GATEWAY_CHANGES[name]
    before: dict[str, Any] = {"listen": {"port": 8000}, "models": [POCKET]}
    assert restarted(before, {**before, name.partition(".")[0]: value}) == ({"Gateway"} if restarts else set())


def test_other_weights_in_a_model_directory_are_another_model(tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path / "model", [[4, 4]])
    config = {"models": [{"name": "m", "path": str(directory)}]}
    before = versions(config)["Model-m"]
    assert not before.requires_actor_restart(versions(config)["Model-m"])
    with (directory / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert before.requires_actor_restart(versions(config)["Model-m"])


def test_two_versions_tell_what_differs() -> None:
    before, after = version_of({"path": "/a", "engine": "torch"}), version_of({"path": "/b", "engine": "torch"})
    assert changed_settings(before, after) == ["path"]
    assert changed_settings(before, before) == []
    assert changed_settings("of-serve-itself", after) == [""]


def test_nothing_that_serve_shows_has_a_secret() -> None:
    keys = [{"key": "hunter2-of-ada", "owner": "ada"}]
    mcp = {"files": {"url": "https://x.example", "headers": {"Authorization": "hunter2-of-mcp"}}}
    config = GreenroomConfig.model_validate({"api": {"api_keys": keys}, "agents": {"mcp": mcp}})
    for one in deployments_of(application(config)):
        assert "hunter2" not in str(one.user_config) + one.version
        assert one.user_config
