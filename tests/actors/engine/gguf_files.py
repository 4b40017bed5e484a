"""GGUF files made of tiny checkpoints, as llama.cpp's converter makes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import gguf
import numpy as np
from safetensors.numpy import load_file

from tests.actors.engine.text.tokenizers_in_small import CHAT_TEMPLATE

Type: TypeAlias = gguf.GGMLQuantizationType
_ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3}
_NORMAL, _CONTROL, _DEFINED = 1, 3, 4


def write_gguf(
    checkpoint: Path,
    file: Path,
    kind: Type = Type.F32,
    has_bos: bool = False,
    rope_factors: Sequence[float] = (),
    **metadata: Any,
) -> Path:
    """Write a checkpoint's model and tokenizer into a file.

    Args:
        kind: of the matrices whose rows it fits; the others, norms and biases are F32.
        rope_factors: of Llama 3.1.
        has_bos: texts begin with a token of their own.
        metadata: keys that are written otherwise, or beside the others, with dots as ``__``.
    """
    config = json.loads((checkpoint / "config.json").read_text())
    name = "llama" if config["model_type"] == "mistral" else config["model_type"]
    writer = gguf.GGUFWriter(str(file), name)
    _write_config(writer, config)
    _write_tokenizer(writer, checkpoint, has_bos)
    for key, value in metadata.items():
        number = gguf.GGUFValueType.FLOAT32 if isinstance(value, float) else gguf.GGUFValueType.UINT32
        kind_of_value = gguf.GGUFValueType.STRING if isinstance(value, str) else number
        writer.kv_data[0][key.replace("__", ".")] = gguf.GGUFValue(value, kind_of_value)
    names = gguf.get_tensor_name_map(_ARCHITECTURES[name], config["num_hidden_layers"])
    for key, tensor in load_file(checkpoint / "model.safetensors").items():
        target = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert target is not None, key
        if name == "llama" and (".q_proj." in key or ".k_proj." in key):
            heads = config["num_attention_heads" if ".q_proj." in key else "num_key_value_heads"]
            tensor = tensor.reshape(heads, 2, -1, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)
        fits = tensor.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0
        wanted = kind if tensor.ndim > 1 and fits else Type.F32
        data = gguf.quants.quantize(np.ascontiguousarray(tensor, dtype=np.float32), wanted)
        writer.add_tensor(target, data, raw_dtype=wanted)
    if rope_factors:
        writer.add_tensor("rope_freqs.weight", np.array(rope_factors, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _write_config(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(width)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_vocab_size(config["vocab_size"])
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])


def _write_tokenizer(writer: gguf.GGUFWriter, checkpoint: Path, has_bos: bool) -> None:
    content = json.loads((checkpoint / "tokenizer.json").read_text())
    vocabulary: dict[str, int] = content["model"]["vocab"]
    special = {token["content"]: token["special"] for token in content["added_tokens"]}
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    kinds = [(_CONTROL if special[token] else _DEFINED) if token in special else _NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in content["model"]["merges"]])
    writer.add_bos_token_id(vocabulary["<|endoftext|>"])
    writer.add_eos_token_id(vocabulary["<|im_end|>"])
    writer.add_add_bos_token(has_bos)
    writer.add_chat_template(CHAT_TEMPLATE)
