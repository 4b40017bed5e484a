"""How vLLM is set up: what the operator says, what we need, and what suits the machine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError

from actors.engine.adapter_files import AdapterFiles
from actors.engine.vllm.workers import BACKEND, are_placed
from api.errors import InvalidRequest

OURS: Mapping[str, Any] = {
    "skip_tokenizer_init": True,
    "enable_prefix_caching": True,
    "scheduling_policy": "priority",
    "logits_processors": ["actors.engine.vllm.draws:Draws"],
    "logprobs_mode": "processed_logits",
    "max_logprobs": -1,
    "disable_log_stats": True,
    "kv_transfer_config": {
        "kv_connector": "Retention",
        "kv_connector_module_path": "actors.engine.vllm.retention",
        "kv_role": "kv_consumer",
    },
}
"""Arguments of vLLM that this engine rests on."""

REFUSED = ("model", "tokenizer", "speculative_config", "data_parallel_size")
"""Arguments that are said elsewhere, or that this engine cannot do."""

ADAPTERS = ("enable_lora", "max_cpu_loras")
"""Arguments that follow from the places for adapters."""

PLACES, RANK = "max_loras", "max_lora_rank"
"""Arguments that say how many adapters there is room for, and of which rank."""

SPARE_PLACES = 2
"""For adapters that are loaded later, where a model has some at its start. Each takes the memory of an adapter."""

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's ``max_lora_rank`` may be."""

USUAL_RANK = 16
"""Where there are places, and no adapters yet."""

ON_A_CPU: Mapping[str, Any] = {
    "dtype": "float32",
    "enforce_eager": True,
    "block_size": 32,
    "max_num_seqs": 64,
    BACKEND: "uni",
}
"""Better there than vLLM's defaults: its blocks of 128 tokens keep little of a chat; compiling takes a minute."""

ENVIRONMENT = {
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the other one has another interface for who draws tokens
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
ENVIRONMENT_ON_A_CPU = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process beside ours, not two
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "TORCHDYNAMO_DISABLE": "1",
}
RAY_ADDRESS = "RAY_ADDRESS"
_MEMORY_FRACTION = 0.5


def set_environment() -> None:
    """Set what vLLM reads from there, where nobody has; before it is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def vllm_config(model_path: Path, engine_args: Mapping[str, Any], adapters: Sequence[AdapterFiles] = ()) -> Any:
    """vLLM's configuration for a model.

    Args:
        engine_args: those of ``AsyncEngineArgs`` that the operator has set.

    Raises:
        InvalidRequest: one sentence on what is wrong with the arguments, the model or an adapter.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform

    known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
    if unknown := sorted(set(engine_args) - known):
        raise InvalidRequest(f"vLLM has no engine_args {', '.join(unknown)}")
    if taken := sorted(set(engine_args) & {*REFUSED, *OURS, *ADAPTERS}):
        raise InvalidRequest(f"engine_args {', '.join(taken)} cannot be set: the vllm engine rests on its own")
    defaults: Mapping[str, Any] = {}
    if current_platform.is_cpu():
        defaults = ON_A_CPU
        for name, value in ENVIRONMENT_ON_A_CPU.items():
            os.environ.setdefault(name, value)
    try:
        lora = lora_arguments(adapters, engine_args, current_platform.is_cpu())
        workers = _worker_arguments(engine_args, current_platform.is_cpu())
        arguments = AsyncEngineArgs(model=str(model_path), **{**defaults, **engine_args, **workers, **OURS, **lora})
        config = arguments.create_engine_config()
        if current_platform.is_cpu() and "kv_cache_memory_bytes" not in engine_args:
            config.cache_config.kv_cache_memory_bytes = _cache_bytes(config)
    except InvalidRequest:
        raise
    except Exception as error:  # of any class: those who read configurations for vLLM have their own
        raise InvalidRequest(f"vLLM cannot run {model_path}: {sentence_of(error)}") from error
    if workers:
        check_placement(config.parallel_config, current_platform.ray_device_key)
    return config


def _worker_arguments(engine_args: Mapping[str, Any], is_cpu: bool) -> dict[str, Any]:
    """Who starts the workers, where Ray places them. vLLM's processes join the Ray of this one."""
    if is_cpu and engine_args.get("pipeline_parallel_size", 1) > 1:
        raise InvalidRequest("vLLM 0.32 has no pipeline_parallel_size on a CPU: tensor_parallel_size can be set there")
    if not are_placed(engine_args):
        return {}
    import ray

    if ray.is_initialized():
        os.environ[RAY_ADDRESS] = ray.get_runtime_context().gcs_address
    return {BACKEND: "ray"}


def check_placement(parallel: Any, device: str) -> None:
    """That there is a bundle for each worker, with what vLLM computes on.

    Args:
        parallel: vLLM's ``ParallelConfig``.
        device: Ray's name of that; "" for the CPU.

    Raises:
        InvalidRequest: there is not.
    """
    group = parallel.placement_group
    bundles = [bundle for bundle in group.bundle_specs if not device or bundle.get(device)] if group else []
    if len(bundles) < parallel.world_size:
        raise InvalidRequest(
            f"{parallel.world_size} workers of vLLM need as many bundles of a placement group"
            + (f" with a {device} each: set num_gpus: {parallel.world_size}" if device else "")
        )


def lora_arguments(adapters: Sequence[AdapterFiles], engine_args: Mapping[str, Any], is_cpu: bool) -> dict[str, Any]:
    """Places for adapters, all of which are there at once; none where the model has none and none were asked for.

    On the CPU vLLM 0.32 numbers a row without an adapter -1, and so computes it with what is in the last place for one:
    there that stays empty.
    """
    num_places = engine_args.get(PLACES, len(adapters) + SPARE_PLACES if adapters else 0)
    if not isinstance(num_places, int) or num_places < len(adapters):
        raise InvalidRequest(f"engine_args.{PLACES} is {num_places!r}, and the model has {len(adapters)} adapters")
    if not num_places:
        return {}
    rank = max((files.rank for files in adapters), default=USUAL_RANK)
    found = engine_args.get(RANK) or next((one for one in RANKS if one >= rank), RANKS[-1])
    places = Places(num_places, found)
    for files in adapters:
        places.check(files, 0)
    return {"enable_lora": True, PLACES: num_places + is_cpu, RANK: found}


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """The room for adapters that vLLM was started with; it has none where LoRA is not enabled."""

    number: int
    rank: int

    @classmethod
    def of(cls, config: Any) -> Places:
        """As in vLLM's configuration, which has one more on a CPU."""
        lora = config.lora_config
        return cls(0, 0) if lora is None else cls(lora.max_loras - _is_cpu(config), lora.max_lora_rank)

    def check(self, files: AdapterFiles, num_taken: int) -> None:
        """Whether there is one for an adapter.

        Raises:
            InvalidRequest: there is none; says what to set.
        """
        if files.rank > RANKS[-1]:
            raise InvalidRequest(f"adapter {files.name!r}: vLLM serves ranks up to {RANKS[-1]}, not {files.rank}")
        if not self.number:
            raise InvalidRequest(f"vLLM was started without places for adapters: set engine_args.{PLACES} and .{RANK}")
        if num_taken >= self.number:
            raise InvalidRequest(f"all {self.number} places for adapters are taken: set a larger engine_args.{PLACES}")
        if files.rank > self.rank:
            raise InvalidRequest(
                f"adapter {files.name!r} has rank {files.rank}, and the places for adapters are of rank {self.rank}: "
                f"set a larger engine_args.{RANK}"
            )


def _is_cpu(config: Any) -> bool:
    return str(config.device_config.device_type) == "cpu"


def sentence_of(error: Exception) -> str:
    """What vLLM said, without pydantic's way of saying it."""
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        text = where + first["msg"].removeprefix("Value error, ")
    lines = text.strip().splitlines() or [type(error).__name__]
    return " ".join([lines[0], *(line.strip() for line in lines[1:2] if lines[0].endswith(":"))])


def _cache_bytes(config: Any) -> int:
    """Of the attention cache of each worker on a CPU: its part of what is free, but no more than twice what all running
    turns can fill.
    """
    model, cache = config.model_config, config.cache_config
    heads = model.get_num_kv_heads(config.parallel_config)
    token = 2 * model.get_num_layers(config.parallel_config) * heads * model.get_head_size() * model.dtype.itemsize
    num_tokens = -(-model.max_model_len // cache.block_size) * cache.block_size
    allowed = int(psutil.virtual_memory().available * _MEMORY_FRACTION / config.parallel_config.world_size)
    if allowed < 2 * token * num_tokens:
        need = 2 * token * num_tokens / 1e9
        raise InvalidRequest(
            f"not enough memory: two contexts of {model.max_model_len} tokens need {need:.1f} GB of attention cache, "
            f"and {allowed / 1e9:.1f} GB may be taken for it; set kv_cache_memory_bytes or a smaller max_model_len"
        )
    return int(min(allowed, 2 * config.scheduler_config.max_num_seqs * token * num_tokens))
