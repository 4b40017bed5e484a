"""Tiny random checkpoints of several architectures, and what ``transformers`` makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from tests.actors.engine.tokenizers_in_small import byte_level_tokenizer

_SIZES = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "head_dim": 8,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
SLIDING_WINDOW = 12

_CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**_SIZES),
    "qwen2": lambda: Qwen2Config(**_SIZES),
    "qwen3": lambda: Qwen3Config(**_SIZES),
    "mistral": lambda: MistralConfig(**_SIZES, sliding_window=SLIDING_WINDOW),
    "gemma": lambda: GemmaConfig(**_SIZES),
    "gemma2": lambda: Gemma2Config(
        **_SIZES, sliding_window=SLIDING_WINDOW, attn_logit_softcapping=5.0, final_logit_softcapping=20.0
    ),
    "gemma3": lambda: Gemma3TextConfig(**_SIZES, sliding_window=SLIDING_WINDOW, query_pre_attn_scalar=16),
}
ARCHITECTURES = tuple(_CONFIGS)


def make_checkpoint(architecture: str, path: Path) -> Path:
    """Write a tiny random model with its tokenizer; its weights are large, so that no logits are nearly equal."""
    torch.manual_seed(1)
    config = _CONFIGS[architecture]()
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0.0, 0.25)
    model.generation_config.eos_token_id = 2
    model.save_pretrained(path)
    byte_level_tokenizer().save_pretrained(path)
    return path


class Oracle:
    """A checkpoint as ``transformers`` runs it by itself."""

    def __init__(self, path: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").eval()

    def greedy(self, ids: Sequence[int], num_tokens: int, **options: Any) -> list[int]:
        """What ``generate`` adds, end-of-text tokens included as any other where its options do not say so."""
        output = self.model.generate(
            torch.tensor([list(ids)]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
            do_sample=False,
            max_new_tokens=num_tokens,
            **({"eos_token_id": None} | options),
        )
        return [int(token_id) for token_id in output[0, len(ids) :]]

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """(tokens, vocab), float32."""
        with torch.no_grad():
            output: torch.Tensor = self.model(torch.tensor([list(ids)])).logits[0].float()
        return output
