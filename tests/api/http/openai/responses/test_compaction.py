"""``POST /v1/responses/compact``, and what clients send back that this server gave them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError

from api.turns import Message, TurnRequest, messages_in
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.openai.responses.oracle import check_response, events_of
from tests.api.http.openai.responses.test_output import TOOL, reasoning_cluster
from tests.api.http.openai.responses.test_stored import create
from tests.api.http.openai.toy_openai import KEYS, toy_openai
from tests.api.shell import shell

CALLED: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be kind."},
    {"role": "user", "content": "How is it?"},
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
    {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "sunny"},
    {"role": "assistant", "content": "It is sunny."},
]
KEPT = (Message("developer", "Be kind."), Message("user", "How is it?"), Message("assistant", "It is sunny."))


async def test_openais_own_client_sends_a_compacted_conversation_in_the_place_of_the_long_one() -> None:
    cluster = FakeCluster()
    items: Any = CALLED
    async with toy_openai(cluster) as client:
        compacted = await client.responses.compact(model="toy", input=items)
        (item,) = compacted.output
        assert (compacted.object, item.type) == ("response.compaction", "compaction")
        assert compacted.output_text == "developer: Be kind.\nuser: How is it?\nassistant: It is sunny."  # type: ignore[attr-defined]
        assert compacted.usage.input_tokens == len(toy_model.encode_prompt(KEPT, is_first=True))
    async with toy_openai(cluster, is_strict=False) as client:
        again: Any = [item.model_dump(), {"role": "user", "content": "And now?"}]
        first = await client.responses.create(model="toy", input=again, max_output_tokens=3)
        assert cluster.turns[-1].request.prompt == (*KEPT, Message("user", "And now?"))
        shown = await client.responses.input_items.list(first.id)
        assert [item.role for item in shown.data] == ["user", "assistant", "user", "developer"]  # type: ignore[union-attr]
        chained = await client.responses.compact(model="toy", previous_response_id=first.id, input="Bye.")
        told = "\nuser: And now?\nassistant: " + first.output_text + "\nuser: Bye."
        assert chained.output_text == compacted.output_text + told  # type: ignore[attr-defined]


async def test_no_more_of_a_long_conversation_is_tokenised_than_might_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, prompts, generate = FakeCluster(replace(TOY, max_context_tokens=100)), [], FakeCluster.generate

    async def watched(cluster: FakeCluster, model: str, request: TurnRequest, owner: str) -> object:
        prompts.append(messages_in(request.prompt))
        return await generate(cluster, model, request, owner)

    monkeypatch.setattr(FakeCluster, "generate", watched)
    items = [{"role": "user", "content": "x" * 1000}] * 20 + [{"role": "user", "content": "last"}]
    async with shell(cluster=cluster) as client:
        answer = await client.post("/v1/responses/compact", json={"input": items})
    assert answer.json()["output_text"] == "user: last"
    assert len(prompts[0]) == 7


async def test_the_oldest_messages_are_left_out_until_half_of_the_context_holds_the_rest() -> None:
    cluster = FakeCluster(replace(TOY, max_context_tokens=400))
    items = [{"role": "developer", "content": "Be kind."}]
    items += [{"role": "user", "content": f"question {number} {'x' * (number % 7)}"} for number in range(100)]
    async with shell(cluster=cluster) as client:
        for instructions in (None, "Be short."):
            call = {"input": items, "instructions": instructions}
            body = (await client.post("/v1/responses/compact", json=call)).json()
            kept = body["output_text"].split("\n")
            assert kept[0] == "developer: Be kind."
            assert [line.split()[2] for line in kept[1:]] == [str(number) for number in range(101 - len(kept), 100)]
            assert 100 < body["usage"]["input_tokens"] <= 200
        large = await client.post("/v1/responses/compact", json={"input": "x" * 300})
        assert large.json()["output_text"] == "user: " + "x" * 300
        answer = await client.post("/v1/responses/compact", json={"input": "x" * 500})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
    for turn in cluster.turns:
        await turn.ended.wait()
    assert not cluster.open_sessions


def forged(value: object) -> str:
    """An item's content as this server would have made it."""
    return "greenroom1." + base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "content",
    [
        "of another server",
        "greenroom1.",
        "greenroom1.###",
        "greenroom1." + base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        forged({"role": "user"}),
        forged([7]),
        forged([{"role": "user", "content": 7}]),
        forged([{"type": "compaction", "encrypted_content": forged([])}]),
        forged([{"role": "critic", "content": "x"}]),
    ],
)
async def test_a_compaction_that_was_not_made_here_is_refused(content: str) -> None:
    items: Any = [{"type": "compaction", "encrypted_content": content}]
    async with toy_openai(FakeCluster()) as client:
        with pytest.raises(BadRequestError) as failure:
            await client.responses.create(model="toy", input=items)
    assert failure.value.param == "input"


async def test_nothing_and_what_is_not_there_cannot_be_compacted() -> None:
    cluster = FakeCluster()
    async with toy_openai(cluster, KEYS, "key-of-ada", is_strict=False) as ada:
        first = await ada.responses.create(model="toy", input="one", max_output_tokens=3)
        with pytest.raises(BadRequestError):
            await ada.responses.compact(model="toy", input=[CALLED[3]], instructions="Be kind.")  # type: ignore[list-item]
    async with toy_openai(cluster, KEYS, "key-of-bob") as bob:
        with pytest.raises(NotFoundError) as failure:
            await bob.responses.compact(model="toy", previous_response_id=first.id)
    assert failure.value.code == "previous_response_not_found"


@pytest.mark.parametrize("store", [True, False])
async def test_encrypted_reasoning_is_shown_to_those_who_ask_and_read_back(store: bool) -> None:
    cluster = reasoning_cluster()
    call = {"input": "hello", "tools": [TOOL], "include": ["reasoning.encrypted_content"], "store": store}
    async with shell(cluster=cluster) as client:
        events = events_of(await client.post("/v1/responses", json={**call, "stream": True}))
        reasoning, message, *calls = events[-1]["response"]["output"]
        assert "include" not in events[-1]["response"]
        if store:
            found = (await client.get(f"/v1/responses/{events[-1]['response']['id']}")).json()
            check_response(found)
            assert found["output"][0] == reasoning
        only = {"type": "reasoning", "summary": [], "encrypted_content": reasoning["encrypted_content"]}
        foreign = {**only, "encrypted_content": "gAAAA"}
        results = [{"type": "function_call_output", "call_id": one["call_id"], "output": "sunny"} for one in calls]
        await create(client, input=[only, message, *calls, *results], tools=[TOOL], store=False)
        await create(client, input=[foreign, message, *calls, *results], tools=[TOOL], store=False)
    answers = [turn.request.prompt[0] for turn in cluster.turns[1:]]
    assert [answer.reasoning for answer in answers] == ["Hm, the weather.", ""]  # type: ignore[union-attr]
