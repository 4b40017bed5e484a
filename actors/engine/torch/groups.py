"""Rows of a step that are computed as one, and where their KV is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy
import torch
from torch import Tensor

from actors.engine.torch.copying import CopyLimits
from actors.engine.visibility import NEVER, held_slots

if TYPE_CHECKING:
    from actors.engine.torch.row import Row

_SHARED_TOKENS = 768
"""Tokens that must not be copied for a prefix to be read once for all its forks, which takes some calls more."""


@dataclass(slots=True)
class Prefix:
    """What the contexts of a group share: ``table`` is (blocks,), int64; ``first_slot`` as in ``DecodeGroup``."""

    table: Tensor
    first_slot: int | None
    length: int


@dataclass(slots=True)
class DecodeGroup:
    """Rows of one token each and of similar length, computed as one.

    Attributes:
        first, last: the rows, in the packed batch.
        table: (rows x blocks,) int64: block numbers after the prefix, padded with block 0.
        lengths: (rows,) int64: tokens to attend to, the new one and the prefix included.
        longest, shortest: tokens of the longest and of the shortest.
        first_slot: where the KV of a single row is read in one piece; None where it is copied.
        prefix: of forks of one context; None where nothing much is shared.
        positions: (rows, slots), int64, where contexts have holes: of the token in each slot of the table, ``NEVER``
            where the row does not see it; None where the slots are the positions.
    """

    first: int
    last: int
    table: Tensor
    lengths: Tensor
    longest: int
    shortest: int
    first_slot: int | None = None
    prefix: Prefix | None = None
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


def group_rows(
    rows: Sequence[Row], block_size: int, limits: CopyLimits, device: torch.device
) -> tuple[list[Row], list[DecodeGroup]]:
    """Rows of one token each in groups, and in the groups' order.

    Forks of one context share the reading of what they share. No row is padded to more than twice its blocks, and no
    group of several copies more than it should.

    Args:
        limits: in blocks.
    """
    plain = [row for row in rows if row.context.visibility is None]
    sparse = [row for row in rows if row.context.visibility is not None]
    families, others = _families(plain, block_size, limits)
    dense = [*families, *((0, run) for run in _runs(others, limits))]
    ordered: list[Row] = []
    groups: list[DecodeGroup] = []
    for num_shared, run in dense:
        groups.append(_dense_group(run, len(ordered), block_size, limits, device, num_shared))
        ordered += run
    for run in _runs(sparse, limits):
        groups.append(_sparse_group(run, len(ordered), block_size, device))
        ordered += run
    return ordered, groups


def chunk_of(row: Row, first: int, block_size: int, device: torch.device) -> Chunk:
    """A row of several tokens, which are from ``first`` on in the batch."""
    blocks, slots = row.context.blocks[: -(-row.end // block_size)], None
    first_slot = None if row.context.visibility is not None else _first_slot(blocks, block_size)
    if row.context.visibility is not None:
        blocks, positions = held_slots(blocks, block_size)
        slots = torch.from_numpy(numpy.stack([positions, row.context.visibility.limits(positions)])).to(device)
    table = torch.tensor(blocks, dtype=torch.int64, device=device)
    return Chunk(first, first + row.count, row.start, table, first_slot, slots)


def _families(
    rows: Sequence[Row], block_size: int, limits: CopyLimits
) -> tuple[list[tuple[int, list[Row]]], Sequence[Row]]:
    """Forks that have much in common, as (number of shared blocks, rows), and all other rows."""
    by_first: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_first[row.context.blocks[0]].append(row)
    if len(by_first) == len(rows):
        return [], rows
    families: list[tuple[int, list[Row]]] = []
    others: list[Row] = []
    for members in by_first.values():
        num_shared = _num_shared([row.context.blocks for row in members])
        for run in _runs(members, limits, num_shared):
            if (len(run) - 1) * num_shared * block_size >= _SHARED_TOKENS:
                families.append((num_shared, run))
            else:
                others += run
    return families, others


def _num_shared(tables: Sequence[Sequence[int]]) -> int:
    """How many blocks all tables begin with."""
    for index, blocks in enumerate(zip(*tables, strict=False)):
        if any(block != blocks[0] for block in blocks):
            return index
    return min(len(table) for table in tables)


def _runs(rows: Sequence[Row], limits: CopyLimits, num_shared: int = 0) -> list[list[Row]]:
    """Rows by size, in runs in which none has more than twice the blocks of the first, beside what is shared.

    A run of several, all padded to the last, has no more blocks than may be copied together.
    """
    runs: list[list[Row]] = []
    smallest = 0
    for row in sorted(rows, key=lambda row: (row.context.num_held, row.end)):
        size = row.context.num_held - num_shared
        if not runs or size > 2 * smallest or (len(runs[-1]) + 1) * size > limits.together:
            runs.append([])
            smallest = size
        runs[-1].append(row)
    return runs


def _dense_group(
    rows: Sequence[Row], first: int, block_size: int, limits: CopyLimits, device: torch.device, num_shared: int
) -> DecodeGroup:
    longest = max(row.end for row in rows)
    num_blocks = -(-longest // block_size)
    tables = numpy.zeros((len(rows), num_blocks - num_shared), dtype=numpy.int64)
    for number, row in enumerate(rows):
        blocks = row.context.blocks[num_shared:num_blocks]
        tables[number, : len(blocks)] = blocks
    shared = rows[0].context.blocks[:num_shared]
    table = torch.tensor(shared, dtype=torch.int64, device=device)
    is_copied = len(rows) > 1 or num_blocks in limits.alone
    return DecodeGroup(
        first=first,
        last=first + len(rows),
        table=torch.from_numpy(tables.ravel()).to(device),
        lengths=torch.tensor([row.end for row in rows], dtype=torch.int64, device=device),
        longest=longest,
        shortest=min(row.end for row in rows),
        first_slot=None if is_copied else _first_slot(rows[0].context.blocks[:num_blocks], block_size),
        prefix=Prefix(table, _first_slot(shared, block_size), num_shared * block_size) if num_shared else None,
    )


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
        shortest=min(row.end for row in rows),
        positions=torch.from_numpy(seen).to(device),
    )


def _first_slot(blocks: Sequence[int], block_size: int) -> int | None:
    """Where blocks that lie in one piece begin; None where they do not."""
    is_in_one_piece = len(blocks) > 0 and list(blocks) == list(range(blocks[0], blocks[0] + len(blocks)))
    return blocks[0] * block_size if is_in_one_piece else None
