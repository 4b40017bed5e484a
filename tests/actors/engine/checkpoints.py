"""Tiny random checkpoints of several architectures, and what ``transformers`` makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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

from actors.engine.contract import Hole
from tests.actors.engine.text.tokenizers_in_small import byte_level_tokenizer

# Heads of 32: vLLM's attention on the CPU has no narrower ones.
_SIZES = {
    "vocab_size": 384,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "head_dim": 32,
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
_CONFIGS["llama with many positions"] = lambda: LlamaConfig(**(_SIZES | {"max_position_embeddings": 8192}))


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

    def logits(self, ids: Sequence[int], holes: Iterable[Hole] = ()) -> torch.Tensor:
        """(tokens, vocab), float32; with holes, by a dense mask of all pairs of positions."""
        mask = self._dense_mask(len(ids), holes) if holes else None
        with torch.no_grad():
            output: torch.Tensor = self.model(torch.tensor([list(ids)]), attention_mask=mask).logits[0].float()
        return output

    def _dense_mask(self, length: int, holes: Iterable[Hole]) -> Any:
        """(1, 1, tokens, tokens), float32, or such a mask for each type of layer."""
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
        for hole in holes:
            hidden[hole.since :, hole.start : hole.end] = True
        config = self.model.config
        window = getattr(config, "sliding_window", None)
        too_far = torch.ones_like(hidden).tril(-window) if window is not None else torch.zeros_like(hidden)
        least = torch.finfo(torch.float32).min
        full, sliding = ((is_hidden * least)[None, None] for is_hidden in (hidden, hidden | too_far))
        if getattr(config, "layer_types", None):
            return {"full_attention": full, "sliding_attention": sliding}
        return sliding

    def greedy_with_holes(self, ids: Sequence[int], holes: Iterable[Hole], num_tokens: int) -> list[int]:
        """The likeliest tokens one after the other, all computed anew for each."""
        output: list[int] = []
        for _ in range(num_tokens):
            output.append(int(self.logits([*ids, *output], holes)[-1].argmax()))
        return output
