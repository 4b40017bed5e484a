"""A random model that never ends by itself, and takes its time: for tests that look twice at one answer."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from deployments.config import embedded_model


def make_endless_model(path: Path) -> Path:
    """Write a checkpoint of 21 million parameters with the embedded model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(embedded_model())
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=12,
        num_attention_heads=6,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # so that what is likely is very likely …
        model.lm_head.weight[tokenizer.all_special_ids] = 0  # … and the end is not
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
