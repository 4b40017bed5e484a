"""Completions of texts on the toy model, through openai-python, whose types validate every answer and chunk."""

from __future__ import annotations

import math
from typing import Any

import pytest
from openai import BadRequestError
from openai.types import Completion

from api.turns import BeginningOfText, Text, Tokens
from tests.api import toy_model
from tests.api.fake_cluster import FakeCluster
from tests.api.http.openai.toy_openai import toy_openai


async def completed(cluster: FakeCluster, **call: Any) -> Completion:
    """The answer to this call."""
    async with toy_openai(cluster) as client:
        completion: Completion = await client.completions.create(model="toy", **call)
    return completion


async def test_a_text_goes_on_streamed_or_not() -> None:
    completion = await completed(FakeCluster(), prompt="Once", max_tokens=5)
    async with toy_openai(FakeCluster(), is_strict=False) as client:  # whose type has no finish_reason that is null
        chunks = [
            chunk
            async for chunk in await client.completions.create(
                model="toy", prompt="Once", max_tokens=5, stream=True, stream_options={"include_usage": True}
            )
        ]
    (choice,) = completion.choices
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == choice.text
    assert len(choice.text) == 5
    assert (choice.finish_reason, chunks[-2].choices[0].finish_reason) == ("length", "length")
    assert (chunks[-1].choices, chunks[-1].usage) == ([], completion.usage)
    assert completion.object == "text_completion"


@pytest.mark.parametrize("stop", [None, "###"])
async def test_the_ids_of_all_tokens_are_told_who_asks_for_them(stop: str | None) -> None:
    clusters = [FakeCluster(), FakeCluster()]
    for cluster in clusters:
        cluster.model = toy_model.says("a###b")
    asked = {"return_token_ids": True}
    completion = await completed(clusters[0], prompt="Q", max_tokens=3, stop=stop, extra_body=asked)
    async with toy_openai(clusters[1], is_strict=False) as client:
        stream = await client.completions.create(
            model="toy", prompt="Q", max_tokens=3, stop=stop, stream=True, extra_body=asked
        )
        told = [chunk.choices[0].model_dump()["token_ids"] async for chunk in stream]
    computed = [token_id for frame in clusters[0].turns[0].frames for token_id in frame.ids]
    assert completion.choices[0].model_dump()["token_ids"] == [one for ids in told for one in ids] == computed
    assert completion.usage is not None
    assert completion.usage.completion_tokens == len(computed)


async def test_without_a_limit_sixteen_tokens_come() -> None:
    completion = await completed(FakeCluster(), prompt="Once")
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 16


async def test_a_text_begins_with_the_token_that_its_tokenizer_puts_there_and_ids_are_as_they_are() -> None:
    cluster = FakeCluster()
    await completed(cluster, prompt="Once")
    await completed(cluster, prompt=[1, 2])
    assert [turn.request.prompt for turn in cluster.turns] == [
        (BeginningOfText(if_usual=True), Text("Once")),
        (Tokens((1, 2)),),
    ]


@pytest.mark.parametrize("prompt", [["A", "B"], [[65], [66]]])
async def test_several_prompts_have_n_choices_each_side_by_side(prompt: Any) -> None:
    cluster = FakeCluster()
    completion = await completed(cluster, prompt=prompt, n=2, max_tokens=3, seed=7)
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert [turn.request.sampling.seed for turn in cluster.turns] == [7, 7, 8, 8]
    assert cluster.warmths == ["kept", "kept", "shared", "shared"]
    texts = [choice.text for choice in completion.choices]
    assert texts[0] == texts[1] != texts[2] == texts[3]
    assert completion.usage is not None
    num_prompt = sum(len(turn.start.prompt_ids) for turn in cluster.turns[:2])
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (num_prompt, 12)


async def test_the_log_probabilities_have_their_places_in_the_text() -> None:
    cluster = FakeCluster()
    cluster.model = toy_model.says("a###b")
    completion = await completed(cluster, prompt="Q", max_tokens=3, logprobs=2)
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert (logprobs.tokens, logprobs.text_offset) == (["a", "###", "b"], [0, 1, 4])
    assert logprobs.token_logprobs == [-math.log(2)] * 3
    assert logprobs.top_logprobs is not None
    assert logprobs.top_logprobs[0] == {"a": -math.log(2), "b": -2 * math.log(2)}


@pytest.mark.parametrize(
    ("call", "param"),
    [
        ({"prompt": "x", "echo": True}, "echo"),
        ({"prompt": "x", "suffix": "y"}, "suffix"),
        ({"prompt": "x", "best_of": 3}, "best_of"),
        ({"prompt": ["x"] * 129}, "prompt"),
        ({"prompt": ["x"] * 65, "n": 2}, "prompt"),
        ({"prompt": [[1]] * 65, "n": 2}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": "x", "logprobs": 21}, "logprobs"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_field(call: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as failure:
        await completed(FakeCluster(), **call)
    assert failure.value.param == param


async def test_nothing_to_go_on_from_is_refused() -> None:
    with pytest.raises(BadRequestError, match="nothing to go on from"):
        await completed(FakeCluster(), prompt=[])
