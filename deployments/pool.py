"""The model pool: a Serve deployment whose replicas own one model actor each."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from typing import Any

import ray
from ray import serve
from ray.exceptions import ActorUnavailableError
from ray.serve.config import AutoscalingContext
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.calls.ray import ask
from actors.cluster.greenroom import Greenroom
from actors.models.actor import ModelActor
from actors.models.ref import ModelReport
from actors.settings import NAMESPACE
from api.logs import event_logger, start_logging
from deployments.config import AutoscalingSettings, ModelConfig
from deployments.handle_port import keep_handle_port_closed
from deployments.placement import bundles_of

log = event_logger("greenroom.pool")

POOL_PREFIX = "Model-"
"""What the name of every pool in Serve begins with."""


class ModelPool:
    """A replica: starts its model actor, answers for its health, reports its load, drains it when scaled down.

    The actor is restarted by Ray when its process dies; a replica whose actor stays away fails its health checks
    and is replaced by Serve. It knows its own model only, so that a change to another one does not restart it.
    """

    CONNECT_TIMEOUT_S = 120.0

    async def __init__(self, model: ModelConfig, share: float) -> None:  # type: ignore[misc]
        start_logging()
        keep_handle_port_closed()
        self._model = model
        greenroom = await Greenroom.connect(wait_s=self.CONNECT_TIMEOUT_S)
        options = ModelActor.options(
            name=f"model-{model.name}-{uuid.uuid4().hex[:8]}",
            namespace=NAMESPACE,
            max_restarts=-1,
            max_concurrency=10_000,
            enable_task_events=False,
            **actor_resources(model, ray.util.get_current_placement_group()),
        )
        self._actor = await asyncio.to_thread(options.remote, model.settings(share), greenroom.directory)
        await ask(self._actor.start.remote())
        self._report: ModelReport = await ask(self._actor.health.remote())
        self._healthy_at = time.monotonic()

    async def check_health(self) -> None:
        """Serve calls this; raises when the actor is gone for good, or has been away for longer than a start takes.

        A replica that gave up at once would take the actor with it while Ray is restarting that.
        """
        try:
            self._report = await ask(self._actor.health.remote())
            self._healthy_at = time.monotonic()
        except ActorUnavailableError:
            if time.monotonic() - self._healthy_at > self._model.start_timeout_s:
                raise

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve calls this; see ``ByLoad``."""
        capacity = self._report.capacity
        return {
            "turns": float(capacity.num_running + capacity.num_waiting),
            "kv_use": capacity.num_claimed_blocks / max(1, capacity.num_blocks),
        }

    async def __del__(self) -> None:
        """Serve calls this when the replica is to go: running turns end first, contexts move when next used."""
        actor = getattr(self, "_actor", None)
        if actor is not None:
            await ask(actor.drain.remote(self._model.drain_timeout_s))


class ByLoad:
    """Serve's autoscaling policy for model pools: as many replicas as the mean load wants.

    A class, since Serve hands ``policy_kwargs`` to a constructor only.
    """

    def __init__(self, target_turns: float, target_kv_use: float) -> None:
        self._targets = {"turns": target_turns, "kv_use": target_kv_use}

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """The number of replicas wanted, within Serve's bounds."""
        metrics = ctx.aggregated_metrics or {}
        load = max(_mean(metrics.get(name, {})) / target for name, target in self._targets.items())
        want = math.ceil(ctx.current_num_replicas * load)
        return min(max(want, ctx.capacity_adjusted_min_replicas), ctx.capacity_adjusted_max_replicas), {}


def _mean(by_replica: dict[Any, float]) -> float:
    return sum(by_replica.values()) / len(by_replica) if by_replica else 0.0


def pool_name(model: ModelConfig) -> str:
    """The pool's name in Serve."""
    return f"{POOL_PREFIX}{model.name}"


def scaling_options(scaling: AutoscalingSettings) -> dict[str, Any]:
    """Serve's options for these settings."""
    policy = {
        "policy_function": "deployments.pool:ByLoad",
        "policy_kwargs": {"target_turns": scaling.target_turns, "target_kv_use": scaling.target_kv_use},
    }
    return {
        "autoscaling_config": {
            "min_replicas": scaling.min_replicas,
            "max_replicas": scaling.max_replicas,
            "upscale_delay_s": scaling.upscale_delay_s,
            "downscale_delay_s": scaling.downscale_delay_s,
            "policy": policy,
        }
    }


def actor_resources(model: ModelConfig, group: PlacementGroup | None) -> dict[str, Any]:
    """What a model actor claims, and where: nothing in the replica's placement group, which is for its workers."""
    if not bundles_of(model):
        return {"num_cpus": model.num_cpus, "num_gpus": model.num_gpus}
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
    return {"num_cpus": 0, "num_gpus": 0, "scheduling_strategy": strategy}


def placement_options(model: ModelConfig) -> dict[str, Any]:
    """Serve's options for a replica with a placement group, which Serve removes with it: on as few nodes as hold it,
    and on CPUs, where vLLM's workers share memory, on one.
    """
    bundles = bundles_of(model)
    strategy = "PACK" if model.num_gpus else "STRICT_PACK"
    return {"placement_group_bundles": bundles, "placement_group_strategy": strategy} if bundles else {}


def pool_deployment(model: ModelConfig, share: float = 1.0) -> serve.Application:
    """The pool of one model, of which one owner may have a share."""
    replicas = {"num_replicas": model.num_replicas}
    options = scaling_options(model.autoscaling) if model.autoscaling else replicas
    deployment = serve.deployment(ModelPool).options(
        name=pool_name(model),
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=5,
        health_check_timeout_s=model.start_timeout_s,
        graceful_shutdown_timeout_s=model.drain_timeout_s + 10,
        max_constructor_retry_count=2,
        **options,
        **placement_options(model),
    )
    return deployment.bind(model.model_copy(update={"num_replicas": 1, "autoscaling": None}), share)
