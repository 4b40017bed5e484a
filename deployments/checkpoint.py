"""A model as it lies on the disk, or at the hub: whether it is one, and how much memory it takes."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.engine.checkpoints.gguf_config import config_of
from actors.engine.checkpoints.gguf_header import GgufHeader
from actors.engine.checkpoints.hub import Snapshot, download_config, look_up
from actors.engine.checkpoints.place import HubModel, check_path, place_of
from actors.engine.vllm.workers import num_workers
from api.errors import InvalidRequest, reason_of
from deployments.config import ModelConfig
from deployments.failures import CommandFailed

PROCESS_BYTES = 400_000_000
"""What a model actor takes beside its weights and its attention cache (Linux, torch 2.13 for the CPU)."""

VLLM_BYTES = 1_400_000_000
"""The same with vLLM, which has a process of its own."""

WORKER_BYTES = 520_000_000
"""What each further worker of vLLM takes."""

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is known without loading it: ``num_parameters``, and the text model's ``config``.

    Attributes:
        snapshot: what there is of it in the cache of this machine; None for what is no model of the hub.
    """

    num_parameters: int
    config: Mapping[str, Any]
    snapshot: Snapshot | None = None

    def weight_bytes(self, model: ModelConfig) -> int:
        """Of the weights on the CPU, where they are float32 unless the settings say otherwise."""
        return self.num_parameters * self._width(model)

    def cache_bytes(self, model: ModelConfig) -> int:
        """Of the attention cache: what the settings say (to vLLM for each worker), else the least that makes sense,
        which is one full context.
        """
        arguments = model.engine_args
        if given := _integer(arguments, "kv_cache_bytes", "kv_cache_memory_bytes"):
            return given * num_workers(arguments)
        heads = _integer(self.config, "num_attention_heads", "n_head")
        key_heads = _integer(self.config, "num_key_value_heads") or heads
        head_size = _integer(self.config, "head_dim") or _integer(self.config, "hidden_size", "n_embd") // max(1, heads)
        layers = _integer(self.config, "num_hidden_layers", "n_layer")
        given = _integer(arguments, "max_context_tokens", "max_model_len")
        length = given or _integer(self.config, "max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
        return 2 * layers * key_heads * head_size * length * self._width(model)

    def bytes_of_actor(self, model: ModelConfig) -> int:
        """Of one model actor."""
        return self.weight_bytes(model) + self.cache_bytes(model) + process_bytes(model)

    def _width(self, model: ModelConfig) -> int:
        return _DTYPE_BYTES.get(str(model.engine_args.get("dtype")), 4)


def process_bytes(model: ModelConfig) -> int:
    """What a model's actor and its engine's processes take beside its weights and its attention cache."""
    if model.engine != "vllm":
        return PROCESS_BYTES
    return VLLM_BYTES + (num_workers(model.engine_args) - 1) * WORKER_BYTES


def read_checkpoint(model: ModelConfig) -> Checkpoint:
    """Look at a model's directory, file, or repository at the hub, of which no weights are downloaded.

    Raises:
        CommandFailed: one sentence on why there is no model in it.
    """
    try:
        place = place_of(model.path)
        if isinstance(place, HubModel):
            return _at_the_hub(place)
        check_path(place)
        if place.is_file():
            header = GgufHeader.read(place)
            return Checkpoint(header.num_parameters, config_of(header))
    except InvalidRequest as error:
        raise CommandFailed(f"model {model.name!r}: {reason_of(error)}") from None
    return _in_directory(model.name, place)


def _at_the_hub(model: HubModel) -> Checkpoint:
    snapshot = look_up(model)
    config = _text_config(_read_object(download_config(snapshot.model)))
    dtype = config.get("dtype") or config.get("torch_dtype")
    return Checkpoint(snapshot.weight_bytes // _DTYPE_BYTES.get(str(dtype), 2), config, snapshot)


def _in_directory(name: str, path: Path) -> Checkpoint:
    config = _read_object(path / "config.json")
    if not config.get("model_type"):
        raise CommandFailed(f"model {name!r}: {path}/config.json names no model_type")
    if not any((path / file).is_file() for file in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise CommandFailed(f"model {name!r}: {path} has no tokenizer (tokenizer.json)")
    return Checkpoint(_num_parameters(name, path), _text_config(config))


def _text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Of a model that also sees or hears, the part that is about texts."""
    text = config.get("text_config")
    return text if isinstance(text, dict) else config


def _num_parameters(name: str, path: Path) -> int:
    if files := sorted(path.glob("*.safetensors")):
        return sum(_num_in_safetensors(file) for file in files)
    if files := sorted(path.glob("pytorch_model*.bin")):
        return sum(file.stat().st_size for file in files) // 2
    raise CommandFailed(f"model {name!r}: {path} has no weights (*.safetensors)")


def _num_in_safetensors(file: Path) -> int:
    """Parameters in a file; its header is a length of 8 bytes, little-endian, and so much JSON."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header: Any = json.loads(stream.read(length)) if length < _LONGEST_HEADER else None
        shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
        return sum(math.prod(shape) for shape in shapes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error):
        raise CommandFailed(f"{file} is not a safetensors file") from None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise CommandFailed(f"{path} holds no JSON object")
    return content


def _integer(config: Mapping[str, Any], *names: str) -> int:
    return next((int(config[name]) for name in names if isinstance(config.get(name), int)), 0)
