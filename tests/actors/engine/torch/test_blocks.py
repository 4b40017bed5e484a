"""Who holds which block."""

from __future__ import annotations

import random

import pytest

from actors.engine.torch.blocks import BlockPool


def test_tables_that_grow_side_by_side_lie_in_one_piece_each() -> None:
    pool = BlockPool(128)
    tables = [[pool.allocate()] for _ in range(6)]
    for _ in range(11):
        for table in tables:
            table.append(pool.allocate(table[-1]))
    for table in tables:
        assert table == list(range(table[0], table[0] + 12))
    pool.check(tables)


@pytest.mark.parametrize("num_blocks", [1, 2, 7, 64])
def test_every_block_is_handed_out_once_and_then_none_is_left(num_blocks: int) -> None:
    pool = BlockPool(num_blocks)
    assert sorted(pool.allocate() for _ in range(num_blocks)) == list(range(num_blocks))
    assert pool.num_free == 0
    with pytest.raises(IndexError):
        pool.allocate()


def test_a_shared_block_is_free_when_its_last_holder_lets_go() -> None:
    pool = BlockPool(4)
    block = pool.allocate()
    pool.share([block])
    assert pool.is_shared(block)
    pool.release([block])
    assert not pool.is_shared(block)
    assert pool.num_free == 3
    pool.release([block])
    assert pool.num_free == 4
    with pytest.raises(AssertionError):
        pool.release([block])


def test_random_use_keeps_the_count() -> None:
    chance, pool = random.Random(0), BlockPool(20)
    tables: list[list[int]] = [[] for _ in range(4)]
    for _ in range(500):
        table = chance.choice(tables)
        if chance.random() < 0.6 and pool.num_free:
            table.append(pool.allocate(table[-1] if table else None))
        elif table:
            pool.release([table.pop()])
        pool.check(tables)
        assert pool.num_free == 20 - sum(map(len, tables))
