"""What Ray reserves for a model actor, and where: for the actor itself, or for each of its workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from actors.engine.vllm.workers import are_placed, num_workers
from deployments.config import ModelConfig


def bundles_of(model: ModelConfig) -> list[dict[str, float]]:
    """Of a placement group for one actor's workers of vLLM: one for each, with a GPU if the model runs on such, and its
    part of the CPUs. The actor goes into the first and claims nothing. Empty for a model that has no such workers.
    """
    if model.engine == "torch" or not are_placed(model.engine_args):
        return []
    number = num_workers(model.engine_args)
    cpus = model.num_cpus / number or (0 if model.num_gpus else 1)
    bundle = {"GPU": 1.0 if model.num_gpus else 0.0, "CPU": cpus}
    return [{name: amount for name, amount in bundle.items() if amount} for _ in range(number)]


def reservation_of(model: ModelConfig) -> Mapping[str, float]:
    """All that one actor of a model takes, by Ray's names."""
    bundles = bundles_of(model) or [{"GPU": model.num_gpus, "CPU": model.num_cpus}]
    total: Counter[str] = Counter()
    for bundle in bundles:
        total.update(bundle)
    return total
