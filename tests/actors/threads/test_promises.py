"""What threads promise, over HTTP: each test asks, and compares with what it asked and what its tools recorded."""

from __future__ import annotations

import asyncio
import json

from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Event, Json, calling, check, text_of

ADD = 'call add {"a": 1, "b": 2}'
LONG = "say " + "é😀 " * 60


def called(name: str, /, **arguments: object) -> str:
    """The line of a prompt that has the model call a tool."""
    return f"call {name} {json.dumps(arguments)}"


def kinds(blocks: list[Json]) -> list[tuple[str, str]]:
    return [(block["kind"], block["role"]) for block in blocks if block["kind"] != "status"]


async def test_seqs_grow_and_the_sum_of_the_deltas_is_the_text(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(LONG)
        events = await caller.events(begun)
        final = check(events, begun["run_id"])
        [said] = [block for block in final.values() if block["role"] == "assistant"]
        assert text_of(said) == LONG.removeprefix("say ")
        whole = [event async for event in caller.stream(begun["stream_url"].replace("after=0", "after=0"))]
        assert check(whole, begun["run_id"]) == final
        seqs = [event.data["seq"] for event in whole if "seq" in event.data]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_a_run_says_what_it_does_in_its_order_and_its_end_once_and_last(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(f"{ADD}\n{called('weather', city='Oslo')}")
        events = await caller.events(begun)
        final = check(events, begun["run_id"])
        assert kinds(sorted(final.values(), key=lambda block: block["seq"])) == [
            ("message", "user"),
            ("tool_call", "assistant"),
            ("tool_call", "assistant"),
            ("tool_result", "tool"),
            ("tool_result", "tool"),
            ("message", "assistant"),
        ]
        for block in final.values():
            found = (await caller.ask("GET", f"/api/blocks/{block['id']}"))["block"]
            assert found == block
        assert sorted(RECORDED) == ["add 1 2", "weather Oslo"]
        answer = text_of([block for block in final.values() if block["role"] == "assistant"][-1])
        assert answer == "told 3, sunny in Oslo"


async def test_readers_with_different_choices_end_with_equal_blocks(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(ADD)
        url = begun["stream_url"]
        readers = [caller.stream(url + more) for more in ("", "&deltas=false", "&kinds=message,tool_result")]
        everything, bare, some = await asyncio.gather(*(_all(reader) for reader in readers))
        final = check(everything, begun["run_id"])
        assert not [event for event in bare if event.name == "block.delta"]
        assert _final(bare) == final
        assert _final(some) == {id: block for id, block in final.items() if block["kind"] in ("message", "tool_result")}
        assert some[-1].name == "run.ended"


async def test_a_reader_that_comes_back_at_any_event_misses_nothing_and_sees_nothing_twice(
    small: SmallCluster,
) -> None:
    async with calling(small) as caller, calling(small) as other:
        begun = await caller.begin(f"{ADD}\n{called('letters', text='añb😀c')}")
        seen: list[Event] = []
        after = begun["cursor"]
        gateways = [caller, other]
        while not seen or seen[-1].name != "run.ended":  # one event each time, and then another gateway
            path = f"/api/threads/{begun['thread_id']}/stream?run_id={begun['run_id']}&after={after}"
            stream = gateways[len(seen) % 2].stream(path)
            seen.append(await anext(stream))
            await stream.aclose()  # type: ignore[attr-defined]
            after = seen[-1].id
        final = check(seen, begun["run_id"])
        assert final == check(await caller.events(begun), begun["run_id"])
        whole = await caller.events(begun)
        for index in range(0, len(whole), 3):
            path = f"/api/threads/{begun['thread_id']}/stream?run_id={begun['run_id']}&after={whole[index].id}"
            assert check([*whole[: index + 1], *await _all(caller.stream(path))], begun["run_id"]) == final


async def test_a_stream_without_a_run_shows_the_runs_that_others_begin(small: SmallCluster) -> None:
    async with calling(small) as caller, calling(small) as other:
        first = await caller.begin("say one")
        await caller.wait(first["run_id"])
        ended: list[str] = []
        async for event in caller.stream(f"/api/threads/{first['thread_id']}/stream"):
            if event.name == "run.ended":
                ended.append(event.data["run"]["id"])
                if len(ended) == 3:
                    break
                await other.begin("say more", first["thread_id"])
        assert len(set(ended)) == 3
        assert ended[0] == first["run_id"]


async def test_a_caller_that_leaves_cancels_nothing(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("hold", name="left"))
        await caller.until(begun, "block.created", kind="tool_call")
    HELD["left"].set()
    async with calling(small) as later:
        assert (await later.wait(begun["run_id"]))["state"] == "succeeded"
        assert RECORDED == ["hold left", "held left"]


async def _all(stream: object) -> list[Event]:
    return [event async for event in stream]  # type: ignore[attr-defined]


def _final(events: list[Event]) -> dict[str, Json]:
    return {event.data["block"]["id"]: event.data["block"] for event in events if event.name == "block.completed"}
