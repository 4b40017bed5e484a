"""Log-probabilities of a response's text, and of nothing else: whole, streamed, and read again."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.openai.responses.oracle import check_response, events_of
from tests.api.http.openai.responses.test_output import ANSWER, FORMAT, TOOL
from tests.api.shell import shell

INCLUDE = ["message.output_text.logprobs"]


def saying(answer: str) -> FakeCluster:
    """A cluster whose model reasons, calls tools, and says this."""
    cluster = FakeCluster(replace(TOY, answers=FORMAT))
    cluster.model = toy_model.says(answer)
    return cluster


def texts_of(logprobs: list[dict[str, Any]]) -> str:
    """The text that these tokens make."""
    return b"".join(bytes(token["bytes"]) for token in logprobs).decode()


@pytest.mark.parametrize("store", [True, False])
async def test_they_are_those_of_the_text_streamed_or_not_and_when_it_is_read_again(store: bool) -> None:
    call = {"input": "hello", "include": INCLUDE, "top_logprobs": 2, "store": store}
    async with shell(cluster=saying("é#!</s>")) as client:
        body = (await client.post("/v1/responses", json=call)).json()
    check_response(body)
    logprobs = body["output"][0]["content"][0]["logprobs"]
    assert [token["bytes"] for token in logprobs] == [[0xC3], [0xA9], [0x23], [0x21]]
    assert [token["token"] for token in logprobs] == ["\ufffd", "\ufffd", "#", "!"]
    assert [token["logprob"] for token in logprobs] == [-math.log(2)] * 4
    assert [top["bytes"] for top in logprobs[2]["top_logprobs"]] == [[0x23], [0x24]]
    assert body["top_logprobs"] == 2
    async with shell(cluster=saying("é#!</s>")) as client:
        events = events_of(await client.post("/v1/responses", json={**call, "stream": True}))
        assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == logprobs
        if store:
            path = f"/v1/responses/{events[-1]['response']['id']}"
            assert (await client.get(path)).json()["output"] == events[-1]["response"]["output"]
            assert events_of(await client.get(f"{path}?stream=true"))[-1]["response"]["output"][0]["content"][0][
                "logprobs"
            ] == (logprobs)


async def test_reasoning_and_calls_have_none() -> None:
    async with shell(cluster=saying(ANSWER)) as client:
        call = {"input": "hello", "include": INCLUDE, "tools": [TOOL], "stream": True}
        _, message, *calls = events_of(await client.post("/v1/responses", json=call))[-1]["response"]["output"]
    (part,) = message["content"]
    assert texts_of(part["logprobs"]) == part["text"] == "Let me see: ü."
    assert part["logprobs"][0]["top_logprobs"] == []
    assert len(calls) == 2


async def test_there_are_none_where_none_are_asked_for() -> None:
    cluster = saying("Hi.</s>")
    async with shell(cluster=cluster) as client:
        body = (await client.post("/v1/responses", json={"input": "hello"})).json()
    assert body["output"][0]["content"][0]["logprobs"] == []
    assert cluster.turns[0].request.sampling.num_logprobs is None
