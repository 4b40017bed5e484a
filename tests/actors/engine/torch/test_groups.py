"""Rows of a step are computed in groups that copy no more at a time than they should."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch

from actors.engine.context import Context
from actors.engine.contract import Hole
from actors.engine.torch.copying import ON_CPU, CopyLimits
from actors.engine.torch.groups import DecodeGroup, group_rows
from actors.engine.torch.key_values import KeyValues, LayerShape
from actors.engine.torch.row import Row
from actors.engine.visibility import Visibility

BLOCK = 4
CPU = torch.device("cpu")
NEVER_ALONE = range(0)


def row(length: int, first_block: int, shared: Sequence[int] = (), holes: Sequence[Hole] = ()) -> Row:
    """The last of so many tokens; its blocks behind the shared ones lie in one piece."""
    num_own = -(-length // BLOCK) - len(shared)
    context = Context(str(first_block), blocks=[*shared, *range(first_block, first_block + num_own)])
    context.visibility = Visibility(holes, BLOCK) if holes else None
    return Row(context, length - 1, length, None, samples=True)


def rows_of(lengths: Sequence[int]) -> list[Row]:
    return [row(length, 1000 * number) for number, length in enumerate(lengths)]


def members(ordered: Sequence[Row], groups: Sequence[DecodeGroup]) -> list[list[Row]]:
    return [list(ordered[group.first : group.last]) for group in groups]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("together", [0, 7, 64, 1000])
def test_every_row_is_in_one_group_that_copies_no_more_than_it_should(seed: int, together: int) -> None:
    chance = random.Random(seed)
    rows = rows_of([chance.choice((chance.randint(1, 30), chance.randint(1, 500))) for _ in range(40)])
    ordered, groups = group_rows(rows, BLOCK, CopyLimits(together, NEVER_ALONE), CPU)
    assert sorted(map(id, ordered)) == sorted(map(id, rows))
    assert [group.first for group in groups] == [0, *(group.last for group in groups[:-1])]
    assert groups[-1].last == len(rows)
    for group, found in zip(groups, members(ordered, groups), strict=True):
        sizes = [len(one.context.blocks) for one in found]
        assert group.lengths.tolist() == [one.end for one in found]
        assert (group.shortest, group.longest) == (min(group.lengths), max(group.lengths))
        assert max(sizes) <= 2 * min(sizes)
        assert len(group.table) == len(found) * max(sizes)
        assert len(found) == 1 or len(group.table) <= together
        for blocks, one in zip(group.table.view(len(found), -1).tolist(), found, strict=True):
            assert blocks == one.context.blocks + [0] * (max(sizes) - len(one.context.blocks))


def test_rows_of_one_size_share_as_few_groups_as_can_be_and_keep_their_order() -> None:
    rows = rows_of([12] * 8)
    ordered, groups = group_rows(rows, BLOCK, CopyLimits(9, NEVER_ALONE), CPU)
    assert ordered == rows
    assert [len(found) for found in members(ordered, groups)] == [3, 3, 2]


def test_a_long_row_among_short_ones_is_read_where_it_is() -> None:
    ordered, groups = group_rows(rows_of([20, 400, 20, 20]), BLOCK, CopyLimits(1000, NEVER_ALONE), CPU)
    assert [[one.end for one in found] for found in members(ordered, groups)] == [[20, 20, 20], [400]]
    assert [group.first_slot for group in groups] == [None, 1000 * BLOCK]


@pytest.mark.parametrize(("length", "is_copied"), [(39, False), (40, False), (41, True), (80, True), (81, False)])
def test_a_single_row_is_copied_where_that_pays(length: int, is_copied: bool) -> None:
    _, (group,) = group_rows(rows_of([length]), BLOCK, CopyLimits(0, range(11, 21)), CPU)
    assert (group.first_slot is None) == is_copied
    assert len(group.table) == -(-length // BLOCK)


def test_a_row_in_pieces_is_never_read_in_one() -> None:
    apart = row(40, 7, shared=[2, 3])
    _, (group,) = group_rows([apart], BLOCK, CopyLimits(0, NEVER_ALONE), CPU)
    assert group.first_slot is None


def test_forks_read_what_they_share_once_in_groups_that_copy_no_more_of_their_own_than_they_should() -> None:
    shared = list(range(500))
    rows = [row(500 * BLOCK + 10 * BLOCK, 1000 + 20 * number, shared) for number in range(8)]
    ordered, groups = group_rows(rows, BLOCK, CopyLimits(40, NEVER_ALONE), CPU)
    assert ordered == rows
    assert [len(found) for found in members(ordered, groups)] == [4, 4]
    for group in groups:
        assert group.prefix is not None
        assert (group.prefix.first_slot, group.prefix.length) == (0, 500 * BLOCK)
        assert len(group.table) == 40


def test_a_fork_that_is_left_over_reads_all_by_itself() -> None:
    shared = list(range(500))
    rows = [row(500 * BLOCK + 10 * BLOCK, 1000 + 20 * number, shared) for number in range(5)]
    ordered, groups = group_rows(rows, BLOCK, CopyLimits(40, NEVER_ALONE), CPU)
    assert [len(found) for found in members(ordered, groups)] == [4, 1]
    assert groups[1].prefix is None
    assert groups[1].table.tolist() == ordered[4].context.blocks


def test_rows_with_holes_copy_no_more_than_they_should() -> None:
    rows = [row(40, 100 * number, holes=[Hole(30, 2, 9)]) for number in range(5)]
    ordered, groups = group_rows(rows, BLOCK, CopyLimits(20, NEVER_ALONE), CPU)
    assert ordered == rows
    assert [len(found) for found in members(ordered, groups)] == [2, 2, 1]
    assert all(group.positions is not None for group in groups)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_limits_are_bytes_of_the_largest_layer(dtype: torch.dtype) -> None:
    shapes = {0: LayerShape(2, 32, 32), 1: LayerShape(8, 64, 32)}
    limits = KeyValues(shapes, 2, 16, dtype, CPU).limits
    block_bytes = 16 * 8 * (64 + 32) * dtype.itemsize
    assert limits.together * block_bytes <= ON_CPU.together < (limits.together + 1) * block_bytes
    assert (limits.alone.start - 1) * block_bytes < ON_CPU.alone.start <= limits.alone.start * block_bytes
    assert (limits.alone.stop - 1) * block_bytes < ON_CPU.alone.stop <= limits.alone.stop * block_bytes
