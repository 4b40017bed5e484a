"""The shape of ``pocket``, and its forward pass as training runs it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from actors.pocket.tokenizer import MAX_CONTEXT_TOKENS

HIDDEN_SIZE = 192
NUM_LAYERS = 4
HEAD_SIZE = 32
INTERMEDIATE_SIZE = 512
ROPE_BASE = 1_000_000.0


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A model with random weights for this tokenizer, in float32."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN_SIZE,
        intermediate_size=INTERMEDIATE_SIZE,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=HIDDEN_SIZE // HEAD_SIZE,
        num_key_value_heads=HIDDEN_SIZE // HEAD_SIZE,
        head_dim=HEAD_SIZE,
        max_position_embeddings=MAX_CONTEXT_TOKENS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
        architectures=["LlamaForCausalLM"],
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=96,
    )
    return model


def hidden_states(model: LlamaForCausalLM, ids: Tensor, positions: Tensor) -> Tensor:
    """The last hidden states, as ``LlamaModel`` computes them, but with gaps between positions allowed.

    ``transformers`` reads a gap in the positions as the border of a packed sequence and masks across it.

    Args:
        ids: (batch, length), int64; padding on the right, if any.
        positions: (batch, length), int64, rising within a row.

    Returns:
        (batch, length, hidden), float32, normalised.
    """
    batch, length = ids.shape
    decoder = model.model
    hidden = decoder.embed_tokens(ids)
    cosine, sine = (part[:, None] for part in decoder.rotary_emb(hidden, positions))
    for layer in decoder.layers:
        attention = layer.self_attn
        normed = _normalise(layer.input_layernorm, hidden)
        query, key, value = (
            projection(normed).view(batch, length, -1, HEAD_SIZE).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query = query * cosine + _half_turned(query) * sine
        key = key * cosine + _half_turned(key) * sine
        with torch.autocast("cpu", enabled=False):  # at this head size, float32 is the faster one
            mixed = F.scaled_dot_product_attention(query, key, value.to(query.dtype), is_causal=True)
        hidden = hidden + attention.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))
        normed = _normalise(layer.post_attention_layernorm, hidden)
        hidden = hidden + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(normed)) * layer.mlp.up_proj(normed))
    return _normalise(decoder.norm, hidden)


def _normalise(norm: object, hidden: Tensor) -> Tensor:
    weight: Tensor = norm.weight  # type: ignore[attr-defined]
    epsilon: float = norm.variance_epsilon  # type: ignore[attr-defined]
    return F.rms_norm(hidden, (hidden.shape[-1],), weight, epsilon)


def _half_turned(hidden: Tensor) -> Tensor:
    first, second = hidden.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
