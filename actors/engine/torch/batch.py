"""One packed forward pass: which tokens of which contexts, and where their KV is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from actors.engine.torch.groups import Chunk, DecodeGroup, chunk_of, group_rows
from actors.engine.torch.key_values import KeyValues
from actors.engine.torch.low_rank import AdaptedRows
from actors.engine.torch.row import Row


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a model is given.

    Attributes:
        input_ids, position_ids: (1, tokens), int64.
        wanted: (rows,), int64: tokens whose logits are wanted.
        summed: (start, end) of tokens, the sum of whose last hidden states is wanted.
        adapted: the tokens of each adapter; those of none are the model's alone.
    """

    input_ids: Tensor
    position_ids: Tensor
    wanted: Tensor
    adapted: Sequence[AdaptedRows] = ()
    summed: Sequence[tuple[int, int]] = ()


@dataclass(slots=True)
class Batch:
    """A packed forward pass.

    Attributes:
        rows: in packed order: first those of one token, group by group, then the others.
        slots: (tokens,), int64: where each token's KV goes.
        sampled: the rows whose last tokens' logits are wanted, in order.
        summed: those the sum of whose hidden states is, in order.
    """

    rows: list[Row]
    inputs: Inputs
    slots: Tensor
    groups: list[DecodeGroup]
    chunks: list[Chunk]
    sampled: list[Row]
    summed: list[Row]


def pack(rows: Sequence[Row], key_values: KeyValues) -> Batch:
    """Lay out rows as one forward pass over a cache."""
    block_size, device = key_values.block_size, key_values.device
    singles, groups = group_rows([row for row in rows if row.count == 1], block_size, key_values.limits, device)
    ordered = [*singles, *(row for row in rows if row.count > 1)]
    ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    wanted: list[int] = []
    summed: list[tuple[int, int]] = []
    chunks: list[Chunk] = []
    adapted: defaultdict[str, list[int]] = defaultdict(list)
    for row in ordered:
        blocks = row.context.blocks
        if row.count > 1:
            chunks.append(chunk_of(row, len(ids), block_size, device))
        if row.context.adapter is not None:
            adapted[row.context.adapter].extend(range(len(ids), len(ids) + row.count))
        ids.extend(row.context.ids[row.start : row.end])
        positions.extend(range(row.start, row.end))
        slots.extend(blocks[p // block_size] * block_size + p % block_size for p in range(row.start, row.end))
        if row.sums:
            summed.append((len(ids) - row.count, len(ids)))
        if row.samples:
            wanted.append(len(ids) - 1)
    as_tensor = partial(torch.tensor, dtype=torch.int64, device=device)
    packed = as_tensor([ids, positions, slots])
    of_adapters = [AdaptedRows(name, as_tensor(where)) for name, where in adapted.items()]
    inputs = Inputs(packed[0:1], packed[1:2], as_tensor(wanted), of_adapters, summed)
    sampled, added = [row for row in ordered if row.samples], [row for row in ordered if row.sums]
    return Batch(ordered, inputs, packed[2], groups, chunks, sampled, added)
