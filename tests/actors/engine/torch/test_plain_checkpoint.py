"""Checkpoints read without ``transformers`` compute what it computes; all others are left to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from actors.engine.torch.attention import DenseAttention
from actors.engine.torch.batch import Inputs
from actors.engine.torch.lean_decoder import LeanDecoder
from actors.engine.torch.plain_checkpoint import PlainConfig, read_weights

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def saved(model: Any, path: Path, **options: Any) -> Any:
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.5 if parameter.dim() == 1 else 0.0, 0.3)
    model.eval().save_pretrained(path, **options)
    return model


def logits(path: Path, ids: list[int]) -> torch.Tensor:
    config, weights = PlainConfig.read(path), read_weights(path)
    assert config is not None
    assert weights is not None
    inputs = Inputs(torch.tensor([ids]), torch.arange(len(ids)).unsqueeze(0), torch.arange(len(ids)))
    with torch.inference_mode():
        decoder = LeanDecoder(config, weights)
        return decoder.logits(inputs, DenseAttention(config.shapes))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tie_word_embeddings": True},
        {"attention_bias": True, "mlp_bias": True},
        {"head_dim": 16},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
    ],
    ids=["plain", "tied", "biases", "wide heads", "another base"],
)
def test_the_logits_are_those_of_transformers(tmp_path: Path, fields: dict[str, Any]) -> None:
    model = saved(LlamaForCausalLM(LlamaConfig(**SIZES, **fields)), tmp_path)
    ids = [5, 90, 17, 17, 3, 41]
    expected = model(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(logits(tmp_path, ids), expected, rtol=1e-3, atol=1e-4)


def test_weights_in_several_files_are_joined(tmp_path: Path) -> None:
    model = saved(LlamaForCausalLM(LlamaConfig(**SIZES)), tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    torch.testing.assert_close(logits(tmp_path, [1, 2]), model(torch.tensor([[1, 2]])).logits[0], rtol=1e-3, atol=1e-4)


def test_only_layers_that_slide_have_a_window(tmp_path: Path) -> None:
    config = Qwen3Config(**SIZES, use_sliding_window=True, sliding_window=8, max_window_layers=1)
    saved(Qwen3ForCausalLM(config), tmp_path)
    plain = PlainConfig.read(tmp_path)
    assert plain is not None
    assert plain.windows == (None, 8)


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "gemma", "architectures": ["GemmaForCausalLM"]},
        {"architectures": ["LlamaForSequenceClassification"]},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"partial_rotary_factor": 0.5},
        {"quantization_config": {"quant_method": "gptq"}},
        {"rms_norm_eps": None},
    ],
)
def test_what_is_not_known_to_be_plain_is_left_to_transformers(tmp_path: Path, fields: dict[str, Any]) -> None:
    saved(LlamaForCausalLM(LlamaConfig(**SIZES)), tmp_path)
    assert PlainConfig.read(tmp_path) is not None
    config = json.loads((tmp_path / "config.json").read_text()) | fields
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert PlainConfig.read(tmp_path) is None


def test_weights_in_another_format_are_left_to_transformers(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert read_weights(tmp_path) is None


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="damaged"):
        read_weights(tmp_path)
