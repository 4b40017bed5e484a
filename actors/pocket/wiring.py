"""What is laid into the fresh weights: a copying circuit and a number line. Gradient descent finds both, but late.

In layer 0, head 0 attends to the token before and head 1 to the one before that; each writes a sketch of it beside the
current token. In layer 1, head 0 seeks the places whose token before looks like the current one, head 1 those whose
last two look like the current one and the one before it; each adds what stands there to the prediction. These are
induction heads (Olsson et al., 2022): a name is cut into short pieces, and one piece alone is often ambiguous.
All other layers write nothing at first, so that they do not drown this. Training keeps, sharpens or overwrites it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaAttention

BIAS_INDEX, BIAS = 0, 0.1
"""One coordinate that every embedding shares, so that attention can depend on the position alone."""
NUM_FAST_PAIRS = 4
OFFSET_SHARPNESS = 8.0
SKETCH_SIZE = 20
"""Coordinates by which tokens are compared: those that the rotary embedding turns slowest."""
SKETCH_SCALE = 0.03
MATCH_SHARPNESS = 2.5
COPY_SCALE = 0.4
PERIODS = (2, 4, 5, 10, 20, 50, 100)
NUMBER_SCALE = 0.1


@torch.no_grad()
def lay_copying_circuit(model: LlamaForCausalLM) -> None:
    """Set the first two heads of layers 0 and 1; all other heads and layers read at random, and write nothing."""
    config = model.config
    generator = torch.Generator().manual_seed(1)
    embedding = model.model.embed_tokens.weight
    spread = float(embedding.std())
    embedding[:, BIAS_INDEX] = BIAS
    strength = (
        OFFSET_SHARPNESS * math.sqrt((BIAS**2 + spread**2 * (config.hidden_size - 1)) / config.hidden_size) / BIAS
    )
    directions = _orthonormal(5 * config.head_dim, config.hidden_size, generator)
    current, before, last_but_one, *copies = directions.split(config.head_dim)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    first, second = (model.model.layers[index].self_attn for index in (0, 1))
    for head, (offset, sketch) in enumerate(((1, before), (2, last_but_one))):
        _attend_to_offset(first, head, offset, strength, config.rope_parameters["rope_theta"])
        _move(first, head, current, sketch, SKETCH_SCALE)
    one, two = slice(SKETCH_SIZE), slice(config.head_dim - SKETCH_SIZE, config.head_dim)
    _attend_to_match(second, 0, current[one], before[one])
    _attend_to_match(second, 1, current[one] + before[two], before[one] + last_but_one[two])
    for head, copy in enumerate(copies):
        _move(second, head, copy, copy, COPY_SCALE)


@torch.no_grad()
def lay_number_line(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Place the numbers 0 to 99 on circles: to count is then to turn, and to add is to turn by the other number."""
    embedding = model.model.embed_tokens.weight
    numbers = torch.arange(100)
    angles = 2 * math.pi * numbers[:, None] / torch.tensor(PERIODS)
    places = _orthonormal(2 * len(PERIODS), model.config.hidden_size, torch.Generator().manual_seed(2))
    ids = tokenizer.convert_tokens_to_ids([str(number) for number in range(100)])
    embedding[ids] += NUMBER_SCALE * torch.cat((angles.cos(), angles.sin()), dim=1) @ places


def _attend_to_offset(attention: LlamaAttention, head: int, offset: int, strength: float, base: float) -> None:
    """Let a head attend ``offset`` tokens back, wherever it stands: the key is the query, turned that far."""
    size = attention.head_dim
    rows = range(head * size, head * size + NUM_FAST_PAIRS)
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[head * size : (head + 1) * size] = 0
    for pair, row in enumerate(rows):
        angle = offset * base ** (-2 * pair / size)
        attention.q_proj.weight[row, BIAS_INDEX] = strength
        attention.k_proj.weight[row, BIAS_INDEX] = strength * math.cos(angle)
        attention.k_proj.weight[row + size // 2, BIAS_INDEX] = strength * math.sin(angle)


def _attend_to_match(attention: LlamaAttention, head: int, sought: Tensor, offered: Tensor) -> None:
    """Let a head attend to where the sketch ``offered`` equals the sketch ``sought`` of the current position."""
    size = attention.head_dim
    slow = [
        head * size + half + row for half in (0, size // 2) for row in range(size // 2 - SKETCH_SIZE // 2, size // 2)
    ]
    for projection, sketch in ((attention.q_proj, sought), (attention.k_proj, offered)):
        projection.weight[head * size : (head + 1) * size] = 0
        projection.weight[slow] = MATCH_SHARPNESS * sketch


def _move(attention: LlamaAttention, head: int, read: Tensor, write: Tensor, scale: float) -> None:
    """Let a head add what it finds along the rows of ``read`` to the residual stream along those of ``write``."""
    size = attention.head_dim
    attention.v_proj.weight[head * size : (head + 1) * size] = read
    attention.o_proj.weight[:, head * size : (head + 1) * size] = scale * write.T


def _orthonormal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """(rows, columns), float32, orthonormal rows that leave the shared coordinate out."""
    matrix = torch.randn(columns, rows, generator=generator)
    matrix[BIAS_INDEX] = 0
    orthonormal: Tensor = torch.linalg.qr(matrix).Q.T
    return orthonormal
