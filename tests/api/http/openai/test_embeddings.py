"""Embeddings on the toy model, whose vectors are the ids of the prompt, through openai-python."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError
from openai.types import CreateEmbeddingResponse

from api.errors import LengthExceeded, Unsupported
from api.http.openai.embeddings import AT_A_TIME, MAX_INPUTS, EmbeddingBody, embedded
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.openai.toy_openai import toy_openai


async def made(cluster: FakeCluster, **call: Any) -> CreateEmbeddingResponse:
    async with toy_openai(cluster, is_strict=False) as client:  # whose type is that of numbers only
        found: CreateEmbeddingResponse = await client.embeddings.create(**({"model": "toy"} | call))
    return found


def ids_of(text: str) -> list[float]:
    return [float(token_id) for token_id in toy_model.encode(text)]


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_texts_and_tokens_are_embedded_in_their_order(encoding: str | None) -> None:
    """The client asks for base64 by itself, and reads it."""
    call: dict[str, Any] = {} if encoding is None else {"encoding_format": encoding}
    inputs: list[tuple[Any, list[list[float]]]] = [
        ("Once", [ids_of("Once")]),
        (["Once", "upon"], [ids_of("Once"), ids_of("upon")]),
        ([5, 6, 7], [[5.0, 6.0, 7.0]]),
        ([[5, 6], [7]], [[5.0, 6.0], [7.0]]),
        ([f"n{number}" for number in range(3 * AT_A_TIME + 1)], [ids_of(f"n{n}") for n in range(3 * AT_A_TIME + 1)]),
    ]
    for given, expected in inputs:
        found = await made(FakeCluster(), input=given, **call)
        vectors = [
            list(struct.unpack(f"<{len(raw) // 4}f", raw)) if encoding == "base64" else one.embedding
            for one in found.data
            for raw in [base64.b64decode(one.embedding) if encoding == "base64" else b""]  # type: ignore[arg-type]
        ]
        assert [vector[-len(ids) :] for vector, ids in zip(vectors, expected, strict=True)] == expected
        assert [one.index for one in found.data] == list(range(len(expected)))
        num_tokens = sum(map(len, vectors))
        assert (found.model, found.usage.prompt_tokens, found.usage.total_tokens) == ("toy", num_tokens, num_tokens)


async def test_each_is_of_its_owner_and_leaves_nothing_warm() -> None:
    cluster = FakeCluster()
    await made(cluster, input=["a", "b"])
    assert (cluster.warmths, cluster.owners) == (["cold"] * 2, [""] * 2)
    assert all(turn.request.embedding for turn in cluster.turns)


@pytest.mark.parametrize(
    ("call", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["a", 5]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": ["a"] * (MAX_INPUTS + 1)}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 5}, "dimensions"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_by_name(call: dict[str, Any], param: str) -> None:
    cluster = FakeCluster()
    with pytest.raises(BadRequestError) as caught:
        await made(cluster, **call)
    assert caught.value.param == param
    assert not cluster.turns


async def test_too_much_text_is_refused() -> None:
    with pytest.raises(APIStatusError) as caught:
        await made(FakeCluster(), input=["x" * 100_000] * 200)
    assert caught.value.status_code == 413


@pytest.mark.parametrize(
    ("error", "code"),
    [(Unsupported("no embeddings"), "unsupported"), (LengthExceeded(0, 5, 4), "context_length_exceeded")],
)
async def test_a_refusal_of_the_model_is_told_and_ends_the_other_texts(error: Exception, code: str) -> None:
    cluster = FakeCluster()
    cluster.refusal = error  # type: ignore[assignment]
    with pytest.raises(BadRequestError) as caught:
        await made(cluster, input=["a", "b"])
    assert caught.value.code == code
    assert all(not turn.is_running for turn in cluster.turns)


async def test_a_long_answer_does_not_keep_the_event_loop_from_other_requests() -> None:
    num_inputs, width = 20 * AT_A_TIME, 2000
    body = EmbeddingBody(input=((97,) * width,) * num_inputs)
    shares = list[float]()

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            shares.append(time.thread_time() - before)

    watching = asyncio.create_task(watch())
    answer = await embedded(FakeCluster(), body, TOY, "")
    await asyncio.sleep(0)
    watching.cancel()
    before = time.thread_time()
    vectors = [one["embedding"] for one in json.loads(answer)["data"]]
    json.dumps(vectors)
    assert max(shares) < (time.thread_time() - before) / 4
    assert vectors == [[97.0] * width] * num_inputs
