"""What is known of vLLM's workers without vLLM: their number, who starts them, and what they find to run on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from actors.engine.vllm.settings import check_placement
from actors.engine.vllm.workers import are_placed, num_workers
from api.errors import InvalidRequest


@pytest.mark.parametrize(
    ("engine_args", "number", "is_placed"),
    [
        ({}, 1, False),
        ({"tensor_parallel_size": 4}, 4, True),
        ({"tensor_parallel_size": 4, "pipeline_parallel_size": 2}, 8, True),
        ({"tensor_parallel_size": 4, "distributed_executor_backend": "mp"}, 4, False),
        ({"tensor_parallel_size": 4, "distributed_executor_backend": None}, 4, True),
        ({"distributed_executor_backend": "ray"}, 1, True),
        ({"distributed_executor_backend": "uni"}, 1, False),
    ],
)
async def test_ray_places_several_workers_unless_somebody_else_starts_them(
    engine_args: dict[str, Any], number: int, is_placed: bool
) -> None:
    assert num_workers(engine_args) == number
    assert are_placed(engine_args) == is_placed


def parallel(bundles: list[dict[str, float]]) -> SimpleNamespace:
    return SimpleNamespace(world_size=2, placement_group=SimpleNamespace(bundle_specs=bundles))


async def test_each_worker_finds_what_it_runs_on_in_its_bundle() -> None:
    check_placement(parallel([{"GPU": 1, "CPU": 2}, {"GPU": 1}]), "GPU")
    check_placement(parallel([{"CPU": 1}, {"CPU": 1}]), "")
    with pytest.raises(InvalidRequest, match="placement group with a GPU each: set num_gpus: 2$"):
        check_placement(parallel([{"CPU": 1}, {"CPU": 1}]), "GPU")
    with pytest.raises(InvalidRequest, match="2 workers of vLLM need as many bundles of a placement group$"):
        check_placement(SimpleNamespace(world_size=2, placement_group=None), "")
