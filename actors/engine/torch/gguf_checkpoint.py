"""The weights of a GGUF file, under the names and in the order of ``transformers``."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from actors.engine.checkpoints.gguf_config import ROPE_FACTORS, config_of
from actors.engine.checkpoints.gguf_header import BLOCKS, GgufHeader, GgufTensor
from actors.engine.torch.weight_faults import check_numbers

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER = re.compile(r"blk\.(\d+)\.(.+)")
_PLAIN = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}
_Q5_0, _Q5_1 = 6, 7
_CHUNK = 1 << 22
"""Weights that are widened at a time: what is needed for that is small beside any model."""


class GgufWeights(Mapping[str, Tensor]):
    """Tensors by their names, each read and widened when it is asked for, and kept by none but the caller.

    Attributes:
        config: of the model, in the words of ``transformers``.
    """

    def __init__(self, header: GgufHeader, dtype: torch.dtype) -> None:
        """Take a file's header.

        Raises:
            InvalidRequest: one sentence on why its model cannot be read.
        """
        self.config = config = config_of(header)
        self.dtype = dtype
        self._header = header
        self._tensors = {_name(name): tensor for name, tensor in header.tensors.items() if name != ROPE_FACTORS}
        self._num_heads = {}
        if header.architecture in ("llama", "mistral"):
            heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
            self._num_heads = {f"self_attn.{name}": number for name, number in heads.items()}

    @classmethod
    def open(cls, path: Path, dtype: torch.dtype) -> GgufWeights:
        """Those of a file.

        Raises:
            InvalidRequest: one sentence on why they cannot be read.
        """
        return cls(GgufHeader.read(path), dtype)

    @property
    def path(self) -> Path:
        """The file."""
        return self._header.path

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all tensors."""
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        with self._header.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            weights = _widened(content, tensor, self.dtype)
        check_numbers(self._header.path, [(name, weights)])
        heads = next((number for layer, number in self._num_heads.items() if f".{layer}." in name), None)
        return weights if heads is None else _halves_apart(weights, heads)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _name(name: str) -> str:
    """As ``transformers`` calls it; one that is not known keeps its own."""
    found = _LAYER.fullmatch(name)
    prefix, short = (f"model.layers.{found[1]}.", found[2]) if found else ("", name)
    module, _, kind = short.rpartition(".")
    return f"{prefix}{_NAMES[module]}.{kind}" if module in _NAMES else name


def _halves_apart(weights: Tensor, heads: int) -> Tensor:
    """The rows of each head as ``transformers`` has them: llama.cpp's have the two halves interleaved."""
    pairs = weights.view(heads, -1, 2, *weights.shape[1:])
    return pairs.transpose(1, 2).reshape(weights.shape)


def _widened(content: mmap.mmap, tensor: GgufTensor, dtype: torch.dtype) -> Tensor:
    _, block, size = BLOCKS[tensor.type]
    weights = torch.empty(tensor.num_parameters, dtype=dtype)
    for first in range(0, len(weights), _CHUNK):
        last = min(first + _CHUNK, len(weights))
        part = content[tensor.start + first // block * size : tensor.start + last // block * size]
        weights[first:last] = numbers_of(torch.frombuffer(bytearray(part), dtype=torch.uint8), tensor.type)
    return weights.view(tensor.shape)


def numbers_of(data: Tensor, kind: int) -> Tensor:
    """Blocks, uint8, to the numbers that they stand for, float32 or narrower."""
    if kind in _PLAIN:
        return data.view(_PLAIN[kind])
    if kind in (_Q5_0, _Q5_1):
        return _five_bits(data.view(-1, BLOCKS[kind][2]), has_minimum=kind == _Q5_1)
    from transformers.integrations.gguf.dequant import dequantize

    numbers: Tensor = dequantize(data, kind, torch.float32)
    return numbers


def _five_bits(blocks: Tensor, has_minimum: bool) -> Tensor:
    """(blocks, bytes) to (blocks x 32,): a scale, perhaps a minimum, 32 fifth bits and 16 pairs of four bits."""
    scale = blocks[:, :2].view(torch.float16).float()
    start = 4 if has_minimum else 2
    pairs = blocks[:, start + 4 :]
    low = torch.cat([pairs & 15, pairs >> 4], dim=1)
    bits = blocks[:, start : start + 4].unsqueeze(2) >> torch.arange(8, dtype=torch.uint8)
    numbers = (low | (bits & 1).view(-1, 32) << 4).float()
    if has_minimum:
        return (numbers * scale + blocks[:, 2:4].view(torch.float16).float()).view(-1)
    return ((numbers - 16) * scale).view(-1)
