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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding, silu

from actors.engine.attention import Attention
from actors.engine.plain_checkpoint import PlainConfig


class _Weights:
    """The tensors of one layer, by their short names."""

    def __init__(self, weights: Mapping[str, Tensor], index: int) -> None:
        self._weights = weights
        self._prefix = f"model.layers.{index}."

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[f"{self._prefix}{name}"]

    def joined(self, names: Sequence[str], interleave: int | None = None) -> Tensor | None:
        """Some tensors in one, the heads of all but the last interleaved if asked; None where a model has none."""
        found = [self._weights.get(f"{self._prefix}{name}") for name in names]
        if any(tensor is None for tensor in found):
            return None
        *first, last = [tensor for tensor in found if tensor is not None]
        return torch.cat([*(_interleaved(part, interleave) if interleave else part for part in first), last])


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of one layer, (in, out) each, with the norm before them multiplied in.

    Attributes:
        head_norms: (query heads + heads, width): of the norms on each query and key head.
    """

    index: int
    query_key_value: Tensor
    query_key_value_bias: Tensor | None
    head_norms: Tensor | None
    output: Tensor
    output_bias: Tensor | None
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    num_query_heads: int
    num_heads: int
    width: int
    window: int | None

    @classmethod
    def of(cls, index: int, config: PlainConfig, weights: _Weights) -> _Layer:
        """The layer of this index."""
        width = config.head_width
        projections = [f"self_attn.{letter}_proj" for letter in "qkv"]
        query_key_value = weights.joined([f"{name}.weight" for name in projections], interleave=width)
        gate_up = weights.joined(["mlp.gate_proj.weight", "mlp.up_proj.weight"])
        if query_key_value is None or gate_up is None:
            raise KeyError(f"weights of layer {index}")
        return cls(
            index=index,
            query_key_value=_folded(query_key_value, weights["input_layernorm.weight"]),
            query_key_value_bias=weights.joined([f"{name}.bias" for name in projections], interleave=width),
            head_norms=_head_norms(config, weights),
            output=weights["self_attn.o_proj.weight"].t().contiguous(),
            output_bias=weights.joined(["self_attn.o_proj.bias"]),
            gate_up=_folded(gate_up, weights["post_attention_layernorm.weight"]),
            gate_up_bias=weights.joined(["mlp.gate_proj.bias", "mlp.up_proj.bias"]),
            down=weights["mlp.down_proj.weight"].t().contiguous(),
            down_bias=weights.joined(["mlp.down_proj.bias"]),
            num_query_heads=config.num_query_heads,
            num_heads=config.num_heads,
            width=width,
            window=config.windows[index],
        )


class LeanDecoder:
    """A ``Decoder`` of a plain checkpoint, float32, on the CPU."""

    def __init__(self, config: PlainConfig, weights: Mapping[str, Tensor]) -> None:
        """Take the weights, by the names that ``transformers`` gives them.

        Raises:
            KeyError: one is missing.
        """
        self._embedding = weights["model.embed_tokens.weight"]
        width = config.head_width
        exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
        self._inverse_frequencies = 1.0 / config.rope_base**exponents
        self._layers = [_Layer.of(index, config, _Weights(weights, index)) for index in range(config.num_layers)]
        head = self._embedding if config.has_tied_embeddings else weights["lm_head.weight"]
        self._head = _folded(head, weights["model.norm.weight"])
        self._epsilon = torch.tensor([config.norm_epsilon])

    def logits(self, input_ids: Tensor, position_ids: Tensor, wanted: Tensor, attention: Attention) -> Tensor:
        """See ``Decoder``."""
        hidden = embedding(input_ids[0], self._embedding)
        angles = torch.outer(position_ids[0].float(), self._inverse_frequencies)
        rotation = torch.polar(torch.ones(()).expand_as(angles), angles).unsqueeze(1)
        for layer in self._layers:
            _run_layer(layer, hidden, rotation, attention, self._epsilon)
        if len(wanted) != len(hidden):
            hidden = hidden.index_select(0, wanted)
        return torch.mm(_normalised(hidden, self._epsilon), self._head)


def _run_layer(layer: _Layer, hidden: Tensor, rotation: Tensor, attention: Attention, epsilon: Tensor) -> None:
    """Add a layer's output to ``hidden``, (tokens, hidden), in place."""
    num_tokens, num_query_heads = hidden.shape[0], layer.num_query_heads
    normed = _normalised(hidden, epsilon)
    packed = _multiply(normed, layer.query_key_value, layer.query_key_value_bias)
    heads = packed.view(num_tokens, -1, layer.width)
    turned = heads[:, : num_query_heads + layer.num_heads]
    if layer.head_norms is not None:
        turned.mul_((turned.square().mean(-1, keepdim=True) + epsilon).rsqrt()).mul_(layer.head_norms)
    torch.view_as_complex(turned.view(num_tokens, -1, layer.width // 2, 2)).mul_(rotation)
    attention.store(layer.index, packed[:, num_query_heads * layer.width :])
    query = heads[:, :num_query_heads].transpose(0, 1)
    mixed = attention.read(layer.index, query, layer.width**-0.5, layer.window, None)
    _add_product(hidden, mixed.reshape(num_tokens, -1), layer.output, layer.output_bias)
    normed = _normalised(hidden, epsilon)
    gate, up = _multiply(normed, layer.gate_up, layer.gate_up_bias).chunk(2, dim=-1)
    _add_product(hidden, silu(gate).mul_(up), layer.down, layer.down_bias)


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


def _folded(weight: Tensor, norm_weight: Tensor) -> Tensor:
    """(in, out), contiguous: the transposed weight behind a norm with this weight."""
    return (weight * norm_weight).t().contiguous()


def _interleaved(rows: Tensor, width: int) -> Tensor:
    """Rows of each head with its two halves interleaved: 0, w/2, 1, w/2 + 1, …"""
    halves = rows.view(-1, 2, width // 2, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)


def _head_norms(config: PlainConfig, weights: _Weights) -> Tensor | None:
    query, key = (weights.joined([f"self_attn.{letter}_norm.weight"]) for letter in "qk")
    if query is None or key is None:
        return None
    query, key = (_interleaved(norm, config.head_width) for norm in (query, key))
    return torch.cat([query.expand(config.num_query_heads, -1), key.expand(config.num_heads, -1)])
