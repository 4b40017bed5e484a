"""vLLM's workers, which hold a part of the model each: how many there are, and whether Ray places them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from api.errors import InvalidRequest

SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "prefill_context_parallel_size")
"""Arguments of vLLM whose product is the number of workers."""

BACKEND = "distributed_executor_backend"
"""vLLM's argument that says who starts the workers."""


def num_workers(engine_args: Mapping[str, Any]) -> int:
    """How many workers one engine has.

    Raises:
        InvalidRequest: a size is not a whole number, or there is none of it.
    """
    for name in SIZES:
        size = engine_args.get(name, 1)
        if not isinstance(size, int) or size < 1:
            raise InvalidRequest(f"{name} is a whole number from 1 on, not {size!r}")
    return math.prod(engine_args.get(name, 1) for name in SIZES)


def are_placed(engine_args: Mapping[str, Any]) -> bool:
    """Whether Ray places the workers in a placement group, each where its share of the resources is: several, unless
    the operator has them all in the model actor's own ("mp").

    Raises:
        InvalidRequest: as above, or nobody can start several workers in the way that was asked for.
    """
    number = num_workers(engine_args)
    backend = engine_args.get(BACKEND) or ("ray" if number > 1 else "uni")
    if number > 1 and backend not in ("ray", "mp"):
        raise InvalidRequest(f"{BACKEND} of {number} workers is ray or mp, not {backend}")
    return bool(backend == "ray")


def are_elsewhere(parallel_config: Any) -> bool:
    """Whether workers are on other machines than this process, which is connected to Ray if they are Ray's.

    Args:
        parallel_config: vLLM's.
    """
    if not parallel_config.use_ray or parallel_config.placement_group is None:
        return bool(parallel_config.use_ray)
    import ray
    from ray.util import placement_group_table

    nodes = placement_group_table(parallel_config.placement_group)["bundles_to_node_id"].values()
    return set(nodes) != {ray.get_runtime_context().get_node_id()}
