"""A random model of 65,536 positions: for clients whose first request is longer than ``pocket``'s context."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from deployments.config import embedded_model

NUM_POSITIONS = 65_536


def make_long_model(path: Path) -> Path:
    """Write a checkpoint of one layer with the embedded model's tokenizer. What it says has a form and no sense."""
    tokenizer = AutoTokenizer.from_pretrained(embedded_model())
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=NUM_POSITIONS,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.model_max_length = NUM_POSITIONS
    tokenizer.save_pretrained(path)
    return path
