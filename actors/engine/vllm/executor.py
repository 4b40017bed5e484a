"""Workers of vLLM in the placement group of their model actor. Its life is theirs: whoever removes it ends them."""

from __future__ import annotations

import os
from typing import Any

import ray
from ray.util import placement_group_table
from vllm.v1.executor import ray_executor_v2
from vllm.v1.executor.ray_executor_v2 import RayExecutorV2, RayWorkerProc

from actors.engine.vllm.orphan import end_with_parent
from actors.engine.vllm.settings import ENVIRONMENT, ENVIRONMENT_ON_A_CPU

ADDRESS = "RAY_ADDRESS"
"""Names the model actor's Ray in the environment."""


class PlacedExecutor(RayExecutorV2):  # type: ignore[misc]
    """vLLM's executor over Ray, in the process of its scheduler. Its workers are actors, and end with that process.

    That process is to end with the model actor even before the model is loaded, and to use that one's Ray: left to
    itself, vLLM starts one of its own where it finds no address.
    """

    def _init_executor(self) -> None:
        end_with_parent()
        runtime_env = self.parallel_config.ray_runtime_env
        ray.init(os.environ[ADDRESS], runtime_env=runtime_env, logging_level="warning", log_to_driver=False)
        super()._init_executor()

    def _build_runtime_env(self) -> dict[str, Any]:
        """Some of it is read when vLLM is imported, before it sends its environment."""
        runtime_env: dict[str, Any] = super()._build_runtime_env()
        names = ENVIRONMENT.keys() | ENVIRONMENT_ON_A_CPU.keys()
        runtime_env["env_vars"].update({name: os.environ[name] for name in names if name in os.environ})
        return runtime_env


class CpuWorker(RayWorkerProc):  # type: ignore[misc]
    """A worker on the CPU, where vLLM 0.32 knows of no resource of Ray's that it could have got."""

    def get_node_and_physical_gpu_ids(self) -> tuple[str, list[int]]:
        """See there: no GPUs."""
        return ray.get_runtime_context().get_node_id(), []


class CpuExecutor(PlacedExecutor):
    """The same on the CPU, of which vLLM 0.32 says that it "does not support ray" (``initialize_ray_cluster``): only
    for want of a resource to look for in the bundles. Here each bundle takes one worker, those of this node first.
    """

    def _init_executor(self) -> None:
        ray_executor_v2.initialize_ray_cluster = _set_order
        ray_executor_v2.RayWorkerProc = CpuWorker
        super()._init_executor()

    def _build_runtime_env(self) -> dict[str, Any]:
        """As many threads as the bundle has cores."""
        runtime_env = super()._build_runtime_env()
        cores = self.parallel_config.placement_group.bundle_specs[0].get("CPU", 1)
        runtime_env["env_vars"]["OMP_NUM_THREADS"] = str(max(1, int(cores)))
        return runtime_env

    @staticmethod
    def _get_actor_resource_kwargs() -> dict[str, Any]:
        """The bundle holds them; a worker claims nothing of it, and the next one can start while it ends."""
        return {}


def _set_order(parallel_config: Any, **options: Any) -> None:
    nodes = placement_group_table(parallel_config.placement_group)["bundles_to_node_id"]
    here = ray.get_runtime_context().get_node_id()
    order = sorted(nodes, key=lambda bundle: (nodes[bundle] != here, nodes[bundle], bundle))
    os.environ["VLLM_RAY_BUNDLE_INDICES"] = ",".join(map(str, order))
