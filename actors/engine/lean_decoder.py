"""A forward pass with few, large operations, for small models on the CPU.

There a model of some million parameters spends most of a step on the calls themselves. For the plain decoders of the
Llama kind (no norms behind, no caps, one expert) the same numbers come out of about a third of the calls: projections
that share their input are one matrix; each matrix is stored as it is multiplied; norm weights are in the matrix behind;
residuals are added by the product; queries and keys are rotated as complex numbers, in place, for which their halves
are interleaved. On one thread of a 2.5 GHz Xeon (torch 2.13; ``python -m tests.benchmarks.engine``, with and without
``--no-lean``) tokens came 1.9, 2.0 and 1.5 times as fast with 1, 8 and 32 contexts of a model of 3M parameters, and
1.8, 1.5 and 1.4 times as fast with the embedded one of 1M.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding

from actors.engine.attention import Attention

_MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of one layer, (in, out) each, with the norm before them multiplied in."""

    index: int
    query_key_value: Tensor
    query_key_value_bias: Tensor | None
    head_norms: tuple[Tensor, float] | None
    output: Tensor
    output_bias: Tensor | None
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    activation: Callable[[Tensor], Tensor]
    attention_norm_epsilon: Tensor
    feed_forward_norm_epsilon: Tensor
    num_query_heads: int
    num_heads: int
    width: int
    scale: float
    window: int | None


def is_lean(model: Any) -> bool:
    """Whether a model can be run by ``LeanDecoder``: of a known type, float32, on the CPU."""
    return model.config.model_type in _MODEL_TYPES and model.dtype == torch.float32 and model.device.type == "cpu"


class LeanDecoder:
    """A ``Decoder`` that takes the weights out of a model: the model's own layers are empty afterwards."""

    def __init__(self, model: Any) -> None:
        inner = model.model
        self._embedding: Tensor = inner.embed_tokens.weight
        self._inverse_frequencies: Tensor = inner.rotary_emb.inv_freq.float()
        self._magnitude = torch.tensor(float(inner.rotary_emb.attention_scaling))
        self._layers = [_take_layer(index, layer, model.config) for index, layer in enumerate(inner.layers)]
        self._head = _folded(model.lm_head.weight, inner.norm.weight)
        self._head_bias = getattr(model.lm_head, "bias", None)
        self._head_epsilon = _epsilon(inner.norm)

    def logits(self, input_ids: Tensor, position_ids: Tensor, wanted: Tensor, attention: Attention) -> Tensor:
        """See ``Decoder``."""
        hidden = embedding(input_ids[0], self._embedding)
        angles = torch.outer(position_ids[0].float(), self._inverse_frequencies)
        rotation = torch.polar(self._magnitude.expand_as(angles), angles).unsqueeze(1)
        for layer in self._layers:
            _run_layer(layer, hidden, rotation, attention)
        if len(wanted) != len(hidden):
            hidden = hidden.index_select(0, wanted)
        return _multiply(_normalised(hidden, self._head_epsilon), self._head, self._head_bias)


def _run_layer(layer: _Layer, hidden: Tensor, rotation: Tensor, attention: Attention) -> None:
    """Add a layer's output to ``hidden``, (tokens, hidden), in place."""
    num_tokens, num_query_heads = hidden.shape[0], layer.num_query_heads
    normed = _normalised(hidden, layer.attention_norm_epsilon)
    packed = _multiply(normed, layer.query_key_value, layer.query_key_value_bias)
    heads = packed.view(num_tokens, -1, layer.width)
    turned = heads[:, : num_query_heads + layer.num_heads]
    if layer.head_norms is not None:
        weights, epsilon = layer.head_norms
        turned.mul_((turned.square().mean(-1, keepdim=True) + epsilon).rsqrt()).mul_(weights)
    torch.view_as_complex(turned.view(num_tokens, -1, layer.width // 2, 2)).mul_(rotation)
    attention.store(layer.index, packed[:, num_query_heads * layer.width :])
    query = heads[:, :num_query_heads].transpose(0, 1)
    mixed = attention.read(layer.index, query, layer.scale, layer.window, None)
    _add_product(hidden, mixed.reshape(num_tokens, -1), layer.output, layer.output_bias)
    normed = _normalised(hidden, layer.feed_forward_norm_epsilon)
    gate, up = _multiply(normed, layer.gate_up, layer.gate_up_bias).chunk(2, dim=-1)
    _add_product(hidden, layer.activation(gate).mul_(up), layer.down, layer.down_bias)


def _normalised(hidden: Tensor, epsilon: Tensor) -> Tensor:
    """hidden / sqrt(mean(hidden²) + epsilon), row by row."""
    norm = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
    return hidden * torch.rsqrt(torch.addcmul(epsilon, norm, norm, value=1.0 / hidden.shape[-1]))


def _multiply(rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    return torch.mm(rows, matrix) if bias is None else torch.addmm(bias, rows, matrix)


def _add_product(target: Tensor, rows: Tensor, matrix: Tensor, bias: Tensor | None) -> None:
    target.addmm_(rows, matrix)
    if bias is not None:
        target.add_(bias)


def _take_layer(index: int, layer: Any, config: Any) -> _Layer:
    attention, feed_forward = layer.self_attn, layer.mlp
    width = int(attention.head_dim)
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    num_query_heads, num_heads = (projection.weight.shape[0] // width for projection in projections[:2])
    # Mistral's window is in its configuration, Qwen's in each layer.
    window = getattr(attention, "sliding_window", config.sliding_window if config.model_type == "mistral" else None)
    lean = _Layer(
        index=index,
        query_key_value=_folded(
            torch.cat([_interleaved(p.weight, width) for p in projections[:2]] + [projections[2].weight]),
            layer.input_layernorm.weight,
        ),
        query_key_value_bias=_query_key_value_bias(projections, width),
        head_norms=_head_norms(attention, num_query_heads, num_heads, width),
        output=attention.o_proj.weight.t().contiguous(),
        output_bias=attention.o_proj.bias,
        gate_up=_folded(
            torch.cat([feed_forward.gate_proj.weight, feed_forward.up_proj.weight]),
            layer.post_attention_layernorm.weight,
        ),
        gate_up_bias=_joined_bias(feed_forward.gate_proj.bias, feed_forward.up_proj.bias),
        down=feed_forward.down_proj.weight.t().contiguous(),
        down_bias=feed_forward.down_proj.bias,
        activation=feed_forward.act_fn,
        attention_norm_epsilon=_epsilon(layer.input_layernorm),
        feed_forward_norm_epsilon=_epsilon(layer.post_attention_layernorm),
        num_query_heads=num_query_heads,
        num_heads=num_heads,
        width=width,
        scale=float(attention.scaling),
        window=window,
    )
    for projection in (*projections, attention.o_proj, feed_forward.gate_proj, feed_forward.up_proj):
        projection.weight.data = torch.empty(0)
    feed_forward.down_proj.weight.data = torch.empty(0)
    return lean


def _folded(weight: Tensor, norm_weight: Tensor) -> Tensor:
    """(in, out), contiguous: the transposed weight behind a norm with this weight."""
    return (weight * norm_weight).t().contiguous()


def _interleaved(rows: Tensor, width: int) -> Tensor:
    """Rows of each head with its two halves interleaved: 0, w/2, 1, w/2 + 1, …"""
    halves = rows.view(-1, 2, width // 2, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)


def _query_key_value_bias(projections: tuple[Any, Any, Any], width: int) -> Tensor | None:
    query, key, value = (projection.bias for projection in projections)
    if query is None:
        return None
    return torch.cat([_interleaved(query, width), _interleaved(key, width), value])


def _joined_bias(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else torch.cat([first, second])


def _head_norms(attention: Any, num_query_heads: int, num_heads: int, width: int) -> tuple[Tensor, float] | None:
    """Weights, (query heads + heads, width), and epsilon of the norms on each query and key head."""
    if not hasattr(attention, "q_norm"):
        return None
    query, key = (_interleaved(norm.weight, width) for norm in (attention.q_norm, attention.k_norm))
    weights = torch.cat([query.expand(num_query_heads, -1), key.expand(num_heads, -1)])
    return weights, float(attention.q_norm.variance_epsilon)


def _epsilon(norm: Any) -> Tensor:
    return torch.tensor([float(norm.variance_epsilon)])
