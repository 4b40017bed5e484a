"""One packed forward pass: which tokens of which contexts, and where their KV is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from actors.engine.context import Context
from actors.engine.visibility import NEVER, held, held_slots

_ALONE_TOKENS = 384
"""On a 2.5 GHz Xeon a call costs about what copying the KV of so many tokens costs in a model of 3M parameters."""


@dataclass(slots=True)
class Row:
    """Tokens ``start`` to ``end`` of one context, to be computed in one step.

    ``turn_id`` is None for a refill. ``samples`` says that the last token's logits are wanted.
    """

    context: Context
    start: int
    end: int
    turn_id: str | None
    samples: bool
    version: int = 0

    def __post_init__(self) -> None:
        self.version = self.context.version

    @property
    def count(self) -> int:
        """Tokens."""
        return self.end - self.start


@dataclass(slots=True)
class DecodeGroup:
    """Rows of one token each and of similar length, computed as one.

    Attributes:
        first, last: the rows, in the packed batch.
        table: (rows x blocks,) int64: block numbers, padded with block 0.
        lengths: (rows,) int64: tokens to attend to, the new one included.
        longest: tokens of the longest.
        first_slot: where the KV of a single row lies in one piece; None for several rows, or where it does not.
        positions: (rows, slots), int64, where contexts have holes: of the token in each slot of the table, ``NEVER``
            where the row does not see it; None where the slots are the positions.
    """

    first: int
    last: int
    table: Tensor
    lengths: Tensor
    longest: int
    first_slot: int | None
    positions: Tensor | None = None


@dataclass(slots=True)
class Chunk:
    """Several new tokens of one context: ``first`` to ``last`` in the packed batch, from position ``start`` on.

    ``table`` is (blocks,), int64; ``first_slot`` is where its KV lies in one piece, None where it does not. Where the
    context has holes, ``slots`` is (2, slots), int64: the position of the token in each slot, and the first position
    from which it is not seen.
    """

    first: int
    last: int
    start: int
    table: Tensor
    first_slot: int | None
    slots: Tensor | None = None

    @property
    def length(self) -> int:
        """Tokens to attend to, the new ones included."""
        return self.start + self.last - self.first


@dataclass(slots=True)
class Batch:
    """A packed forward pass.

    Attributes:
        rows: in packed order: first those of one token, by length, then the others.
        input_ids, position_ids: (1, tokens), int64.
        slots: (tokens,), int64: where each token's KV goes.
        sampled: the rows whose logits are wanted, in order.
        sampled_index: (sampled rows,), int64: their last tokens, in the packed batch.
    """

    rows: list[Row]
    input_ids: Tensor
    position_ids: Tensor
    slots: Tensor
    groups: list[DecodeGroup]
    chunks: list[Chunk]
    sampled: list[Row]
    sampled_index: Tensor


def pack(rows: Sequence[Row], block_size: int, device: torch.device) -> Batch:
    """Lay out rows as one forward pass."""
    singles = [row for row in rows if row.count == 1 and row.context.visibility is None]
    singles.sort(key=lambda row: (_is_alone(row, block_size), row.end))
    sparse = [row for row in rows if row.count == 1 and row.context.visibility is not None]
    sparse.sort(key=lambda row: len(held(row.context.blocks)))
    ordered = [*singles, *sparse, *(row for row in rows if row.count > 1)]
    ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    sampled_index: list[int] = []
    chunks: list[Chunk] = []
    for row in ordered:
        blocks = row.context.blocks
        if row.count > 1:
            chunks.append(_chunk(row, len(ids), block_size, device))
        ids.extend(row.context.ids[row.start : row.end])
        positions.extend(range(row.start, row.end))
        slots.extend(blocks[p // block_size] * block_size + p % block_size for p in range(row.start, row.end))
        if row.samples:
            sampled_index.append(len(ids) - 1)
    packed = torch.tensor([ids, positions, slots], dtype=torch.int64, device=device)
    return Batch(
        rows=ordered,
        input_ids=packed[0:1],
        position_ids=packed[1:2],
        slots=packed[2],
        groups=_groups(singles, block_size, device) + _sparse_groups(sparse, len(singles), block_size, device),
        chunks=chunks,
        sampled=[row for row in ordered if row.samples],
        sampled_index=torch.tensor(sampled_index, dtype=torch.int64, device=device),
    )


def _chunk(row: Row, first: int, block_size: int, device: torch.device) -> Chunk:
    blocks, slots = row.context.blocks[: -(-row.end // block_size)], None
    first_slot = None if row.context.visibility is not None else _first_slot(row, block_size)
    if row.context.visibility is not None:
        blocks, positions = held_slots(blocks, block_size)
        slots = torch.from_numpy(numpy.stack([positions, row.context.visibility.limits(positions)])).to(device)
    table = torch.tensor(blocks, dtype=torch.int64, device=device)
    return Chunk(first, first + row.count, row.start, table, first_slot, slots)


def _sparse_groups(rows: Sequence[Row], first: int, block_size: int, device: torch.device) -> list[DecodeGroup]:
    """Groups of rows whose contexts have holes, nobody padded to more than twice its blocks."""
    groups: list[DecodeGroup] = []
    while rows:
        limit = 2 * len(held(rows[0].context.blocks))
        count = sum(len(held(row.context.blocks)) <= limit for row in rows)
        groups.append(_sparse_group(rows[:count], first, block_size, device))
        rows, first = rows[count:], first + count
    return groups


def _sparse_group(rows: Sequence[Row], first: int, block_size: int, device: torch.device) -> DecodeGroup:
    layouts = [held_slots(row.context.blocks[: -(-row.end // block_size)], block_size) for row in rows]
    num_blocks = max(len(blocks) for blocks, _ in layouts)
    tables = numpy.zeros((len(rows), num_blocks), dtype=numpy.int64)
    seen = numpy.full((len(rows), num_blocks * block_size), NEVER, dtype=numpy.int64)
    for number, (row, (blocks, positions)) in enumerate(zip(rows, layouts, strict=True)):
        assert row.context.visibility is not None
        is_hidden = row.context.visibility.limits(positions) < row.end
        tables[number, : len(blocks)] = blocks
        seen[number, : len(positions)] = numpy.where(is_hidden, NEVER, positions)
    return DecodeGroup(
        first=first,
        last=first + len(rows),
        table=torch.from_numpy(tables.ravel()).to(device),
        lengths=torch.tensor([row.end for row in rows], dtype=torch.int64, device=device),
        longest=max(row.end for row in rows),
        first_slot=None,
        positions=torch.from_numpy(seen).to(device),
    )


def _groups(singles: Sequence[Row], block_size: int, device: torch.device) -> list[DecodeGroup]:
    """Groups in which nobody is padded to more than twice its blocks, then the rows that stand alone."""
    groups: list[DecodeGroup] = []
    first = 0
    while first < len(singles):
        limit = 2 * -(-singles[first].end // block_size) * block_size
        last = first + 1
        is_alone = _is_alone(singles[first], block_size)
        while (
            last < len(singles)
            and singles[last].end <= limit
            and not (is_alone or _is_alone(singles[last], block_size))
        ):
            last += 1
        groups.append(_group(singles[first:last], first, block_size, device))
        first = last
    return groups


def _group(rows: Sequence[Row], first: int, block_size: int, device: torch.device) -> DecodeGroup:
    longest = rows[-1].end
    num_blocks = -(-longest // block_size)
    tables: list[int] = []
    for row in rows:
        table = row.context.blocks[:num_blocks]
        tables.extend(table)
        tables.extend([0] * (num_blocks - len(table)))
    return DecodeGroup(
        first=first,
        last=first + len(rows),
        table=torch.tensor(tables, dtype=torch.int64, device=device),
        lengths=torch.tensor([row.end for row in rows], dtype=torch.int64, device=device),
        longest=longest,
        first_slot=_first_slot(rows[0], block_size) if len(rows) == 1 else None,
    )


def _is_alone(row: Row, block_size: int) -> bool:
    """Whether reading a row's KV where it is, by a call of its own, beats copying it together with others'."""
    return row.end >= _ALONE_TOKENS and _first_slot(row, block_size) is not None


def _first_slot(row: Row, block_size: int) -> int | None:
    blocks = row.context.blocks
    num_blocks = -(-row.end // block_size)
    is_in_one_piece = blocks[:num_blocks] == list(range(blocks[0], blocks[0] + num_blocks))
    return blocks[0] * block_size if is_in_one_piece else None
