"""A forward pass with few, large operations, for small models on the CPU.

There a model of some million parameters spends most of a step on the calls themselves. For the plain decoders of the
Llama kind (no norms after, no caps, one expert) the same numbers come out of about a third of the calls: projections
that share their input are one matrix; each matrix is stored as it is multiplied; norm weights are in the matrix
behind; queries and keys are rotated as complex numbers, in place, for which their halves are interleaved. On one
thread of a 2.5 GHz Xeon (torch 2.13; ``python -m tests.benchmarks.engine``, with and without ``--no-lean``) tokens
came 1.9, 2.0 and 1.5 times as fast with 1, 8 and 32 contexts of a model of 3M parameters, and 1.8, 1.5 and 1.4 times
as fast with the embedded one of 1M.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding, silu
from typing_extensions import override

from actors.engine.adapter_files import AdapterFiles
from actors.engine.torch.attention import Attention
from actors.engine.torch.batch import Inputs
from actors.engine.torch.decoder import Decoder
from actors.engine.torch.low_rank import Adapter, Adapters, LowRank
from actors.engine.torch.plain_checkpoint import PlainConfig
from actors.engine.torch.projection import Projection

_QUERY_KEY_VALUE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GATE_UP = ("mlp.gate_proj", "mlp.up_proj")
_OUTPUT, _DOWN = "self_attn.o_proj", "mlp.down_proj"
_BEFORE_ATTENTION, _BEFORE_MLP = _NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight")


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
class _Adapted:
    """What an adapter adds in one layer, in the layer's own arrangement."""

    query_key_value: LowRank | None
    output: LowRank | None
    gate_up: LowRank | None
    down: LowRank | None

    @classmethod
    def of(cls, adapter: Adapter, prefix: str, config: PlainConfig, kept: _Kept) -> _Adapted:
        """For the layer whose names begin so."""

        def joined(names: Sequence[str], norm: str) -> LowRank | None:
            full = [f"{prefix}{name}" for name in names]
            found = adapter.side_by_side(full, [kept.shapes[name][0] for name in full])
            return None if found is None else LowRank(found.down * kept.norms[f"{prefix}{norm}"].unsqueeze(1), found.up)

        query_key_value = joined(_QUERY_KEY_VALUE, _BEFORE_ATTENTION)
        if query_key_value is not None:
            turned = (config.num_query_heads + config.num_heads) * config.head_width
            rows = query_key_value.up.t()
            up = torch.cat([_interleaved(rows[:turned], config.head_width), rows[turned:]]).t().contiguous()
            query_key_value = LowRank(query_key_value.down, up)
        return cls(
            query_key_value=query_key_value,
            output=adapter.layers.get(f"{prefix}{_OUTPUT}"),
            gate_up=joined(_GATE_UP, _BEFORE_MLP),
            down=adapter.layers.get(f"{prefix}{_DOWN}"),
        )


@dataclass(frozen=True, slots=True)
class _Kept:
    """What adapters are made to fit: the shapes of the linear layers, (out, in), and the norms before them, by name."""

    shapes: Mapping[str, Sequence[int]]
    norms: Mapping[str, Tensor]

    @classmethod
    def of(cls, config: PlainConfig, weights: Mapping[str, Tensor]) -> _Kept:
        """Of these weights."""
        norms = [f"model.layers.{index}.{norm}" for index in range(config.num_layers) for norm in _NORMS]
        asked = dict(config.tensors())
        shapes = {name: asked[f"{name}.weight"] for name in _linear_layers(config)}
        return cls(shapes, {name: weights[name] for name in norms})


class _LeanAdapters(Adapters):
    """The adapters of a ``LeanDecoder``.

    Attributes:
        layers: what each adds in each layer, by its name.
    """

    def __init__(self, config: PlainConfig, weights: Mapping[str, Tensor]) -> None:
        self.layers: dict[str, Sequence[_Adapted]] = {}
        self._config = config
        self._kept = _Kept.of(config, weights)

    @override
    def prepare(self, files: AdapterFiles) -> Callable[[], object]:
        config, kept = self._config, self._kept
        adapter = Adapter.load(files, kept.shapes, torch.device("cpu"), torch.float32)
        prefixes = [f"model.layers.{index}." for index in range(config.num_layers)]
        layers = [_Adapted.of(adapter, prefix, config, kept) for prefix in prefixes]
        return lambda: self.layers.update({files.name: layers})

    @override
    def remove(self, name: str) -> None:
        del self.layers[name]


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of one layer, with the norm before them multiplied in.

    Attributes:
        head_norms: (query heads + heads, width): of the norms on each query and key head.
    """

    index: int
    query_key_value: Projection
    head_norms: Tensor | None
    output: Projection
    gate_up: Projection
    down: Projection
    num_query_heads: int
    num_heads: int
    width: int
    window: int | None

    @classmethod
    def of(cls, index: int, config: PlainConfig, weights: _Weights) -> _Layer:
        """The layer of this index."""
        width = config.head_width
        query_key_value = weights.joined([f"{name}.weight" for name in _QUERY_KEY_VALUE], interleave=width)
        gate_up = weights.joined([f"{name}.weight" for name in _GATE_UP])
        if query_key_value is None or gate_up is None:
            raise KeyError(f"weights of layer {index}")
        return cls(
            index=index,
            query_key_value=Projection(
                query_key_value * weights[_BEFORE_ATTENTION],
                weights.joined([f"{name}.bias" for name in _QUERY_KEY_VALUE], interleave=width),
            ),
            head_norms=_head_norms(config, weights),
            output=Projection(weights[f"{_OUTPUT}.weight"], weights.joined([f"{_OUTPUT}.bias"])),
            gate_up=Projection(
                gate_up * weights[_BEFORE_MLP],
                weights.joined([f"{name}.bias" for name in _GATE_UP]),
            ),
            down=Projection(weights[f"{_DOWN}.weight"], weights.joined([f"{_DOWN}.bias"])),
            num_query_heads=config.num_query_heads,
            num_heads=config.num_heads,
            width=width,
            window=config.windows[index],
        )


class LeanDecoder(Decoder):
    """A ``Decoder`` of a plain checkpoint, float32, on the CPU."""

    has_states = True

    def __init__(
        self, config: PlainConfig, weights: Mapping[str, Tensor], adapters: Sequence[AdapterFiles] = ()
    ) -> None:
        """Take the weights, by the names that ``transformers`` gives them, and load adapters.

        Raises:
            KeyError: one is missing.
            InvalidRequest: an adapter is not for this model.
        """
        self.adapters = self._adapters = _LeanAdapters(config, weights)
        for files in adapters:
            self.adapters.prepare(files)()
        self._embedding = weights["model.embed_tokens.weight"]
        width = config.head_width
        exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
        self._inverse_frequencies = 1.0 / config.rope_base**exponents
        self._layers = [_Layer.of(index, config, _Weights(weights, index)) for index in range(config.num_layers)]
        head = weights.get("lm_head.weight", self._embedding)  # where a checkpoint has one it is taken, tied or not
        self._norm = weights["model.norm.weight"]
        self._head = Projection(head * self._norm)
        self._epsilon = torch.tensor([config.norm_epsilon])

    @override
    def logits(self, inputs: Inputs, attention: Attention) -> Tensor:
        return self._logits(self._hidden(inputs, attention), inputs)

    @override
    def logits_and_sums(self, inputs: Inputs, attention: Attention) -> tuple[Tensor, Tensor]:
        hidden = self._hidden(inputs, attention)
        sums = [_normalised(hidden[start:end], self._epsilon).sum(0) for start, end in inputs.summed]
        return self._logits(hidden, inputs), torch.stack(sums) * self._norm

    def _hidden(self, inputs: Inputs, attention: Attention) -> Tensor:
        """(tokens, hidden), before the last norm."""
        hidden = embedding(inputs.input_ids[0], self._embedding)
        angles = torch.outer(inputs.position_ids[0].float(), self._inverse_frequencies)
        rotation = torch.polar(torch.ones(()).expand_as(angles), angles).unsqueeze(1)
        adapted = [(self._adapters.layers[rows.adapter], rows.where) for rows in inputs.adapted]
        for layer in self._layers:
            additions = [(layers[layer.index], where) for layers, where in adapted]
            _run_layer(layer, hidden, rotation, attention, self._epsilon, additions)
        return hidden

    def _logits(self, hidden: Tensor, inputs: Inputs) -> Tensor:
        if len(inputs.wanted) != len(hidden):
            hidden = hidden.index_select(0, inputs.wanted)
        return self._head(_normalised(hidden, self._epsilon))


def _run_layer(
    layer: _Layer,
    hidden: Tensor,
    rotation: Tensor,
    attention: Attention,
    epsilon: Tensor,
    additions: Sequence[tuple[_Adapted, Tensor]],
) -> None:
    """Add a layer's output to ``hidden``, (tokens, hidden), in place; and what adapters add for some of the tokens."""
    num_tokens, num_query_heads = hidden.shape[0], layer.num_query_heads
    normed = _normalised(hidden, epsilon)
    packed = layer.query_key_value(normed)
    for addition, where in additions:
        _add(addition.query_key_value, packed, normed, where)
    heads = packed.view(num_tokens, -1, layer.width)
    turned = heads[:, : num_query_heads + layer.num_heads]
    if layer.head_norms is not None:
        turned.mul_((turned.square().mean(-1, keepdim=True) + epsilon).rsqrt()).mul_(layer.head_norms)
    torch.view_as_complex(turned.view(num_tokens, -1, layer.width // 2, 2)).mul_(rotation)
    attention.store(layer.index, packed[:, num_query_heads * layer.width :])
    query = heads[:, :num_query_heads].transpose(0, 1)
    mixed = attention.read(layer.index, query, layer.width**-0.5, layer.window, None)
    joined = mixed.reshape(num_tokens, -1)
    layer.output.add(joined, hidden)
    for addition, where in additions:
        _add(addition.output, hidden, joined, where)
    normed = _normalised(hidden, epsilon)
    gate_up = layer.gate_up(normed)
    for addition, where in additions:
        _add(addition.gate_up, gate_up, normed, where)
    gate, up = gate_up.chunk(2, dim=-1)
    gated = silu(gate).mul_(up)
    layer.down.add(gated, hidden)
    for addition, where in additions:
        _add(addition.down, hidden, gated, where)


def _normalised(hidden: Tensor, epsilon: Tensor) -> Tensor:
    """hidden / sqrt(mean(hidden²) + epsilon), row by row."""
    norm = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
    return hidden * torch.rsqrt(torch.addcmul(epsilon, norm, norm, value=1.0 / hidden.shape[-1]))


def _add(addition: LowRank | None, target: Tensor, rows: Tensor, where: Tensor) -> None:
    if addition is not None:
        addition.add(target, rows, where)


def _linear_layers(config: PlainConfig) -> list[str]:
    """The names of all that an adapter can be for."""
    names = (*_QUERY_KEY_VALUE, _OUTPUT, *_GATE_UP, _DOWN)
    return [f"model.layers.{index}.{name}" for index in range(config.num_layers) for name in names]


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
