"""How a Greenroom is: its models, sessions, gateways and journal, at one moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray
from ray import serve

from actors.cluster.greenroom import Greenroom
from actors.models.ref import ModelReport
from actors.settings import ModelSettings
from deployments.gateway import GATEWAY
from deployments.listening import proxy_address
from deployments.plan import local_url
from deployments.rollout import APPLICATION, problem_of


@dataclass(frozen=True, slots=True)
class ModelOverview:
    """A model, over all of its actors.

    Attributes:
        num_ready, num_draining: its actors.
        is_passive: there is none since nobody uses it.
        max_context: tokens.
        kv_use: the part of the attention cache that is in use, 0 to 1.
        counters: see ``Capacity.counters``; of live actors.
    """

    name: str
    engine: str
    devices: tuple[str, ...]
    num_ready: int
    num_draining: int
    max_context: int
    num_contexts: int
    num_running: int
    num_waiting: int
    kv_use: float
    counters: Mapping[str, int]
    is_passive: bool = False


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything.

    Attributes:
        state: of the Serve application, in Serve's words; "NOT_DEPLOYED" where only the actors are left.
        num_nodes: of the Ray cluster.
        num_gateways: that run.
        problem: why it, or a part of it, cannot run; "" where nothing is wrong.
    """

    url: str
    state: str
    ray_address: str
    ray_version: str
    num_nodes: int
    num_gateways: int
    journal: str
    num_active: int
    num_passive: int
    models: tuple[ModelOverview, ...]
    problem: str = ""


async def overview_of(greenroom: Greenroom, ray_address: str) -> Overview:
    """Ask the directory and Serve.

    Raises:
        Unavailable: the directory does not answer.
    """
    settings = await greenroom.directory.settings()
    reports = await greenroom.directory.reports()
    infos = await greenroom.models()
    passive, problems = {info.name for info in infos if info.is_passive}, [info.problem for info in infos]
    states = Counter(session.state for session in await greenroom.directory.sessions(None))
    application = serve.status().applications.get(APPLICATION)
    gateway = application.deployments.get(GATEWAY) if application else None
    address = settings.listens_at or await asyncio.to_thread(proxy_address)
    return Overview(
        url=local_url(*address) if address else "",
        state=str(application.status.value) if application else "NOT_DEPLOYED",
        ray_address=ray_address,
        ray_version=ray.__version__,
        num_nodes=sum(node["Alive"] for node in ray.nodes()),
        num_gateways=gateway.replica_states.get("RUNNING", 0) if gateway else 0,
        journal=settings.journal.place,
        num_active=states["active"],
        num_passive=states["passive"],
        models=tuple(model_overview(model, reports, model.name in passive) for model in settings.models),
        problem=(problem_of(application, reports) if application else "") or next(filter(None, problems), ""),
    )


def model_overview(model: ModelSettings, reports: Sequence[ModelReport], is_passive: bool = False) -> ModelOverview:
    """Add up what a model's actors report."""
    mine = [report for report in reports if report.name == model.name]
    capacities = [report.capacity for report in mine]
    num_blocks = sum(capacity.num_blocks for capacity in capacities)
    num_free = sum(capacity.num_free_blocks for capacity in capacities)
    counters: Counter[str] = Counter()
    for capacity in capacities:
        counters.update(capacity.counters)
    return ModelOverview(
        name=model.name,
        engine=model.engine,
        devices=tuple(sorted({report.info.device for report in mine})),
        num_ready=sum(not report.is_draining for report in mine),
        num_draining=sum(report.is_draining for report in mine),
        max_context=min((report.info.max_context_tokens for report in mine), default=0),
        num_contexts=sum(capacity.num_contexts for capacity in capacities),
        num_running=sum(capacity.num_running for capacity in capacities),
        num_waiting=sum(capacity.num_waiting for capacity in capacities),
        kv_use=1 - num_free / num_blocks if num_blocks else 0.0,
        counters=dict(counters),
        is_passive=is_passive,
    )
