"""OpenAI's own client at a real Serve, on the embedded model; the oracle of numbers is ``transformers``."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import jsonschema
import pytest
import torch
from openai import BadRequestError, OpenAI
from openai.types.chat import ChatCompletion
from transformers import AutoModelForCausalLM, AutoTokenizer

from actors.settings import ModelSettings
from tests.cluster.deployed import MODEL, Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

HELLO: list[Any] = [{"role": "user", "content": "Hello! My name is Ada."}]
NO_END = {"1": -100}
"""Holds off the end-of-text token."""


@pytest.fixture(scope="module")
def client(deployed: Deployed) -> OpenAI:
    """With a key that nobody asks for."""
    return OpenAI(base_url=f"{deployed.url}/v1", api_key="any", max_retries=0, timeout=120)


def chat(client: OpenAI, **call: Any) -> ChatCompletion:
    """The whole answer."""
    completion: ChatCompletion = client.chat.completions.create(model="pocket", **({"messages": HELLO} | call))
    return completion


def streamed(client: OpenAI, **call: Any) -> str:
    """The first choice's text, from a stream."""
    chunks = client.chat.completions.create(model="pocket", messages=HELLO, stream=True, **call)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_tokens_and_log_probabilities_are_those_of_transformers_whatever_changes_the_distribution(
    client: OpenAI,
) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
    prompt = tokenizer.apply_chat_template(HELLO, add_generation_prompt=True)["input_ids"]
    changes: list[dict[str, Any]] = [{"temperature": 0}, {"temperature": 2, "seed": 5, "presence_penalty": 1}]
    for change in changes:
        completion = chat(client, max_tokens=12, logprobs=True, top_logprobs=5, logit_bias=NO_END, **change)
        assert completion.usage is not None
        assert completion.usage.prompt_tokens == len(prompt)
        logprobs = completion.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        assert "".join(token.token for token in logprobs.content) == completion.choices[0].message.content
        ids: list[int] = tokenizer.encode(completion.choices[0].message.content, add_special_tokens=False)
        if len(ids) != len(logprobs.content):
            continue  # another way to spell the text than its tokenizer's
        with torch.no_grad():
            expected = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        for token_id, token, row in zip(ids, logprobs.content, expected, strict=True):
            assert token.logprob == pytest.approx(float(row[token_id]), abs=1e-3)
            assert [top.logprob for top in token.top_logprobs] == pytest.approx(row.topk(5).values.tolist(), abs=1e-3)
        assert response_logprobs(client, change) == [
            pytest.approx([token.logprob, *(top.logprob for top in token.top_logprobs)], abs=1e-3)
            for token in logprobs.content
        ]
        if change["temperature"] == 0:
            without_end = expected.clone()
            without_end[:, tokenizer.eos_token_id] = -100
            assert without_end.argmax(-1).tolist() == ids


def response_logprobs(client: OpenAI, change: dict[str, Any]) -> list[list[float]]:
    """Each token's of the same answer as a response, and those of the likeliest ones at its place."""
    response = client.responses.create(
        model="pocket",
        input=HELLO,
        include=["message.output_text.logprobs"],
        top_logprobs=5,
        max_output_tokens=12,
        store=False,
        extra_body={"logit_bias": NO_END, **change},
    )
    (item,) = response.output
    assert item.type == "message"
    (part,) = item.content
    assert part.type == "output_text"
    return [[token.logprob, *(top.logprob for top in token.top_logprobs)] for token in part.logprobs or ()]


def test_a_seed_repeats_streamed_or_not_and_is_the_first_of_n(client: OpenAI) -> None:
    call: dict[str, Any] = {"temperature": 1.5, "seed": 11, "max_tokens": 30, "logit_bias": NO_END}
    one, several = chat(client, **call), chat(client, n=3, **call)
    text = one.choices[0].message.content
    assert streamed(client, **call) == text
    assert [choice.message.content for choice in several.choices][0] == text
    assert len({choice.message.content for choice in several.choices}) == 3
    assert several.usage is not None
    assert (several.usage.completion_tokens, several.usage.prompt_tokens) == (90, one.usage and one.usage.prompt_tokens)


def test_a_stop_is_left_out_and_a_schema_holds_and_a_text_goes_on(client: OpenAI) -> None:
    whole = chat(client, temperature=0, max_tokens=40).choices[0].message.content or ""
    stop = whole[len(whole) // 2 :][:3]
    assert streamed(client, temperature=0, max_tokens=40, stop=[stop]) == whole[: whole.index(stop)]
    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}}, "required": ["name"]}
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    held = chat(client, temperature=1, seed=3, response_format=format)
    jsonschema.validate(json.loads(held.choices[0].message.content or ""), schema)
    with pytest.raises(BadRequestError, match="uniqueItems"):
        chat(
            client,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"uniqueItems": True}}},
        )
    completion = client.completions.create(model="pocket", prompt="Hello", max_tokens=5, temperature=0, logprobs=1)
    assert completion.usage is not None
    assert completion.usage.completion_tokens <= 5
    with pytest.raises(BadRequestError) as failure:
        chat(client, messages=[{"role": "user", "content": "x " * 5000}])
    assert failure.value.code == "context_length_exceeded"


def test_a_forced_call_is_valid_under_its_schema_streamed_or_not_and_its_result_is_read(client: OpenAI) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 9}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": schema}}
    forced: Any = {"type": "function", "function": {"name": "weather"}}
    call: dict[str, Any] = {"tools": [tool], "temperature": 1.0, "seed": 5}
    (choice,) = chat(client, tool_choice=forced, **call).choices
    assert choice.finish_reason == "tool_calls"
    (made, *_) = choice.message.tool_calls or []
    assert made.type == "function"
    jsonschema.validate(json.loads(made.function.arguments), schema)
    chunks = client.chat.completions.create(model="pocket", messages=HELLO, stream=True, tool_choice=forced, **call)
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or [] if delta.index == 0]
    assert "".join(delta.function.arguments or "" for delta in deltas if delta.function) == made.function.arguments
    history = [*HELLO, choice.message.model_dump(exclude_none=True)]
    results = [
        {"role": "tool", "tool_call_id": one.id, "content": "It is sunny."} for one in choice.message.tool_calls or []
    ]
    told = chat(client, messages=[*history, *results], max_tokens=30, **call)
    assert told.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_a_chat_that_is_sent_again_is_computed_from_where_it_is_new(client: OpenAI, deployed: Deployed) -> None:
    messages: list[Any] = [{"role": "system", "content": "You are kind. " * 20}]
    num_known = 0
    for number in range(4):
        messages.append({"role": "user", "content": f"My number is {number}. What is my number?"})
        completion = chat(client, messages=messages, temperature=0, max_tokens=12)
        assert completion.usage is not None
        assert completion.usage.prompt_tokens_details is not None
        assert (completion.usage.prompt_tokens_details.cached_tokens or 0) >= num_known
        num_known = completion.usage.prompt_tokens
        messages.append({"role": "assistant", "content": completion.choices[0].message.content})
    edited = chat(client, messages=[messages[0], {"role": "user", "content": "Hello!"}], max_tokens=1)
    assert edited.usage is not None
    assert edited.usage.prompt_tokens_details is not None
    assert (edited.usage.prompt_tokens_details.cached_tokens or 0) >= edited.usage.prompt_tokens - 64 > 0
    before = settled_counters(deployed)
    several = chat(client, messages=[{"role": "user", "content": "Nobody has said this yet. " * 20}], n=4, max_tokens=2)
    assert several.usage is not None
    num_prompt = several.usage.prompt_tokens
    deployed.wait(lambda: counters(deployed)["prompt_tokens"] >= before["prompt_tokens"] + 4 * num_prompt, 60)
    assert counters(deployed)["resident_tokens"] - before["resident_tokens"] >= 3 * (num_prompt - 1)


def test_a_client_that_closes_its_stream_ends_the_turn(client: OpenAI, deployed: Deployed) -> None:
    before = num_output(deployed)
    stream = client.chat.completions.create(
        model="pocket", messages=HELLO, stream=True, max_tokens=1900, logit_bias={"1": -100}, n=2
    )
    assert any(chunk.choices[0].delta.content for chunk in stream)
    deployed.wait(lambda: num_running(deployed) > 0, 60)
    stream.close()
    deployed.wait(lambda: num_running(deployed) == 0, 60)
    assert num_output(deployed) - before < 2 * 1900


def num_running(deployed: Deployed) -> int:
    """Turns, as the model actors have last reported."""
    return sum(report.capacity.num_running for report in _reports(deployed))


def num_output(deployed: Deployed) -> int:
    """Tokens that were computed as output so far."""
    return counters(deployed)["output_tokens"]


def counters(deployed: Deployed) -> Counter[str]:
    """Of all model actors, as they have last reported."""
    return sum((Counter(report.capacity.counters) for report in _reports(deployed)), Counter[str]())


def settled_counters(deployed: Deployed) -> Counter[str]:
    """The same once the reports have all that was done before: no report in the meantime changes them."""
    found = [counters(deployed)]

    def are_settled() -> bool:
        time.sleep(2 * ModelSettings("", "").report_interval_s)
        found.append(counters(deployed))
        return found[-1] == found[-2]

    deployed.wait(are_settled, 60)
    return found[-1]


def _reports(deployed: Deployed) -> Any:
    return deployed.run(lambda greenroom: greenroom.directory.reports())
