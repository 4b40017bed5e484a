"""What a GGUF file says of its model, as a ``config.json`` would."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from actors.engine.checkpoints.gguf_header import GgufHeader
from api.errors import InvalidRequest

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
"""Those that can be read. Mistral's models mostly say that they are llama."""

_SIZES = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "max_position_embeddings": "context_length",
}
_ROPE_BASE = 10_000.0
_LLAMA_3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""How all models of Llama 3.1 to 3.3 stretch their rotary positions; a file has only what comes of it."""

_EMBEDDING, _OUTPUT, _QUERY_BIAS = "token_embd.weight", "output.weight", "blk.0.attn_q.bias"
ROPE_FACTORS = "rope_freqs.weight"
"""Of Llama 3.1 and later: what each rotary frequency is divided by, F32."""


def config_of(header: GgufHeader) -> dict[str, Any]:
    """The model's configuration in the words of ``transformers``.

    Raises:
        InvalidRequest: one sentence on why the model cannot be read.
    """
    kind, path, metadata = header.architecture, header.path, header.metadata
    if (parts := header.integer("split.count") or 0) > 1:
        raise InvalidRequest(f"{path} is one of {parts} parts: join them with `llama-gguf-split --merge`")
    if kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InvalidRequest(f"{path}: a GGUF file with a model of the kind {kind!r} cannot be read: {known} can")
    sizes = {name: header.integer(f"{kind}.{key}") for name, key in _SIZES.items()}
    if missing := [f"{kind}.{_SIZES[name]}" for name, size in sizes.items() if not size or size < 0]:
        raise InvalidRequest(f"{path} does not say {', '.join(missing)}")
    embedding = header.tensors.get(_EMBEDDING)
    epsilon = metadata.get(f"{kind}.attention.layer_norm_rms_epsilon")
    if embedding is None or not isinstance(epsilon, float):
        raise InvalidRequest(f"{path} has no {_EMBEDDING}, or does not say {kind}.attention.layer_norm_rms_epsilon")
    _refuse_what_is_left_out(header)
    heads = sizes["num_attention_heads"] or 1
    width = header.integer(f"{kind}.attention.key_length") or header.integer(f"{kind}.rope.dimension_count")
    width = width or (sizes["hidden_size"] or 0) // heads
    window = header.integer(f"{kind}.attention.sliding_window") or None
    has_window = kind == "mistral" or (kind == "llama" and window is not None)
    return {
        **sizes,
        "model_type": "mistral" if has_window else kind,
        "hidden_act": "silu",
        "vocab_size": embedding.shape[0],
        "num_key_value_heads": header.integer(f"{kind}.attention.head_count_kv") or heads,
        "head_dim": width,
        "rms_norm_eps": epsilon,
        "rope_parameters": _rope_parameters(header, width),
        "tie_word_embeddings": _OUTPUT not in header.tensors,
        "attention_bias": _QUERY_BIAS in header.tensors,
        **({"sliding_window": window} if has_window else {}),
    }


def eos_ids(header: GgufHeader) -> tuple[int, ...]:
    """Ids that end a text, a turn or a message."""
    found = (header.integer(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    return tuple(token_id for token_id in found if token_id is not None)


def sampling_of(header: GgufHeader) -> dict[str, Any]:
    """How the makers suggest to sample, in the words of ``generation_config.json``."""
    names = {
        "temp": "temperature",
        "top_k": "top_k",
        "top_p": "top_p",
        "min_p": "min_p",
        "penalty_repeat": "repetition_penalty",
    }
    said = {ours: header.metadata.get(f"general.sampling.{theirs}") for theirs, ours in names.items()}
    return {name: value for name, value in said.items() if value is not None}


def _rope_parameters(header: GgufHeader, width: int) -> dict[str, Any]:
    base = float(header.metadata.get(f"{header.architecture}.rope.freq_base", _ROPE_BASE))
    if ROPE_FACTORS not in header.tensors:
        return {"rope_type": "default", "rope_theta": base}
    factors = header.floats(ROPE_FACTORS)
    stretched = {
        "rope_type": "llama3",
        "rope_theta": base,
        "factor": float(round(max(factors, default=1.0), 3)),
        **_LLAMA_3,
    }
    expected = [_stretched(base ** (2 * index / width), stretched) for index in range(width // 2)]
    pairs = zip(factors, expected, strict=False)
    if len(factors) != len(expected) or not all(math.isclose(one, other, rel_tol=1e-3) for one, other in pairs):
        how = "rotary positions scaled otherwise than Llama 3.1's"
        raise InvalidRequest(f"{header.path}: a GGUF file with {how} cannot be read")
    return stretched


def _stretched(inverse: float, rope: Mapping[str, Any]) -> float:
    """What Llama 3.1 divides a rotary frequency of 1 / ``inverse`` by."""
    turns = rope["original_max_position_embeddings"] / (2 * math.pi * inverse)
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
    return float(1 / ((1 - smooth) / factor + smooth))


def _refuse_what_is_left_out(header: GgufHeader) -> None:
    """A model with more to it than is read would answer, and badly."""
    kind, metadata = header.architecture, header.metadata
    if header.integer(f"{kind}.expert_count"):
        raise InvalidRequest(f"{header.path}: a GGUF file with experts cannot be read")
    scaling = metadata.get(f"{kind}.rope.scaling.type", "none")
    if scaling != "none":
        raise InvalidRequest(f"{header.path}: a GGUF file with scaled rotary positions ({scaling!r}) cannot be read")
