"""The journal's contract, on each store: fencing, idempotent writes, durability."""

from __future__ import annotations

import asyncio

import pytest

from actors.journal.contract import IndexEntry, Listing
from actors.journal.stores import Store
from api.errors import Fenced, IdTaken, InvalidRequest, NotFound, RecordsMissing


async def test_what_was_written_is_read_back_in_order(journal: Store) -> None:
    await journal.create("a", "ann", "pocket", [b"0"], None)
    await journal.append("a", 1, 1, [b"1", b"2"], None)
    acquired = await journal.acquire("a")
    assert acquired.records == (b"0", b"1", b"2")
    assert (acquired.info.owner, acquired.info.model, acquired.info.epoch) == ("ann", "pocket", 2)


async def test_an_earlier_owner_is_fenced(journal: Store) -> None:
    await journal.create("a", "", "pocket", [], None)
    await journal.acquire("a")
    with pytest.raises(Fenced):
        await journal.append("a", 1, 0, [b"late"], None)
    with pytest.raises(Fenced):
        await journal.delete("a", 1)
    assert (await journal.acquire("a")).records == ()


async def test_a_repeated_write_changes_nothing(journal: Store) -> None:
    await journal.create("a", "", "pocket", [], None)
    for _ in range(3):
        await journal.append("a", 1, 0, [b"0", b"1"], None)
    await journal.append("a", 1, 1, [b"1", b"2"], None)
    assert (await journal.acquire("a")).records == (b"0", b"1", b"2")


async def test_a_gap_is_refused(journal: Store) -> None:
    await journal.create("a", "", "pocket", [], None)
    with pytest.raises(RecordsMissing):
        await journal.append("a", 1, 1, [b"1"], None)


async def test_creating_twice_is_creating_once_until_somebody_took_over(journal: Store) -> None:
    await journal.create("a", "ann", "pocket", [b"0"], None)
    await journal.create("a", "ann", "pocket", [b"0"], None)
    with pytest.raises(IdTaken):
        await journal.create("a", "bob", "pocket", [b"0"], None)
    assert (await journal.acquire("a")).records == (b"0",)
    with pytest.raises(IdTaken):
        await journal.create("a", "ann", "pocket", [b"0"], None)


async def test_a_deleted_stream_is_gone_and_fences_its_owner(journal: Store) -> None:
    await journal.create("a", "", "pocket", [b"0"], None)
    await journal.delete("a", 1)
    await journal.delete("a")
    with pytest.raises(Fenced):
        await journal.append("a", 1, 1, [b"1"], None)
    with pytest.raises(NotFound):
        await journal.acquire("a")
    assert await journal.info("a") is None


async def test_a_stream_that_is_given_away_fences_its_holder_and_keeps_its_records(journal: Store) -> None:
    await journal.create("a", "", "pocket", [b"0"], None)
    await journal.give("a", "ada")
    with pytest.raises(Fenced):
        await journal.append("a", 1, 1, [b"1"], None)
    assert [stream.key for stream in await journal.streams("ada")] == ["a"]
    acquired = await journal.acquire("a")
    assert (acquired.info.owner, acquired.records) == ("ada", (b"0",))
    with pytest.raises(NotFound):
        await journal.give("b", "ada")


async def test_streams_are_listed_by_owner_and_by_expiry(journal: Store) -> None:
    await journal.create("a", "ann", "pocket", [], 100.0)
    await journal.create("b", "bob", "pocket", [], None)
    await journal.append("a", 1, 0, [], 200.0)
    assert [info.key for info in await journal.streams("ann")] == ["a"]
    assert {info.key for info in await journal.streams()} == {"a", "b"}
    assert await journal.expired(150.0) == ()
    assert await journal.expired(200.0) == ("a",)


async def test_only_one_of_many_takers_keeps_writing(journal: Store) -> None:
    await journal.create("a", "", "pocket", [], None)
    epochs = [acquired.info.epoch for acquired in await asyncio.gather(*(journal.acquire("a") for _ in range(10)))]
    assert sorted(epochs) == list(range(2, 12))
    answers = await asyncio.gather(
        *(journal.append("a", epoch, 0, [str(epoch).encode()], None) for epoch in epochs), return_exceptions=True
    )
    assert sum(answer is None for answer in answers) == 1
    assert (await journal.acquire("a")).records == (b"11",)


async def test_what_cannot_be_kept_is_refused_and_its_neighbours_are_kept(journal: Store) -> None:
    names = ("before", "\ud800", "after")
    answers = await asyncio.gather(*(journal.put_item("s", name, b"x") for name in names), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), InvalidRequest, type(None)]
    assert await journal.list_items("s") == ("after", "before")


async def test_a_listing_is_the_last_one_that_was_given(journal: Store) -> None:
    await journal.create("a", "", "pocket", [], None, "first")
    (stream,) = await journal.streams()
    assert (stream.title, stream.model, stream.is_listed) == ("first", "pocket", True)
    await journal.append("a", 1, 0, [b"0"], None, Listing("second", "other", is_listed=False))
    await journal.append("a", 1, 1, [b"1"], None)
    (stream,) = await journal.streams()
    assert (stream.title, stream.model, stream.is_listed) == ("second", "other", False)


async def test_writes_at_once_are_all_made_but_those_that_are_refused(journal: Store) -> None:
    for index in range(40):
        await journal.create(f"s{index}", "", "pocket", [], None)
    epochs = {7: 2}
    writes = [journal.append(f"s{index}", epochs.get(index, 1), 0, [b"x"], None) for index in range(40)]
    gap = journal.append("s9", 1, 5, [b"x"], None, Listing("not kept", "other"))
    unfit = journal.append("s10", 1, 1, [b"x"], None, Listing("\ud800", "pocket"))
    answers = await asyncio.gather(*writes, gap, unfit, return_exceptions=True)
    refused = {index: type(answer) for index, answer in enumerate(answers) if answer is not None}
    assert refused == {7: Fenced, 40: RecordsMissing, 41: InvalidRequest}
    assert (await journal.acquire("s8")).records == (b"x",)
    assert (await journal.acquire("s7")).records == ()
    kept = await journal.acquire("s9")
    assert (kept.records, kept.info.title, kept.info.model) == ((b"x",), "", "pocket")
    assert (await journal.acquire("s10")).records == (b"x",)


async def test_writes_to_one_stream_at_once_stand_in_the_order_of_the_calls(journal: Store) -> None:
    await journal.create("a", "", "pocket", [], None)
    await asyncio.gather(*(journal.append("a", 1, number, [b"%d" % number], None) for number in range(30)))
    assert (await journal.records("a")) == tuple(b"%d" % number for number in range(30))


async def test_any_bytes_come_back_and_any_title_can_be_listed(journal: Store) -> None:
    records = [bytes(range(256)), b"", b"\0" * 100_000]
    await journal.create("a/\N{SNOWMAN}", "ann", "pocket", records, 1e12, "a\0b'\"\\")
    await journal.append("a/\N{SNOWMAN}", 1, 3, records, None, Listing("\0\N{SNOWMAN}", "m", is_listed=False))
    assert await journal.records("a/\N{SNOWMAN}") == (*records, *records)
    (stream,) = await journal.streams("ann")
    assert stream.title.endswith("\N{SNOWMAN}")
    assert (stream.expires_at, stream.is_listed) == (None, False)


async def test_items_are_set_replaced_listed_in_order_and_removed_once(journal: Store) -> None:
    for name in ("b", "a/2", "a/10", "A", "a%", "\N{SNOWMAN}"):
        await journal.put_item("s", name, b"1")
    await journal.put_item("s", "b", b"\0\xff")
    await journal.put_item("t", "b", b"other")
    assert await journal.get_item("s", "b") == b"\0\xff"
    assert await journal.get_item("s", "c") is None
    assert await journal.list_items("s") == ("A", "a%", "a/10", "a/2", "b", "\N{SNOWMAN}")
    assert await journal.list_items("s", "a/") == ("a/10", "a/2")
    assert await journal.list_items("s", "a%") == ("a%",)
    assert [await journal.delete_item("s", "b"), await journal.delete_item("s", "b")] == [True, False]
    assert await journal.get_item("t", "b") == b"other"


async def test_entries_change_with_the_records_and_are_listed_over_all_streams_of_an_owner(journal: Store) -> None:
    for key, owner in (("a", "ann"), ("b", "ann"), ("c", "bob")):
        await journal.create(key, owner, "pocket", [], None)
    one, two, three = (
        IndexEntry("1", 1.0, "new", b"1"),
        IndexEntry("2", 2.0, "new", b"2"),
        IndexEntry("3", 2.0, "", b"3"),
    )
    later = IndexEntry("1", 1.0, "old", b"later")
    await asyncio.gather(
        journal.append("a", 1, 0, [b"x"], None, None, [one, two, later]),
        journal.append("b", 1, 0, [b"x"], None, None, [three]),
        journal.append("c", 1, 0, [b"x"], None, None, [one]),
    )
    with pytest.raises(Fenced):
        await journal.append("a", 2, 1, [], None, None, [two])
    with pytest.raises(RecordsMissing):
        await journal.append("a", 1, 7, [], None, None, [IndexEntry("2", 9.0, "gap", b"")])
    assert await journal.entries("ann", None, None, 10) == (three, two, later)
    assert await journal.entries("ann", "old", None, 10) == (later,)
    assert await journal.entries("ann", "", None, 10) == (three,)
    assert await journal.entries("ann", None, None, 1) == (three,)
    assert await journal.entries("ann", None, (2.0, "3"), 10) == (two, later)
    assert await journal.entries("ann", "new", (2.0, "3"), 10) == (two,)
    await journal.append("b", 1, 1, [], None, None, [IndexEntry("3", 3.0, "new", b"4")])
    await journal.give("b", "bob")
    assert [entry.value for entry in await journal.entries("bob", "new", None, 10)] == [b"4", b"1"]
    await journal.delete("a")
    assert await journal.entries("ann", None, None, 10) == ()


async def test_records_are_dropped_with_a_write_and_positions_go_on(journal: Store) -> None:
    created = await journal.create("a", "ann", "pocket", [b"0", b"1"], None)
    assert ([*created.positions], created.end) == ([0, 1], 2)
    await journal.append("a", 1, 2, [b"2", b"3", b"4", b"5"], None)
    await journal.create("b", "ann", "pocket", [b"0", b"1", b"2", b"3", b"4"], None)
    for _ in range(3):
        await journal.append("a", 1, 6, [b"6", b"7"], None, None, (), [range(1, 3), range(4, 7)])
    await journal.append("a", 1, 2, [b"late", b"late"], None)
    with pytest.raises(RecordsMissing):
        await journal.append("a", 1, 9, [b"9"], None)
    await journal.append("a", 1, 7, [b"7", b"8"], None)
    acquired = await journal.acquire("a")
    assert acquired.records == await journal.records("a") == (b"0", b"3", b"7", b"8")
    assert ([*acquired.positions], acquired.end) == ([0, 3, 7, 8], 9)
    assert await journal.records("b") == (b"0", b"1", b"2", b"3", b"4")
    assert (await journal.acquire("b")).end == 5


async def test_a_write_whose_place_is_taken_drops_nothing(journal: Store) -> None:
    """What it would have had of the records that it drops stays."""
    await journal.create("key", "", "", [b"0", b"1"], None)
    await journal.append("key", 1, 2, [b"2"], None, drops=[range(1, 2)])
    await journal.append("key", 1, 2, [b"other"], None, drops=[range(0, 1)])
    assert await journal.records("key") == (b"0", b"2")


async def test_a_write_that_is_refused_drops_nothing(journal: Store) -> None:
    for key in ("a", "b"):
        await journal.create(key, "ann", "pocket", [b"0", b"1"], None)
    await journal.acquire("a")
    answers = await asyncio.gather(
        journal.append("a", 1, 2, [b"2"], None, None, (), [range(1)]),
        journal.append("a", 2, 7, [b"7"], None, None, (), [range(1)]),
        journal.append("b", 1, 2, [b"2"], None, None, (), [range(1)]),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [Fenced, RecordsMissing, type(None)]
    assert await journal.records("a") == (b"0", b"1")
    assert await journal.records("b") == (b"1", b"2")
