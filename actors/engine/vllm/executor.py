"""Workers of vLLM in the placement group of their model actor. Removing the group ends them."""

from __future__ import annotations

import os
from typing import Any

import ray
from vllm.platforms import current_platform
from vllm.v1.executor import Executor, ray_executor_v2
from vllm.v1.executor.ray_executor_v2 import RayExecutorV2, RayWorkerProc

from actors.engine.vllm.orphan import end_with_parent
from actors.engine.vllm.settings import ENVIRONMENT, ENVIRONMENT_ON_A_CPU, RAY_ADDRESS


def executor_of(config: Any) -> Any:
    """The class of what starts vLLM's workers and speaks with them: vLLM's own unless Ray places them.

    Args:
        config: vLLM's.
    """
    if config.parallel_config.distributed_executor_backend != "ray":
        return Executor.get_class(config)
    return CpuExecutor if current_platform.is_cpu() else PlacedExecutor


class PlacedExecutor(RayExecutorV2):  # type: ignore[misc]
    """vLLM's executor over Ray, in the process of its scheduler. Its workers are actors, and end with that process.

    That process is to end with the model actor even before the model is loaded, and to use that one's Ray: left to
    itself, vLLM starts one of its own where it finds no address.
    """

    def _init_executor(self) -> None:
        end_with_parent()
        runtime_env = self.parallel_config.ray_runtime_env
        ray.init(os.environ[RAY_ADDRESS], runtime_env=runtime_env, logging_level="warning", log_to_driver=False)
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
    for want of a resource to look for in the bundles. Here each bundle takes one worker. All are on one node, since
    they speak to each other through its memory.
    """

    def _init_executor(self) -> None:
        ray_executor_v2.initialize_ray_cluster = _take_the_group
        ray_executor_v2.RayWorkerProc = CpuWorker
        os.environ["VLLM_RAY_BUNDLE_INDICES"] = ",".join(map(str, range(self.parallel_config.world_size)))
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


def _take_the_group(parallel_config: Any, **options: Any) -> None:
    """Instead of looking for a device's name in its bundles."""
