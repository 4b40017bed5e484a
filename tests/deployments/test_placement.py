"""What Ray is asked to reserve, and where, for a model and for each of vLLM's workers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from ray.util.placement_group import PlacementGroup

from deployments.config import AutoscalingSettings, ModelConfig
from deployments.placement import bundles_of, reservation_of
from deployments.pool import actor_resources, pool_deployment

HALVES: dict[str, Any] = {"tensor_parallel_size": 2}
MP: dict[str, Any] = {"distributed_executor_backend": "mp"}


def model(engine: str = "vllm", num_gpus: float = 0, num_cpus: float = 0, **engine_args: Any) -> ModelConfig:
    return ModelConfig.model_validate(
        {"name": "m", "engine": engine, "num_gpus": num_gpus, "num_cpus": num_cpus, "engine_args": engine_args}
    )


@pytest.mark.parametrize(
    ("config", "bundles"),
    [
        (model(), []),
        (model(num_gpus=1), []),
        (model(num_gpus=0.5), []),
        (model("torch"), []),
        (model(num_gpus=2, **HALVES), [{"GPU": 1}, {"GPU": 1}]),
        (model("auto", num_gpus=2, **HALVES), [{"GPU": 1}, {"GPU": 1}]),
        (model(num_gpus=2, num_cpus=3, **HALVES), [{"GPU": 1, "CPU": 1.5}, {"GPU": 1, "CPU": 1.5}]),
        (model(num_gpus=6, pipeline_parallel_size=3, **HALVES), [{"GPU": 1}] * 6),
        (model(**HALVES), [{"CPU": 1}, {"CPU": 1}]),
        (model(num_cpus=16, **HALVES), [{"CPU": 8}, {"CPU": 8}]),
        (model(num_gpus=2, **HALVES, **MP), []),
        (model(num_gpus=1, distributed_executor_backend="ray"), [{"GPU": 1}]),
    ],
)
def test_each_worker_that_ray_places_has_a_bundle(config: ModelConfig, bundles: list[dict[str, float]]) -> None:
    assert bundles_of(config) == bundles
    replica = pool_deployment(config)._bound_deployment._replica_config
    assert (replica.placement_group_bundles or []) == bundles
    assert replica.placement_group_strategy == (None if not bundles else "PACK" if config.num_gpus else "STRICT_PACK")


def test_a_replica_that_begins_without_an_actor_keeps_no_bundles_for_it() -> None:
    passive = model(num_gpus=2, **HALVES).model_copy(update={"autoscaling": AutoscalingSettings(min_replicas=0)})
    assert pool_deployment(passive)._bound_deployment._replica_config.placement_group_bundles is None
    assert bundles_of(passive) == [{"GPU": 1}, {"GPU": 1}]


def test_a_model_takes_what_its_workers_take_or_its_actor() -> None:
    assert reservation_of(model(num_gpus=2, num_cpus=3, **HALVES)) == {"GPU": 2, "CPU": 3}
    assert reservation_of(model(num_gpus=2, num_cpus=3, **HALVES, **MP)) == {"GPU": 2, "CPU": 3}
    assert reservation_of(model(**HALVES)) == {"CPU": 2}


def test_the_actor_claims_nothing_beside_its_workers() -> None:
    group = PlacementGroup.empty()
    placed = actor_resources(model(num_gpus=2, **HALVES), group)
    assert (placed["num_gpus"], placed["num_cpus"]) == (0, 0)
    strategy = placed["scheduling_strategy"]
    assert (strategy.placement_group, strategy.placement_group_bundle_index) == (group, 0)
    assert actor_resources(model(num_gpus=2, **HALVES, **MP), None) == {"num_gpus": 2, "num_cpus": 0}


@pytest.mark.parametrize(
    ("num_gpus", "engine_args", "sentence"),
    [
        (1, HALVES, "model 'm': 2 workers of vLLM take a GPU each, and num_gpus is 1"),
        (4, HALVES, "model 'm': 2 workers of vLLM take a GPU each, and num_gpus is 4"),
        (2, {"pipeline_parallel_size": 2, **HALVES}, "4 workers of vLLM take a GPU each, and num_gpus is 2"),
        (1, {**HALVES, **MP}, "2 workers of vLLM take a GPU each, and num_gpus is 1"),
        (2, {"distributed_executor_backend": "ray"}, "one worker of vLLM takes one GPU, and num_gpus is 2"),
        (0, {"tensor_parallel_size": 0}, "model 'm': tensor_parallel_size is a whole number from 1 on, not 0"),
        (0, {"tensor_parallel_size": "two"}, "tensor_parallel_size is a whole number from 1 on, not 'two'"),
        (0, {"distributed_executor_backend": "uni", **HALVES}, "of 2 workers is ray or mp, not uni"),
    ],
)
def test_workers_that_cannot_be_placed_are_refused(num_gpus: float, engine_args: Any, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        model(num_gpus=num_gpus, **engine_args)


def test_embeddings_are_the_torch_engines() -> None:
    with pytest.raises(ValidationError, match="model 'm': embeddings need the torch engine"):
        ModelConfig(name="m", engine="vllm", embeddings=True)
    assert ModelConfig(name="m", embeddings=True).settings(1.0).embeddings
