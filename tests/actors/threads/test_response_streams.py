"""Events of the responses of agents, resumed from any number: they are those of the first stream."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from api.agents import Agent
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import respond, said_in
from tests.actors.threads.test_response_items import result_of, two_owners
from tests.actors.threads.test_response_order import run_of, thread_of, until_held
from tests.api.http.openai.responses.oracle import events_of


def by_character(events: list[Json]) -> list[Json]:
    """The events, a delta as one of each of its characters: readings might cut a text into other deltas."""
    found = list[Json]()
    for event in events:
        delta, number = event.get("delta", ""), event["sequence_number"]
        found += [
            {**event, "delta": character, "sequence_number": number - len(delta) + place}
            for place, character in enumerate(delta, 1)
        ] or [event]
    return found


async def read(caller: Caller, response_id: str, after: int | None = None) -> list[Json]:
    """The events of a whole stream after this number."""
    query = "" if after is None else f"&starting_after={after}"
    answer = await caller.http.get(f"/v1/responses/{response_id}?stream=true{query}")
    assert answer.status_code == 200, answer.text
    return read_in(answer.text)


def read_in(text: str) -> list[Json]:
    assert text.endswith("data: [DONE]\n\n")
    lines = [line for line in text.removesuffix("data: [DONE]\n\n").splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def streamed(caller: Caller, said: Any, **fields: Any) -> list[Json]:
    """The events of the first stream."""
    body = {"model": "agent/helper", "input": said, "stream": True, **fields}
    return events_of(await caller.http.post("/v1/responses", json=body))


async def check_resumed(caller: Caller, first: list[Json]) -> None:
    """Wherever the first stream is cut, be it within a text, the rest is the same; after its end that is told again."""
    response_id, expected = first[0]["response"]["id"], by_character(first)
    assert by_character(await read(caller, response_id)) == expected
    numbers = [event["sequence_number"] for event in expected]
    assert numbers == list(range(len(numbers)))
    within = {number for number in numbers if "delta" in expected[number] and number % 8}
    for number in (-1, *sorted(set(numbers) - within)[:-1]):
        assert by_character(await read(caller, response_id, number)) == expected[number + 1 :]
    for number in (numbers[-1], numbers[-1] + 1):
        assert await read(caller, response_id, number) == [{**expected[-1], "sequence_number": number + 1}]


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("say hé😀llo", {}),
        (f"{called('add', a=1, b=2)}\n{called('letters', text='é😀')}\n{called('fail', why='rain')}", {}),
        ("say " + "a" * 30, {"max_output_tokens": 8}),
        (f"{called('add', a=1, b=2)}\n{called('add', a=3, b=4)}", {"max_tool_calls": 1}),
        (called("pay", amount=20), {}),
        (f"{called('pick')}\n{called('add', a=1, b=2)}", {"metadata": {"of": "mine"}}),
        ("say later", {"background": True}),
    ],
)
async def test_a_stream_that_is_cut_anywhere_goes_on_as_it_was(small: SmallCluster, said: str, fields: Json) -> None:
    async with calling(small) as caller:
        first = await streamed(caller, said, **fields)
        await check_resumed(caller, first)
        thread_id = thread_of(first[0]["response"])
        await rests(small, thread_id)
        small.kill_inferlet(thread_id)
        assert by_character(await read(caller, first[0]["response"]["id"])) == by_character(first)


async def test_what_goes_on_after_a_call_is_resumed_too(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, f"{called('pick')}\n{called('pick')}")
        results = [result_of(call, text) for call, text in zip(made["output"], "ab", strict=True)]
        after: Json = {"previous_response_id": made["id"]}
        told = await streamed(caller, results, **after, metadata={"of": "told"})
        assert told[-1]["response"]["metadata"] == {"of": "told"}
        await check_resumed(caller, told)
        more = await streamed(caller, [*results, {"role": "user", "content": "say on"}], **after)
        assert said_in(more[-1]["response"]).endswith("on")
        await check_resumed(caller, more)
        assert (await read(caller, made["id"]))[-1]["response"] == made, "it ends where it ended"


async def test_a_response_that_is_worked_on_is_resumed_live_and_over_the_death_of_its_actor(
    small: SmallCluster,
) -> None:
    async with calling(small) as caller:
        asked = f"{called('add', a=1, b=2)}\n{called('hold_safely', name='a')}"
        body = {"model": "agent/helper", "input": asked, "stream": True, "background": True}
        first = ""
        async with caller.http.stream("POST", "/v1/responses", json=body) as answer:
            async for text in answer.aiter_text():
                first += text
                if '"output":"3"' in first.replace('": "', '":"'):
                    break  # its client has left
        told = [json.loads(line.removeprefix("data: ")) for line in first.splitlines() if line.startswith("data: ")]
        response = told[0]["response"]
        await until_held()
        numbers = [event["sequence_number"] for event in told]
        reading = [
            asyncio.create_task(read(caller, response["id"], number)) for number in (-1, numbers[3], numbers[-1])
        ]
        await asyncio.wait(reading, timeout=0.2)
        assert not any(task.done() for task in reading)
        small.kill_inferlet(thread_of(response))
        HELD["a"].set()
        whole, *others = [by_character(await task) for task in reading]
        assert whole[: numbers[-1] + 1] == by_character(told)
        assert said_in(whole[-1]["response"]) == "told 3, a"
        for number, rest in zip((numbers[3], numbers[-1]), others, strict=True):
            assert rest == whole[number + 1 :]
        await rests(small, thread_of(response))
        await check_resumed(caller, await read(caller, response["id"]))
        assert by_character(await read(caller, response["id"])) == whole


async def test_who_read_text_that_was_lost_with_its_process_reads_the_end_of_the_run(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.engines[0].step_s = 0.005
    async with calling(small) as caller:
        made = await respond(caller, "say " + "x" * 3000, background=True)
        last = -1
        async with caller.http.stream("GET", f"/v1/responses/{made['id']}?stream=true") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    last = json.loads(line.removeprefix("data: "))["sequence_number"]
                if last > 100:
                    break
        monkeypatch.setattr("tests.actors.threads.agents.helper", Agent("helper", system="Other.", statuses=False))
        small.kill_inferlet(thread_of(made))
        assert (await caller.wait(run_of(made)))["reason"] == "worker_lost"
        whole = await read(caller, made["id"])
        assert whole[-1]["sequence_number"] < last, "what was read is lost"
        [end] = await read(caller, made["id"], last)
        assert end == {**whole[-1], "sequence_number": last + 1}
        assert end["type"] == "response.failed"


async def test_readers_that_join_at_every_event_read_the_same(small: SmallCluster) -> None:
    small.engines[0].step_s = 0.01
    async with calling(small) as caller:
        body = {"model": "agent/helper", "input": "say é😀" + "a" * 20, "stream": True}
        told, reading = list[Json](), list[asyncio.Task[list[Json]]]()
        async with caller.http.stream("POST", "/v1/responses", json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    told.append(json.loads(line.removeprefix("data: ")))
                    response_id, number = told[0]["response"]["id"], told[-1]["sequence_number"]
                    reading.append(asyncio.create_task(read(caller, response_id, number)))
        assert sum("delta" in event for event in told) > 2, "it was read while it came"
        for event, task in zip(told[:-1], reading, strict=False):
            assert by_character(await task) == by_character(told)[event["sequence_number"] + 1 :]
        assert [event["type"] for event in await reading[-1]] == ["response.completed"]


async def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    async with two_owners(tmp_path) as (_, ada, bob):
        made = await respond(ada, "say mine")
        path = f"/v1/responses/{made['id']}?stream=true"
        assert (await ada.ask("GET", f"{path}&starting_after=x", None, 400))["error"]["param"] == "starting_after"
        assert (await bob.ask("GET", path, None, 404))["error"]["code"] == "response_not_found"
        passing = await respond(ada, "say passing", store=False)
        await ada.ask("GET", f"/v1/responses/{passing['id']}?stream=true", None, 404)
