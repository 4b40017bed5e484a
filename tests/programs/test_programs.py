"""The programs of this folder on the embedded model, each with what it is there to show; over everything but Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.inferlets.records import Continued, decode
from actors.inferlets.ref import InferletRef
from actors.settings import InferletSettings, ModelSettings
from api.inferlet_events import Completed, Event, Message, Stdout
from deployments.config import embedded_model
from tests.actors.inferlets.programs import all_events, capture_prints
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker

FOLDER = Path(__file__).parent
in_one_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SmallCluster]:
    model = ModelSettings("pocket", embedded_model(), report_interval_s=0.05, poll_interval_s=0.001)
    settings = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40)
    folder = tmp_path_factory.mktemp("journal")
    async with SmallBroker(folder) as broker:
        async with SmallCluster(folder, inferlets=settings, topics=broker.ref(), model=model, pool_size=0) as cluster:
            yield cluster


async def launched(cluster: SmallCluster, name: str, *arguments: object) -> InferletRef:
    capture_prints()
    file = FOLDER / f"{name}.py"
    program = await cluster.inferlets.upload_program(file.read_text(), file.name, "")
    return await cluster.inferlets.launch(program, tuple(str(argument) for argument in arguments))


async def result(cluster: SmallCluster, name: str, *arguments: object) -> Any:
    events = await all_events(await launched(cluster, name, *arguments))
    assert isinstance(events[-1], Completed), events[-1]
    return events[-1].value


def values(events: list[Event]) -> list[object]:
    return [event.value for event in events if isinstance(event, Message)]


@in_one_loop
async def test_completion_goes_on_the_same_way_each_time(cluster: SmallCluster) -> None:
    first, second = [await result(cluster, "completion", "--prompt", "1 2 3", "--tokens", 12) for _ in range(2)]
    assert first == second
    assert first


@in_one_loop
async def test_greeting_sends_one_message(cluster: SmallCluster) -> None:
    assert values(await all_events(await launched(cluster, "greeting"))) == ["Hello World!"]


@in_one_loop
async def test_counter_counts_on_where_it_continued_as_new(cluster: SmallCluster) -> None:
    counter = await launched(cluster, "counter", "--every", 3)
    for _ in range(10):
        await counter.send("another")
    await counter.send("exit")
    events = await all_events(counter)
    assert values(events) == list(range(1, 11))
    assert events[-1] == Completed(10, 10)
    kept = [decode(line) for line in await cluster.inferlets.recorded(counter.instance_id)]
    assert [record.state for record in kept if isinstance(record, Continued)] == [9]


@pytest.mark.parametrize("first", [0, 1])
@in_one_loop
async def test_pair_hears_the_other_whoever_comes_first(cluster: SmallCluster, first: int) -> None:
    instances = [await launched(cluster, "pair", "-r", rank) for rank in (first, 1 - first)]
    listener = instances[1 if first == 0 else 0]
    assert (await all_events(listener))[0] == Stdout(0, "Inferlet B received: Hello from Inferlet A!\n")


@in_one_loop
async def test_chat_answers_until_its_user_leaves(cluster: SmallCluster) -> None:
    chat = await launched(cluster, "chat")
    for message in ("Hello! My name is Quillon.", "What is my name?", "exit"):
        await chat.send(message)
    messages = values(await all_events(chat))
    assert len(messages) == 4
    assert (messages[0], messages[-1]) == ("Hello, user! How can I help you today?", "Goodbye!")
    assert all(messages)


@in_one_loop
async def test_each_retention_policy_gives_the_same_answers_and_computes_what_it_says(cluster: SmallCluster) -> None:
    found = {}
    for policy in ("keep", "drop", "adaptive", "predictive"):
        chat = await launched(cluster, "retention", "--policy", policy, "--threshold", 10_000)
        for message in ("Hello!", "What is your name?", "exit"):
            await chat.send(message)
        found[policy] = values(await all_events(chat))
    answers = {policy: [turn["answer"] for turn in turns] for policy, turns in found.items()}  # type: ignore[index]
    assert answers["keep"] == answers["drop"] == answers["adaptive"] == answers["predictive"]
    resident = {policy: turns[1]["resident"] for policy, turns in found.items()}  # type: ignore[index]
    assert resident["keep"] > 0
    assert resident["drop"] == resident["adaptive"] == resident["predictive"] == 0


@in_one_loop
async def test_tools_calls_its_tool_and_goes_on_from_the_result(cluster: SmallCluster) -> None:
    found = await result(cluster, "tools")
    numbers = found["arguments"]
    assert all(number in range(21) for number in (numbers["a"], numbers["b"]))
    _, called, told = found["transcript"].partition('<tool_call>{"name": "add", "arguments": ')
    assert called
    assert str(numbers["a"] + numbers["b"]) in told
    assert found["answer"]


@in_one_loop
async def test_react_calls_its_tool_and_goes_on_with_what_it_said(cluster: SmallCluster) -> None:
    found = await result(cluster, "react")
    assert len(found["calls"]) == 2
    for expression, observation in found["calls"]:
        assert eval(expression) == observation
        assert f"Action: calculate({expression})\nObservation: {observation}\n" in found["transcript"]


@in_one_loop
async def test_each_role_of_the_swarm_saw_its_part(cluster: SmallCluster) -> None:
    roles = ("writer", "people", "plot", "idea")
    said = await asyncio.gather(*(result(cluster, "swarm", "--role", role) for role in roles))
    found = dict(zip(roles, said, strict=True))
    assert {role: sorted(part["seen"]) for role, part in found.items()} == {
        "idea": [],
        "plot": ["idea"],
        "people": ["idea", "plot"],
        "writer": ["idea", "people", "plot"],
    }
    assert all(found["writer"]["seen"][role] == found[role]["said"] for role in ("idea", "plot", "people"))


@in_one_loop
async def test_the_tree_of_thought_visits_every_branch_and_keeps_the_best(cluster: SmallCluster) -> None:
    found = await result(cluster, "tree_of_thought")
    assert found["visited"] == 1 + 3 + 6
    assert found["scores"] == sorted(found["scores"], reverse=True)


@in_one_loop
async def test_best_of_n_takes_the_one_with_the_most_words(cluster: SmallCluster) -> None:
    found = await result(cluster, "best_of_n", "-n", 6, "--temperature", 5.0)
    assert len(set(found["answers"])) > 1, "each branch draws for itself"
    assert len(set(found["best"].split())) == max(len(set(answer.split())) for answer in found["answers"])


@in_one_loop
async def test_beam_search_finds_a_sequence_at_least_as_likely_as_greedy(cluster: SmallCluster) -> None:
    found = await result(cluster, "beam_search")
    assert found["beam"][0] >= found["greedy"][0] - 1e-6


@in_one_loop
async def test_the_judge_picks_one_of_the_branches(cluster: SmallCluster) -> None:
    found = await result(cluster, "branches")
    assert found["verdict"] in ("0", "1", "2")
    assert found["best"] == found["answers"][int(found["verdict"])]


@in_one_loop
async def test_an_exported_prefix_is_where_others_begin(cluster: SmallCluster) -> None:
    exported = await result(cluster, "prefix", "--role", "exporter")
    imported = await result(cluster, "prefix", "--role", "importer")
    assert imported["length"] == exported["length"] > 40
    assert imported["same"]


@in_one_loop
async def test_the_leaves_of_a_prefix_tree_are_as_if_each_had_been_alone(cluster: SmallCluster) -> None:
    leaves = await result(cluster, "prefix_tree")
    assert len(leaves) == 4
    for leaf in leaves:
        assert leaf["text"] == await result(cluster, "completion", "--prompt", leaf["prompt"], "--tokens", 8)


@in_one_loop
async def test_speculative_decoding_gives_exactly_the_greedy_tokens(cluster: SmallCluster) -> None:
    found = await result(cluster, "speculative")
    assert found["ids"] == found["plain"]
    assert 0 < found["accepted"] <= found["drafted"]


@in_one_loop
async def test_constrained_json_parses_under_its_schema(cluster: SmallCluster) -> None:
    found = await result(cluster, "constrained_json")
    assert set(found) == {"name", "age"}
    assert isinstance(found["name"], str)
    assert 0 <= found["age"] <= 99


@in_one_loop
async def test_the_watermark_is_found_in_its_text_and_not_in_plain_text(cluster: SmallCluster) -> None:
    found = await result(cluster, "watermark", "--tokens", 120)
    assert found["marked"] > 0.75
    assert found["plain"] < 0.7


@in_one_loop
async def test_an_answer_that_is_not_valid_is_taken_back_and_tried_again(cluster: SmallCluster) -> None:
    found = await result(cluster, "retry")
    assert "e" in found["answer"]
    assert found["attempts"] > 1
    assert found["length"] <= 12, "nothing of the earlier answers is left"


@in_one_loop
async def test_the_window_generates_for_ever_in_a_short_context(cluster: SmallCluster) -> None:
    found = await result(cluster, "window")
    assert found["longest"] <= 64
    assert found["refills"] >= 3


@in_one_loop
async def test_a_parent_collects_the_results_of_its_children(cluster: SmallCluster) -> None:
    program = await cluster.inferlets.upload_program((FOLDER / "completion.py").read_text(), "completion.py", "")
    parent = await launched(cluster, "parent")
    await parent.send(program)
    events = await all_events(parent)
    assert isinstance(events[-1], Completed), events[-1]
    found: Any = events[-1].value
    assert found["children"] == 3
    assert values(events) == found["results"]
    alone = [await result(cluster, "completion", "--tokens", 4 + number) for number in range(3)]
    assert found["results"] == alone


def test_every_program_is_short() -> None:
    for file in FOLDER.glob("[!_]*.py"):
        if not file.name.startswith("test_"):
            assert len(file.read_text().splitlines()) < 100, file
