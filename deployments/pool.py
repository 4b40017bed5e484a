"""The model pool: a Serve deployment whose replicas own one model actor each."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from contextlib import suppress
from typing import Any

import ray
from ray import serve
from ray.exceptions import ActorUnavailableError
from ray.serve.config import AutoscalingContext
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.calls.ray import ActorGone, ask
from actors.calls.scope import Scope
from actors.cluster.greenroom import Greenroom
from actors.models.actor import ModelActor
from actors.models.presence import Presence
from actors.models.ref import ModelReport
from actors.settings import NAMESPACE
from api.errors import GreenroomError, Unavailable
from api.logs import event_logger, start_logging
from deployments.config import AutoscalingSettings, ModelConfig
from deployments.failures import sentence_of_trace
from deployments.handle_port import keep_handle_port_closed
from deployments.overlay import MODEL_SETTINGS, SCALE, model_settings, overlaid_model
from deployments.placement import bundles_of, reservation_of
from deployments.version import files_of, version_of

log = event_logger("greenroom.pool")

POOL_PREFIX = "Model-"
"""What the name of every pool in Serve begins with."""


class ModelPool:
    """A replica: starts its model actor, answers for its health, reports its load, drains it when scaled down.

    The actor is restarted by Ray when its process dies; a replica whose actor stays away fails its health checks
    and is replaced by Serve. It knows its own model only, so that a change to another one does not restart it.

    Where the model may leave memory, the replica stays, and starts and ends the actor as ``Presence`` has it do. Were
    there no replica, Serve 2.60 would give the model up for good after two starts that fail, or would try without end.

    Args:
        is_passive: the actor is not started before somebody uses the model.
    """

    CONNECT_TIMEOUT_S = 120.0

    def __init__(self, model: ModelConfig, is_passive: bool = False) -> None:
        keep_handle_port_closed()
        self._given = self._model = model
        self._is_passive = is_passive
        self._actor: Any = None
        self._group: PlacementGroup | None = None
        self._report: ModelReport | None = None
        self._scope: Scope | None = None
        self._healthy_at = time.monotonic()

    async def reconfigure(self, user_config: Any, rank: Any = None) -> None:
        """Serve calls this before all else, and when ``user_config`` is another; for ``rank`` see the gateway.

        Wrong settings are not taken: a replica that runs keeps those that it has, and a new one does not start.
        """
        try:
            model = overlaid_model(self._given, user_config)
            if self._scope is None:
                await self._begin(model)
            elif self._actor is not None:
                await self._apply(self._actor, model)
        except GreenroomError as error:
            if self._scope is None:
                raise
            log.warning("these settings are not taken, the earlier ones hold", model=self._model.name, error=str(error))
            if self._actor is not None:
                with suppress(ActorGone):
                    await ask(self._actor.tell_problem.remote(str(error)))
        else:
            self._model = model

    async def _begin(self, model: ModelConfig) -> None:
        start_logging()
        self._model = model
        self._healthy_at = time.monotonic()
        self._directory = (await Greenroom.connect(wait_s=self.CONNECT_TIMEOUT_S)).directory
        if not self._is_passive:
            await self._start_actor()
        self._scope = Scope()
        self._scope.start(Presence(model.name, self, self._directory).keep())

    async def _apply(self, actor: Any, model: ModelConfig) -> None:
        """Give a model actor these settings; one that is away gets them when it is back."""
        with suppress(ActorGone):
            await ask(actor.reconfigure.remote(model.settings(1.0)))

    @property
    def is_there(self) -> bool:
        """See ``Host``."""
        return self._actor is not None

    async def start(self) -> None:
        """See ``Host``."""
        try:
            async with asyncio.timeout(self._model.start_timeout_s):
                await self._start_actor()
        except GreenroomError:
            raise
        except TimeoutError:
            raise Unavailable(await self._why_so_long()) from None
        except ActorGone:
            raise Unavailable("its process ended while it started") from None
        except Exception as error:
            raise Unavailable(sentence_of_trace(str(error))) from None

    async def end_unused(self, idle_s: float) -> None:
        """See ``Host``."""
        actor = self._actor
        try:
            may_end = await ask(actor.retire.remote(idle_s))
        except ActorGone:  # Ray restarts it
            return
        if may_end:
            self._actor, self._report = None, None
            await asyncio.to_thread(self._end, actor)

    async def check_health(self) -> None:
        """Serve calls this; raises when the actor is gone for good, or has been away for longer than a start takes.

        A replica that gave up at once would take the actor with it while Ray is restarting that.
        """
        actor = self._actor
        try:
            report: ModelReport | None = None if actor is None else await ask(actor.health.remote())
            if report and self._report and report.incarnation != self._report.incarnation:
                await self._apply(actor, self._model)  # Ray has restarted it
            self._report = report
            self._healthy_at = time.monotonic()
        except ActorUnavailableError:
            if time.monotonic() - self._healthy_at > self._model.start_timeout_s:
                raise
        except ActorGone:
            if actor is self._actor:
                raise

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve calls this; see ``ByLoad``."""
        if self._report is None:
            return {"turns": 0.0, "kv_use": 0.0}
        capacity = self._report.capacity
        return {
            "turns": float(capacity.num_running + capacity.num_waiting),
            "kv_use": capacity.num_claimed_blocks / max(1, capacity.num_blocks),
        }

    async def __del__(self) -> None:
        """Serve calls this when the replica is to go: running turns end first, contexts move when next used."""
        if self._scope is not None:
            self._scope.cancel()
        if self._actor is not None:
            await ask(self._actor.drain.remote(self._model.drain_timeout_s))

    async def _start_actor(self) -> None:
        model = self._model
        actor = await asyncio.to_thread(self._make, ray.util.get_current_placement_group())
        try:
            await ask(actor.start.remote())
            self._report = await ask(actor.health.remote())
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._end, actor))
            raise
        self._actor, self._healthy_at = actor, time.monotonic()
        if self._model != model:
            await self._apply(actor, self._model)

    def _make(self, group: PlacementGroup | None) -> Any:
        """A new actor. A replica that begins without one has no placement group for workers: it is made here."""
        if group is None and (bundles := bundles_of(self._model)):
            group = self._group = placement_group(bundles, strategy_of(self._model))
        options = ModelActor.options(
            name=f"model-{self._model.name}-{uuid.uuid4().hex[:8]}",
            namespace=NAMESPACE,
            max_restarts=-1,
            max_concurrency=10_000,
            enable_task_events=False,
            **actor_resources(self._model, group),
        )
        return options.remote(self._model.settings(1.0), self._directory)

    def _end(self, actor: Any) -> None:
        ray.kill(actor, no_restart=True)
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None

    async def _why_so_long(self) -> str:
        if any(start.name == self._model.name for start in await self._directory.starts()):
            return f"it took more than {self._model.start_timeout_s:g} s"
        wanted = " and ".join(f"{amount:g} {name}" for name, amount in reservation_of(self._model).items() if amount)
        return f"Ray had no room for {wanted or 'its actor'} within {self._model.start_timeout_s:g} s"


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
            "min_replicas": max(1, scaling.min_replicas),
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


def strategy_of(model: ModelConfig) -> str:
    """Where the bundles of a placement group go: on as few nodes as hold them, and on CPUs, where vLLM's workers share
    memory, on one.
    """
    return "PACK" if model.num_gpus else "STRICT_PACK"


def placement_options(model: ModelConfig) -> dict[str, Any]:
    """Serve's options for a replica with a placement group, which Serve removes with it."""
    if model.is_passive or not (bundles := bundles_of(model)):
        return {}
    return {"placement_group_bundles": bundles, "placement_group_strategy": strategy_of(model)}


def pool_deployment(model: ModelConfig, share: float = 1.0) -> serve.Application:
    """The pool of one model, of which one owner may have a share.

    One replica after another restarts where the model itself is another one, and takes all else in place.
    """
    model = model.model_copy(update={"owner_share": model.owner_share or share})
    replicas = {"num_replicas": model.num_replicas}
    options = scaling_options(model.autoscaling) if model.autoscaling else replicas
    itself = model.model_dump(mode="json", exclude={"name", *MODEL_SETTINGS, *SCALE})
    deployment = serve.deployment(ModelPool).options(
        name=pool_name(model),
        version=version_of({**itself, "files": files_of(model.path), "placement": placement_options(model)}),
        user_config=model_settings(model),
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=5,
        health_check_timeout_s=model.start_timeout_s,
        graceful_shutdown_timeout_s=model.drain_timeout_s + 10,
        max_constructor_retry_count=2,
        _internal=True,  # a version of our own
        **options,
        **placement_options(model),
    )
    return deployment.bind(model.model_copy(update={"num_replicas": 1, "autoscaling": None}), model.is_passive)
