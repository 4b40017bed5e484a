"""How many actors a load wants, by Serve's own context for policies."""

from __future__ import annotations

from typing import Any

import pytest
from ray.serve._private.autoscaling_state import _resolve_policy_callable
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from deployments.config import AutoscalingSettings, GreenroomConfig, ModelConfig
from deployments.pool import ByLoad, pool_deployment, scaling_options


def context(num_replicas: int, turns: list[float], kv_use: list[float]) -> AutoscalingContext:
    replicas = [ReplicaID(str(index), DeploymentID("Model-pocket")) for index in range(num_replicas)]
    metrics: dict[str, Any] = {
        "turns": dict(zip(replicas, turns, strict=False)),
        "kv_use": dict(zip(replicas, kv_use, strict=False)),
    }
    return AutoscalingContext(
        replicas[0].deployment_id, "Model-pocket", "greenroom", num_replicas, num_replicas, replicas,
        1000.0, 1000.0, metrics, None, 1, 4, {}, None, None, None, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("num_replicas", "turns", "kv_use", "wanted"),
    [
        (1, [0], [0], 1),
        (1, [16], [0], 1),
        (1, [17], [0], 2),
        (2, [10, 30], [0, 0], 3),
        (2, [1, 1], [0.9, 0.9], 3),
        (4, [100] * 4, [1] * 4, 4),
        (4, [1] * 4, [0.1] * 4, 1),
        (1, [], [], 1),
    ],
)
def test_the_load_decides_and_open_requests_do_not(
    num_replicas: int, turns: list[float], kv_use: list[float], wanted: int
) -> None:
    decided, _ = ByLoad(16, 0.8)(context(num_replicas, turns, kv_use))
    assert decided == wanted


def test_serve_takes_our_policy_with_its_targets() -> None:
    options = scaling_options(AutoscalingSettings(min_replicas=1, max_replicas=3, target_turns=7))
    config = AutoscalingConfig(**options["autoscaling_config"])
    assert isinstance(config.policy, AutoscalingPolicy)
    decided, _ = _resolve_policy_callable(config.policy)(context(1, [8], [0]))
    assert decided == 2


@pytest.mark.parametrize(("scaling", "passivate_after_s"), [({"min_replicas": 0}, 300.0), ({"min_replicas": 1}, None)])
def test_where_none_need_be_there_serve_has_one_replica_and_its_actor_may_go(
    scaling: dict[str, Any], passivate_after_s: float | None
) -> None:
    fields = {"name": "m", "start_timeout_s": 17, "autoscaling": {"max_replicas": 2, **scaling}}
    model = ModelConfig.model_validate(fields)
    replica = pool_deployment(model)._bound_deployment
    assert replica._deployment_config.autoscaling_config.min_replicas == 1
    assert replica.init_args[1] is model.is_passive is (passivate_after_s is not None)
    [settings] = GreenroomConfig(models=(model,)).settings().models
    assert (settings.passivate_after_s, settings.start_timeout_s) == (passivate_after_s, 17)
