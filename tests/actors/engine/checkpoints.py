"""Tiny random checkpoints of several architectures, and what ``transformers`` makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CodeGenConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPTJConfig,
    GPTNeoConfig,
    GptOssConfig,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    MptConfig,
    NemotronConfig,
    Qwen2Config,
    Qwen3Config,
    StableLmConfig,
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
CHUNK = 14

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

_LENGTH = _SIZES["max_position_embeddings"]
_VOCABULARY = {name: size for name, size in _SIZES.items() if name == "vocab_size" or name.endswith("_token_id")}
_COMMON = _VOCABULARY | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_GPT = _VOCABULARY | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": _LENGTH}
_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}

_OWN: dict[str, Callable[[], Any]] = {
    "bloom": lambda: BloomConfig(**_VOCABULARY, hidden_size=32, n_layer=2, n_head=4),
    "falcon": lambda: FalconConfig(**_COMMON, num_kv_heads=2, new_decoder_architecture=True),
    "falcon with alibi": lambda: FalconConfig(**_COMMON, alibi=True, multi_query=False, parallel_attn=False, bias=True),
    "mpt": lambda: MptConfig(**_VOCABULARY, d_model=32, n_heads=4, n_layers=2, max_seq_len=_LENGTH),
    "gpt-oss": lambda: GptOssConfig(**_SIZES | _EXPERTS, sliding_window=SLIDING_WINDOW),
    "gpt-j": lambda: GPTJConfig(**_GPT, rotary_dim=4),
    "gpt-neo": lambda: GPTNeoConfig(
        **_VOCABULARY,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=SLIDING_WINDOW,
        max_position_embeddings=_LENGTH,
    ),
    "codegen": lambda: CodeGenConfig(**_GPT, rotary_dim=4),
    "stablelm": lambda: StableLmConfig(**_COMMON, num_key_value_heads=2, max_position_embeddings=_LENGTH),
    "nemotron": lambda: NemotronConfig(**_SIZES),
    "llama4": lambda: Llama4TextConfig(
        **_SIZES | {"num_hidden_layers": 4},
        intermediate_size_mlp=48,
        num_local_experts=2,
        attention_chunk_size=CHUNK,
        floor_scale=CHUNK,
    ),
}
OWN_ATTENTION = tuple(_OWN)
"""Architectures whose attention is more than ours."""

_USUAL = _SIZES | {"hidden_size": 128, "intermediate_size": 96}
_CONFIGS |= {
    "usual llama": lambda: LlamaConfig(**_USUAL),
    "usual qwen2": lambda: Qwen2Config(**_USUAL),
    "usual qwen3": lambda: Qwen3Config(**_USUAL | {"head_dim": 128}),
}
"""With heads as ``transformers`` guesses them where a file does not say."""

_CONFIGS |= _OWN
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
    """A checkpoint as ``transformers`` runs it by itself, with the attention that it chooses.

    Gemma 2's is the plain one: what ``transformers`` would choose leaves the caps out.
    """

    def __init__(self, path: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(path).eval()
        if self.model.config.model_type == "gemma2":
            self.model.set_attn_implementation("eager")

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

    def logits(self, ids: Sequence[int], holes: Sequence[Hole] = ()) -> torch.Tensor:
        """(tokens, vocab), float32; with holes, by a dense mask of all pairs of positions."""
        mask = self._dense_mask(len(ids), holes) if holes else None
        with torch.no_grad():
            output: torch.Tensor = self.model(torch.tensor([list(ids)]), attention_mask=mask).logits[0].float()
        return output

    def embedding(self, ids: Sequence[int]) -> list[float]:
        """The mean of the last hidden states."""
        with torch.no_grad():
            states: torch.Tensor = self.model.base_model(torch.tensor([list(ids)])).last_hidden_state[0]
        return [float(number) for number in states.float().mean(0)]

    def _dense_mask(self, length: int, holes: Sequence[Hole]) -> Any:
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

    def greedy_with_holes(self, ids: Sequence[int], holes: Sequence[Hole], num_tokens: int) -> list[int]:
        """The likeliest tokens one after the other, all computed anew for each."""
        output: list[int] = []
        for _ in range(num_tokens):
            output.append(int(self.logits([*ids, *output], holes)[-1].argmax()))
        return output
